// A server is killed and started 20 times under load: no acknowledged write is lost, none is
// applied twice, nothing hangs, nothing leaks.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { ChatshardError, type Client, connect } from "../src/index.js";
import { Node } from "./help.js";

const RESTARTS = 20;
const CALL_MS = 8000;

let node: Node;

before(async () => {
  node = await Node.start("--shards", "2");
});

after(() => node.stop());

/** What one writer knows of its chat. */
interface Count {
  acknowledged: number;
  unknown: number;
  /** Errors that promise that nothing was applied. */
  notApplied: number;
}

/** A load, and what it found wrong. */
class Load {
  isOver = false;
  longest = 0;
  readonly failures: unknown[] = [];
  readonly counts = new Map<string, Count>();

  /** Writes to a chat that nobody else writes to, so the sequences show what was applied. */
  async write(client: Client, chatId: string): Promise<void> {
    const count = { acknowledged: 0, unknown: 0, notApplied: 0 };
    this.counts.set(chatId, count);
    let last = 0;
    let open = 0;
    while (!this.isOver) {
      const began = performance.now();
      try {
        const { firstSequence } = await client.advance({ chatId, allocate: 1 });
        // Each write of unknown outcome since the last reply may have taken a sequence.
        const isNext = firstSequence > last && firstSequence <= last + 1 + open;
        if (!isNext) this.failures.push({ chatId, firstSequence, last, open });
        last = firstSequence;
        open = 0;
        count.acknowledged++;
      } catch (error) {
        if (!(error instanceof ChatshardError)) this.failures.push(error);
        else if (error.outcome === "unknown") {
          count.unknown++;
          open++;
        } else if (error.outcome === "notApplied") {
          count.notApplied++;
          await sleep(5);
        } else this.failures.push(error);
      }
      this.longest = Math.max(this.longest, performance.now() - began);
    }
  }

  async read(client: Client): Promise<void> {
    while (!this.isOver) {
      await client.list({ userId: "a" }).catch((error) => this.failures.push(error));
      await sleep(1);
    }
  }

  async check(client: Client): Promise<void> {
    assert.deepEqual(this.failures, []);
    assert.ok(this.longest < CALL_MS + 500, `a call took ${this.longest} ms`);
    for (const [chatId, { acknowledged, unknown, notApplied }] of this.counts) {
      const { lastSequence } = (await client.detail({ ids: [chatId] })).items[0]!;
      const counted = `${acknowledged} acknowledged, ${unknown} unknown, ${notApplied} not applied`;
      const said = `${chatId}: last ${lastSequence}, ${counted}`;
      assert.ok(acknowledged > 0, said);
      assert.ok(lastSequence >= acknowledged && lastSequence <= acknowledged + unknown, said);
    }
  }
}

const openFiles = (): number => readdirSync("/proc/self/fd").length;
const timers = (): number =>
  process.getActiveResourcesInfo().filter((name) => name === "Timeout").length + intervals.size;

// Timers that do not keep the process alive are no active resource, so they are counted here.
const intervals = new Set<unknown>();
const { setInterval: set, clearInterval: clear } = globalThis;
globalThis.setInterval = ((...a: Parameters<typeof set>) => {
  const made = set(...a);
  intervals.add(made);
  return made;
}) as typeof set;
globalThis.clearInterval = ((one: Parameters<typeof clear>[0]) => {
  intervals.delete(one);
  clear(one);
}) as typeof clear;

test("20 kills under load", { timeout: 80_000 }, async () => {
  const before = { files: openFiles(), timers: timers() };
  const options = { addresses: node.address, callTimeoutMs: CALL_MS };
  const keyed = await connect(options);
  const plain = await connect({ ...options, keys: false });
  const load = new Load();
  const writers: [Client, string][] = [];
  for (const id of ["k0", "k1", "k2", "k3", "k4", "k5"]) writers.push([keyed, id]);
  for (const id of ["p0", "p1", "p2"]) writers.push([plain, id]);
  for (const [client, id] of writers) {
    await client.create({ id, type: 2, creatorId: "a", userIds: ["a"] });
  }
  const loads = writers.map(([client, id]) => load.write(client, id));
  loads.push(load.read(keyed));
  for (let i = 0; i < RESTARTS; i++) {
    await sleep(60 + Math.random() * 60);
    await node.kill();
    await node.start();
  }
  await sleep(300);
  load.isOver = true;
  await Promise.all(loads);
  await load.check(keyed);
  const of = (id: string) => load.counts.get(id)!;
  // With keys every call came to an end: the server was never away for the time of a call.
  for (const id of ["k0", "k1", "k2", "k3", "k4", "k5"]) {
    assert.deepEqual([of(id).unknown, of(id).notApplied], [0, 0], id);
  }
  const unknown = ["p0", "p1", "p2"].reduce((sum, id) => sum + of(id).unknown, 0);
  assert.ok(unknown > 0, "some writes without a key were in flight at a kill");
  await Promise.all([keyed.close(), plain.close()]);
  await sleep(50);
  assert.ok(openFiles() <= before.files + 2, `${before.files} files, then ${openFiles()}`);
  assert.ok(timers() <= before.timers, `${before.timers} timers, then ${timers()}`);
});
