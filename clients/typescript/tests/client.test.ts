// Calls: shards, deadlines, repeats, outcomes, bounds, the end.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import {
  AbortedError,
  ArgumentError,
  type Attempt,
  BusyError,
  ChatshardError,
  ClosedError,
  Client,
  ConflictError,
  connect,
  ConnectionError,
  DeadlineError,
  MovedError,
  OverloadError,
  PermissionDeniedError,
  TooLargeError,
  UnauthenticatedError,
  UnavailableError,
} from "../src/index.js";
import { VERSION } from "../src/options.js";
import { startServer } from "../src/testing.js";
import { timing } from "../src/timing.js";
import { Fake, frame, helloBody, Node, until, vectors, withClient } from "./help.js";

const LIST = 16;
const DELETE = 18;
const ADVANCE = 32;
const LISTED = [[], null];

let node: Node;

before(async () => {
  node = await Node.start("--shards", "4");
});

after(() => node.stop());

async function rejection(promise: Promise<unknown>): Promise<ChatshardError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof ChatshardError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "it did not fail" });
}

test("a connection for each shard, and each key goes to that of its own", async () => {
  const connected: number[] = [];
  const hooks = { onConnect: ({ shard }: { shard: number }) => connected.push(shard) };
  await withClient({ addresses: node.address, hooks }, async (client) => {
    assert.deepEqual([...connected].sort(), [0, 1, 2, 3]);
    const before = await client.stats();
    // These two are on shards 1 and 0, as the vectors say, if the seed is 0.
    await Promise.all(Array.from({ length: 40 }, (_, i) => client.list({ userId: `u${i}` })));
    const after = await client.stats();
    for (const shard of after.shards) {
      assert.equal(shard.connections, 1, "one connection on each core");
      assert.ok(shard.commands > before.shards[shard.shard]!.commands);
    }
  });
});

test("keys go to the connections of their shards, as the vectors say", async () => {
  const shards = new Map<Socket, number>();
  const seen = new Map<string, number>();
  const fake = await new Fake(
    (_, __, socket, r) => {
      r.array();
      seen.set(r.string(), shards.get(socket)!);
      return [200, LISTED];
    },
    (id, a, socket) => {
      const shard = (a[2] as number | null) ?? 2;
      shards.set(socket, shard);
      return frame(id, 200, helloBody({ shards: 4, hash_seed: 42, shard }));
    },
  ).listen();
  const keys = vectors().slots.filter(({ seed }) => seed === 42);
  assert.ok(keys.length >= 3);
  for (const connections of [2, 4, 8]) {
    await withClient({ addresses: fake.address, connections }, async (client) => {
      for (const { key, shard_of_4 } of keys) {
        await client.list({ userId: key });
        // With fewer connections than shards, several shards share one.
        const isOn = seen.get(key)! % connections === shard_of_4 % connections;
        assert.ok(isOn, `${key}: shard ${seen.get(key)} of ${connections} connections`);
      }
    });
  }
  fake.close();
});

test("options choose the number of connections", async () => {
  for (const [connections, expected] of [[1, 1], [2, 2], [4, 4], [6, 4], [8, 8]] as const) {
    let count = 0;
    const hooks = { onConnect: () => void count++ };
    await withClient({ addresses: node.address, connections, hooks }, async (client) => {
      await Promise.all(Array.from({ length: 20 }, (_, i) => client.list({ userId: `u${i}` })));
    });
    assert.equal(count, expected, `${connections} connections`);
  }
});

test("more calls at once than a connection takes in flight", async () => {
  const options = { addresses: node.address, connections: 1 };
  await withClient(options, async (client) => {
    await client.create({ id: "busy", type: 2, creatorId: "a", userIds: ["a"] });
    const message = { chatId: "busy", allocate: 1 };
    const calls = Array.from({ length: 3000 }, () => client.advance(message));
    const replies = await Promise.all(calls);
    // Calls for one key are applied in the order in which they were made.
    replies.forEach((reply, i) => assert.equal(reply.firstSequence, i + 1));
  });
});

