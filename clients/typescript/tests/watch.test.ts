// The stream of changes over restarts, and its ends.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import {
  AbortedError,
  connect,
  ConflictError,
  PermissionDeniedError,
  type Watch,
  type WatchEvent,
} from "../src/index.js";
import { timing } from "../src/timing.js";
import { Fake, frame, helloBody, Node, until, withClient } from "./help.js";

const event = (offset: string, op = "advance", chat: string | null = "c"): unknown[] => [
  offset, null, chat, op, null, null, null, null, null, null, null, null,
];

let node: Node;

before(async () => {
  node = await Node.start("--shards", "2");
});

after(() => node.stop());

async function take(watch: Watch, count: number): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  for await (const one of watch) {
    if (one.op !== "heartbeat") events.push(one);
    if (events.length === count) break;
  }
  return events;
}

test("events come in order, and continue behind an offset", async () => {
  await withClient({ addresses: node.address }, async (client) => {
    const watch = client.watch();
    await watch.ready();
    await client.create({ id: "w", type: 2, creatorId: "a", userIds: ["a", "b"] });
    for (let to = 1; to <= 5; to++) await client.advance({ chatId: "w", to });
    const events = await take(watch, 5);
    assert.deepEqual(events.map((one) => one.op), ["create", "join", "join", "advance", "advance"]);
    assert.equal(watch.offset, events[4]!.offset);
    const rest = await take(client.watch({ from: watch.offset! }), 3);
    assert.deepEqual(rest.map((one) => one.lastSequence), [3, 4, 5]);
  });
});

test("a watch continues over restarts: none is missing, and the order is kept", async () => {
  await withClient({ addresses: node.address }, async (client) => {
    await client.create({ id: "r", type: 2, creatorId: "a", userIds: ["a"] });
    const watch = client.watch();
    await watch.ready();
    const seen = new Set<number>();
    const reader = (async () => {
      for await (const one of watch) {
        if (one.op !== "advance") continue;
        seen.add(one.lastSequence!);
        if (one.lastSequence === 40) break;
      }
    })();
    for (let round = 0; round < 4; round++) {
      for (let i = 1; i <= 10; i++) await client.advance({ chatId: "r", allocate: 1 });
      await node.kill();
      await node.start();
    }
    await reader;
    assert.deepEqual([...seen].sort((a, b) => a - b), Array.from({ length: 40 }, (_, i) => i + 1));
  });
});

test("an offset that is not kept ends the watch with 409", async () => {
  const fake = await new Fake(() => [409, ["conflict", "from: the oldest kept is 5.31"]]).listen();
  await withClient({ addresses: fake.address }, async (client) => {
    const watch = client.watch({ from: "5.1" });
    await assert.rejects(watch.ready(), ConflictError);
    await assert.rejects(client.watch({ from: "5.1" }).next(), ConflictError);
    assert.deepEqual(await watch.next(), { done: true, value: undefined });
  });
  fake.close();
});

test("a watch that the server refuses ends; one that is told to come later continues", async () => {
  let count = 0;
  const fake: Fake = await new Fake(() => {
    count++;
    if (count === 1) return [429, ["busy", "read faster; continue from 5.1"]];
    if (count === 2) return [503, ["unavailable", "not applied: no lease"]];
    if (count === 3) return [421, ["moved", "not here", "", 0, 1]];
    if (count === 4) return [200, event("5.2")];
    return [403, ["permission_denied", "no"]];
  }).listen();
  await withClient({ addresses: fake.address }, async (client) => {
    const watch = client.watch({ from: "5.1" });
    assert.equal((await watch.next()).value?.offset, "5.2");
    for (const socket of fake.sockets) socket.destroy();
    await assert.rejects(watch.next(), PermissionDeniedError);
  });
  assert.equal(count, 5);
  fake.close();
});

test("events of a kind that nobody knows are passed over, and their offset counts", async () => {
  const fake: Fake = await new Fake((_, id, socket) => {
    socket.write(frame(id, 200, event("1")));
    socket.write(frame(id, 200, event("2", "of the future")));
    socket.write(frame(id, 200, event("3")));
    return undefined;
  }).listen();
  await withClient({ addresses: fake.address }, async (client) => {
    const watch = client.watch();
    assert.equal((await watch.next()).value?.offset, "1");
    assert.equal((await watch.next()).value?.offset, "3");
    assert.equal(watch.offset, "3");
    await watch.return();
  });
  fake.close();
});

test("a silent stream begins anew behind the last offset", async () => {
  const before = timing.watchSilence;
  timing.watchSilence = 150;
  const silence = timing.silence;
  timing.silence = 200;
  let count = 0;
  const fake = await new Fake(() => [200, event(String(++count))]).listen();
  try {
    await withClient({ addresses: fake.address }, async (client) => {
      assert.deepEqual((await take(client.watch(), 3)).map((one) => one.offset), ["1", "2", "3"]);
    });
  } finally {
    timing.watchSilence = before;
    timing.silence = silence;
    fake.close();
  }
});

test("a slow reader holds the server back, and gets all", async () => {
  let sent = 0;
  let isStopped = false;
  const fake = await new Fake((_, id, socket) => {
    const more = () => {
      while (!isStopped && sent < 200_000) {
        if (!socket.write(frame(id, 200, event(String(++sent), "advance", "c".repeat(100))))) {
          socket.once("drain", more);
          return;
        }
      }
    };
    more();
    return undefined;
  }).listen();
  await withClient({ addresses: fake.address }, async (client) => {
    const watch = client.watch();
    await watch.next();
    await sleep(200);
    const held = sent;
    assert.ok(held < 150_000, `the server could send ${held}`);
    for (let i = 2; i <= 5000; i++) assert.equal((await watch.next()).value?.offset, String(i));
    isStopped = true;
    watch.close();
  });
  fake.close();
});

test("a watch ends with its signal, by close, and with the client", async () => {
  const fake = await new Fake(() => undefined).listen();
  const client = await connect({ addresses: fake.address });
  const controller = new AbortController();
  const aborted = client.watch({ signal: controller.signal });
  const waiting = aborted.next();
  setTimeout(() => controller.abort(), 50);
  await assert.rejects(waiting, AbortedError);
  await assert.rejects(client.watch({ signal: controller.signal }).next(), AbortedError);
  const closed = client.watch();
  setTimeout(() => closed.close(), 50);
  assert.equal((await closed.next()).done, true);
  const ended = client.watch();
  const unused = client.watch();
  setTimeout(() => void client.close(), 50);
  assert.equal((await ended.next()).done, true);
  assert.equal((await unused.next()).done, true);
  await until("all sockets are gone", () => fake.sockets.size === 0);
  fake.close();
});

test("421: the watch goes to the active", async () => {
  const active = await new Fake(() => [200, event("7")]).listen();
  const standby = await new Fake(() => [421, ["moved", "no", active.address, 0, 2]]).listen();
  await withClient({ addresses: [standby.address, active.address] }, async (client) => {
    assert.equal((await take(client.watch(), 1))[0]!.offset, "7");
  });
  for (const fake of [active, standby]) fake.close();
  assert.ok(helloBody().length > 0);
});