test("one call more than may wait fails as not applied", async () => {
  const fake = await new Fake(() => undefined, (id) =>
    frame(id, 200, helloBody({ limits: { ...limits(), in_flight: 2 } })),
  ).listen();
  const client = await connect({ addresses: fake.address, waitingCalls: 3, callTimeoutMs: 300 });
  const calls = Array.from({ length: 6 }, () => rejection(client.list({ userId: "u" })));
  const errors = await Promise.all(calls);
  assert.ok(errors[5] instanceof OverloadError);
  assert.ok(errors.slice(0, 5).every((error) => error instanceof DeadlineError));
  assert.ok(errors.every((error) => error.outcome === "notApplied"));
  assert.equal(fake.asked.length, 2, "those that waited were never sent");
  await client.close();
  fake.close();
});

function limits(): Record<string, number> {
  return vectors().conversation[0]!.body.limits;
}

test("a call ends within its deadline, and says what is known", async () => {
  const fake = await new Fake(() => undefined).listen();
  const client = await connect({ addresses: fake.address });
  const began = performance.now();
  const options = { timeoutMs: 100 };
  const read = rejection(client.list({ userId: "u" }, options));
  const write = rejection(client.delete({ userId: "u", ids: ["c"] }, options));
  assert.equal((await read).outcome, "notApplied");
  assert.equal((await write).outcome, "unknown");
  assert.ok((await write) instanceof DeadlineError);
  assert.ok(performance.now() - began < 1000);
  await client.close();
  fake.close();
});

test("a late reply to a call that is over does no harm", async () => {
  const fake = await new Fake((_, id, socket) => {
    if (fake.asked.length > 1) return [200, LISTED];
    setTimeout(() => socket.write(frame(id, 200, LISTED)), 100);
    return undefined;
  }).listen();
  let ends = 0;
  const hooks = { onDisconnect: () => void ends++ };
  await withClient({ addresses: fake.address, hooks }, async (client) => {
    const error = await rejection(client.list({ userId: "u" }, { timeoutMs: 30 }));
    assert.ok(error instanceof DeadlineError);
    await sleep(120);
    assert.deepEqual(await client.list({ userId: "u" }), { items: [], nextCursor: null });
    assert.equal(ends, 0, "the connection is still the same");
  });
  fake.close();
});

test("an AbortSignal ends a call", async () => {
  const fake = await new Fake(() => undefined).listen();
  const client = await connect({ addresses: fake.address });
  const controller = new AbortController();
  const { signal } = controller;
  const calls = [
    rejection(client.list({ userId: "u" }, { signal })),
    rejection(client.delete({ userId: "u", ids: [] }, { signal })),
  ];
  await until("both are sent", () => fake.asked.length === 2);
  controller.abort(new Error("the user left"));
  const [read, write] = await Promise.all(calls);
  assert.ok(read instanceof AbortedError && write instanceof AbortedError);
  assert.equal((read.cause as Error).message, "the user left");
  assert.deepEqual([read.outcome, write.outcome], ["notApplied", "unknown"]);
  const late = await rejection(client.list({ userId: "u" }, { signal }));
  assert.ok(late instanceof AbortedError);
  assert.equal(fake.asked.length, 2);
  await client.close();
  fake.close();
});

test("only reads and writes with a key are repeated", async () => {
  const cases = [
    { keys: true, call: (c: Client) => c.list({ userId: "u" }), isRepeated: true },
    { keys: true, call: (c: Client) => c.delete({ userId: "u", ids: [] }), isRepeated: true },
    { keys: false, call: (c: Client) => c.delete({ userId: "u", ids: [] }), isRepeated: false },
    {
      keys: false,
      call: (c: Client) => c.delete({ userId: "u", ids: [], idempotencyKey: "k" }),
      isRepeated: true,
    },
  ];
  for (const { keys, call, isRepeated } of cases) {
    const fake = await new Fake((command, _, socket) => {
      if (fake.asked.length > 1) return [200, command === LIST ? LISTED : null];
      socket.destroy();
      return undefined;
    }).listen();
    const client = await connect({ addresses: fake.address, keys });
    if (isRepeated) await call(client);
    else {
      const error = await rejection(call(client));
      assert.ok(error instanceof ConnectionError);
      assert.equal(error.outcome, "unknown");
    }
    assert.equal(fake.asked.length, isRepeated ? 2 : 1);
    await client.close();
    fake.close();
  }
});

test("429 and 503 are repeated with pauses, until the deadline", async () => {
  for (const [status, message, kind] of [
    [429, "the queue is full", BusyError],
    [503, "not applied: no lease", UnavailableError],
  ] as const) {
    const attempts: Attempt[] = [];
    const fake = await new Fake(() => [status, ["name", message]]).listen();
    const hooks = { onAttempt: (attempt: Attempt) => void attempts.push(attempt) };
    const client = await connect({ addresses: fake.address, callTimeoutMs: 300, hooks });
    const began = performance.now();
    const error = await rejection(client.delete({ userId: "u", ids: [] }));
    const took = performance.now() - began;
    assert.ok(error instanceof kind, String(error));
    assert.equal(error.outcome, "notApplied");
    assert.ok(took > 200 && took < 1000, `${took}`);
    assert.ok(fake.asked.length > 2);
    assert.equal(attempts.length, fake.asked.length, "the hook ran after each attempt");
    assert.deepEqual(attempts.map((one) => one.attempt), attempts.map((_, i) => i + 1));
    assert.ok(attempts.every((one) => one.command === "delete" && one.status === status));
    await client.close();
    fake.close();
  }
});

test("what may have been applied is never called not applied", async () => {
  const fake: Fake = await new Fake(() =>
    fake.asked.length === 1
      ? [503, ["unavailable", "outcome unknown: the server stopped"]]
      : [429, ["busy", "later"]],
  ).listen();
  const client = await connect({ addresses: fake.address, callTimeoutMs: 200 });
  const error = await rejection(client.delete({ userId: "u", ids: [] }));
  assert.equal(error.outcome, "unknown");
  assert.ok(fake.asked.length > 1);
  await client.close();
  fake.close();
});

test("a request over the server's limit is refused, and the connection stays", async () => {
  await withClient({ addresses: node.address }, async (client) => {
    const ids = Array.from({ length: 10_000 }, (_, i) => "x".repeat(120) + i);
    const error = await rejection(client.delete({ userId: "u", ids }));
    assert.ok(error instanceof TooLargeError);
    assert.deepEqual([error.outcome, error.status], ["refused", 0]);
    const served = await rejection(client.delete({ userId: "u", ids: ids.slice(0, 1001) }));
    assert.ok(served instanceof TooLargeError);
    assert.equal(served.status, 413);
  });
});

test("arguments that cannot be sent are refused", async () => {
  await withClient({ addresses: node.address }, async (client) => {
    const wrong = [
      client.list({ userId: 7 as unknown as string }),
      client.list({ userId: "u", limit: 0.5 }),
      client.list({} as { userId: string }),
      client.list(undefined as unknown as { userId: string }),
      client.markReadMany({ userId: "u", items: {} as [] }),
      client.list({ userId: "u" }, { timeoutMs: NaN }),
      client.list({ userId: "\ud800" }),
    ];
    for (const call of wrong) {
      const error = await rejection(call);
      assert.ok(error instanceof ArgumentError, String(error));
      assert.equal(error.outcome, "refused");
    }
  });
  const wrong: unknown[] = ["", "x", "x:0", "x:99999", ":1", "unix:", [], "a:b:1", 7700, [7700]];
  for (const addresses of wrong as string[]) {
    assert.throws(() => new Client({ addresses }), ArgumentError, String(addresses));
  }
  assert.throws(() => new Client({ token: "from-a-file\n" }), /^ArgumentError: token: visible/);
});

test("the same key returns the first reply; another request with it is a conflict", async () => {
  await withClient({ addresses: node.address }, async (client) => {
    await client.create({ id: "once", type: 2, creatorId: "a", userIds: ["a"] });
    const message = { chatId: "once", allocate: 1, idempotencyKey: "message-1" };
    const first = await client.advance(message);
    assert.deepEqual(await client.advance(message), first);
    const error = await rejection(client.advance({ ...message, allocate: 2 }));
    assert.ok(error instanceof ConflictError);
    assert.match(error.message, /^advance: /);
  });
});

test("a unix socket", async () => {
  const directory = mkdtempSync(join(tmpdir(), "chatshard-ts-unix-"));
  const server = await startServer({ args: ["--listen", `unix:${directory}/door`] });
  try {
    assert.equal(server.tcp, `unix:${directory}/door`);
    await withClient({ addresses: server.tcp }, async (client) => {
      await client.ping();
      assert.equal(client.address, server.tcp);
    });
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
});

test("pages come one after the other", async () => {
  await withClient({ addresses: node.address }, async (client) => {
    const ids = Array.from({ length: 7 }, (_, i) => `page${i}`);
    for (const id of ids) await client.create({ id, type: 2, creatorId: "p", userIds: ["p", "q"] });
    const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
      const all: T[] = [];
      for await (const item of items) all.push(item);
      return all;
    };
    const rows = await collect(client.rows({ userId: "p", limit: 2 }));
    assert.deepEqual(rows.map((row) => row.chatId), [...ids].reverse());
    assert.equal((await collect(client.allConversations({ userId: "p", limit: 3 }))).length, 7);
    const members = await collect(client.allMembers({ chatId: "page0", limit: 1 }));
    assert.deepEqual(members.map((member) => member.userId), ["p", "q"]);
    const changes = await collect(client.syncPages({ userId: "p", limit: 3 }));
    assert.deepEqual(changes.map((page) => page.items.length), [3, 3, 1]);
    const exported = await collect(client.exportPages({ limit: 5 }));
    const chats = exported.flatMap((page) => page.chats.map((chat) => chat.id));
    assert.ok(ids.every((id) => chats.includes(id)));
  });
});

test("close waits for the calls under way, and later calls fail", async () => {
  const fake = await new Fake((_, id, socket) => {
    setTimeout(() => socket.write(frame(id, 200, LISTED)), 100);
    return undefined;
  }).listen();
  const client = await connect({ addresses: fake.address });
  const call = client.list({ userId: "u" });
  const closed = client.close();
  assert.ok((await rejection(client.list({ userId: "u" }))) instanceof ClosedError);
  assert.deepEqual(await call, { items: [], nextCursor: null });
  await closed;
  await client.close();
  await until("the socket is gone", () => fake.sockets.size === 0);
  fake.close();
});

test("close ends calls without a reply after the time of a call", async () => {
  const fake = await new Fake(() => undefined).listen();
  const client = await connect({ addresses: fake.address, callTimeoutMs: 100 });
  const call = rejection(client.delete({ userId: "u", ids: [] }, { timeoutMs: 60_000 }));
  await client.close();
  const error = await call;
  assert.ok(error instanceof ClosedError);
  assert.equal(error.outcome, "unknown");
  fake.close();
});

test("a silent server gets a ping, and then the call goes elsewhere", async () => {
  const silence = timing.silence;
  timing.silence = 100;
  const { createServer } = await import("node:net");
  let heard = 0;
  const silent = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      if (heard === 0) socket.write(frame(1, 200, helloBody()));
      heard += bytes.length;
    });
  });
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as { port: number };
  const other = await new Fake(() => [200, LISTED]).listen();
  try {
    await withClient({ addresses: [`127.0.0.1:${port}`, other.address] }, async (client) => {
      assert.equal(client.address, `127.0.0.1:${port}`);
      const began = performance.now();
      await client.list({ userId: "u" });
      const took = performance.now() - began;
      assert.ok(took >= 200 && took < 1000, `${took} ms`);
      assert.equal(client.address, other.address);
    });
  } finally {
    timing.silence = silence;
    silent.close();
    other.close();
  }
});

test("an idle connection is kept open by pings", async () => {
  const idle = await Node.start("--shards", "1", "--idle-timeout-s", "2");
  try {
    let ends = 0;
    const hooks = { onDisconnect: () => void ends++ };
    await withClient({ addresses: idle.address, hooks }, async (client) => {
      await sleep(3500);
      assert.equal(ends, 0);
      await client.ping();
    });
  } finally {
    await idle.stop();
  }
});

test("hooks run in the caller's context, and what they throw changes nothing", async () => {
  const { AsyncLocalStorage } = await import("node:async_hooks");
  const storage = new AsyncLocalStorage<string>();
  const seen: unknown[] = [];
  const warnings: Error[] = [];
  process.on("warning", (warning) => warnings.push(warning));
  const hooks = {
    onAttempt: () => {
      seen.push(storage.getStore());
      throw new Error("a wrong hook");
    },
  };
  await withClient({ addresses: node.address, hooks }, async (client) => {
    await Promise.all(["a", "b"].map((name) => storage.run(name, () => client.ping())));
  });
  assert.deepEqual(seen.sort(), ["a", "b"]);
  await sleep(10);
  assert.match(warnings[0]!.message, /a wrong hook/);
});

test("421: the call goes to the active, whatever it is", async () => {
  const active = await new Fake((command) => [200, command === LIST ? LISTED : null]).listen();
  const standby = await new Fake(() => [421, ["moved", "not here", active.address, 0, 2]]).listen();
  const unused = await new Fake(() => assert.fail("nobody asks it")).listen();
  const addresses = [standby.address, unused.address, active.address];
  await withClient({ addresses, keys: false, token: "secret" }, async (client) => {
    await client.delete({ userId: "u", ids: [] });
    await client.list({ userId: "u" });
    assert.equal(client.address, active.address);
  });
  assert.deepEqual(standby.asked, [DELETE]);
  assert.deepEqual(active.asked, [DELETE, LIST]);
  for (const fake of [active, standby, unused]) fake.close();
});

test("a standby may reply to reads if its state is not too old", async () => {
  let asked: unknown[] = [];
  const fake = await new Fake(
    () => [200, LISTED],
    (id, a) => {
      asked = a;
      return frame(id, 200, helloBody());
    },
  ).listen();
  const options = { addresses: fake.address, token: "secret", name: "mine/1", staleMs: 500 };
  await withClient(options, (client) => client.ping());
  assert.deepEqual(asked, ["secret", "mine/1", null, 500]);
  await withClient({ addresses: fake.address }, (client) => client.ping());
  assert.deepEqual(asked, [null, `chatshard-typescript/${VERSION}`, null, null]);
  fake.close();
});

test("tokens of a server, and one that may only read", async () => {
  const directory = mkdtempSync(join(tmpdir(), "chatshard-ts-token-"));
  const file = join(directory, "tokens");
  const [full, read] = ["f".repeat(32), "r".repeat(32)];
  writeFileSync(file, `full ${full}\nread ${read}\n`, { mode: 0o600 });
  const server = await startServer({ args: ["--token-file", file] });
  try {
    const addresses = server.tcp;
    await withClient({ addresses, token: full }, (client) => client.touch({ userId: "u" }));
    await withClient({ addresses: server.tcp, token: read }, async (client) => {
      await client.list({ userId: "u" });
      const error = await rejection(client.touch({ userId: "u" }));
      assert.ok(error instanceof PermissionDeniedError);
    });
    for (const token of [undefined, "wrong"]) {
      const error = await rejection(connect({ addresses: server.tcp, ...(token && { token }) }));
      assert.ok(error instanceof UnauthenticatedError);
      assert.equal(error.outcome, "refused");
    }
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
});

test("a reply that arrives while the process is busy counts", async () => {
  await withClient({ addresses: node.address }, async (client) => {
    const call = client.list({ userId: "u" }, { timeoutMs: 200 });
    // The request leaves first; then nothing runs until its time is over.
    await new Promise((resolve) => setImmediate(resolve));
    const end = performance.now() + 400;
    while (performance.now() < end);
    assert.deepEqual((await call).items, []);
  });
});

test("thousands of calls may share a signal", async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => void warnings.push(warning);
  process.on("warning", onWarning);
  await withClient({ addresses: node.address }, async (client) => {
    const { signal } = new AbortController();
    const calls = Array.from({ length: 2000 }, () => client.list({ userId: "u" }, { signal }));
    await Promise.all(calls);
  });
  await sleep(10);
  process.off("warning", onWarning);
  assert.deepEqual(warnings, []);
});

test("421 without an address: the next node is asked", async () => {
  const active = await new Fake(() => [200, [1, 1, 1]]).listen();
  const standby = await new Fake(() => [421, ["moved", "not here", "", 0, 2]]).listen();
  await withClient({ addresses: [standby.address, active.address] }, async (client) => {
    await client.advance({ chatId: "c", to: 1 });
  });
  assert.deepEqual([standby.asked, active.asked], [[ADVANCE], [ADVANCE]]);
  for (const fake of [active, standby]) fake.close();
});

test("the token goes to no address that only a server named", async () => {
  let wasGreeted = false;
  const stranger = await new Fake(
    () => [200, null],
    (id) => {
      wasGreeted = true;
      return frame(id, 200, helloBody());
    },
  ).listen();
  const moved = ["moved", "not here", stranger.address, 0, 2];
  const standby = await new Fake(() => [421, moved]).listen();
  const options = { addresses: standby.address, callTimeoutMs: 300 };
  await withClient({ ...options, token: "secret" }, async (client) => {
    const error = await rejection(client.delete({ userId: "u", ids: [] }));
    assert.ok(error instanceof MovedError);
    assert.deepEqual([error.outcome, error.active], ["notApplied", stranger.address]);
  });
  assert.ok(!wasGreeted);
  await withClient(options, async (client) => client.delete({ userId: "u", ids: [] }));
  assert.ok(wasGreeted, "without a token there is nothing to keep");
  for (const fake of [stranger, standby]) fake.close();
});
