// A server is killed and started 20 times under load: no acknowledged write is lost, none is
// applied twice, nothing hangs, nothing leaks.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { ChatshardError, connect } from "../src/index.js";
import { Node } from "./help.js";

const CHATS = 8;
const RESTARTS = 20;

let node: Node;

before(async () => {
  node = await Node.start("--shards", "2");
});

after(() => node.stop());

const openFiles = (): number => readdirSync("/proc/self/fd").length;

test("20 kills under load", { timeout: 80_000 }, async () => {
  const filesBefore = openFiles();
  const client = await connect({ addresses: node.address, callTimeoutMs: 8000 });
  const ids = Array.from({ length: CHATS }, (_, i) => `t${i}`);
  for (const id of ids) await client.create({ id, type: 2, creatorId: "a", userIds: ["a"] });
  let isOver = false;
  let longest = 0;
  const failures: unknown[] = [];
  const counts = new Map<string, { acknowledged: number; unknown: number }>();

  async function write(chatId: string): Promise<void> {
    const count = { acknowledged: 0, unknown: 0 };
    counts.set(chatId, count);
    let last = 0;
    while (!isOver) {
      const began = performance.now();
      try {
        const { firstSequence } = await client.advance({ chatId, allocate: 1 });
        // With one writer for a chat, each acknowledged write has the next sequence. A write that
        // is of unknown outcome may have taken one.
        const most = last + 1 + count.unknown;
        const isNext = firstSequence > last && firstSequence <= most;
        if (!isNext) failures.push({ chatId, firstSequence, last });
        last = firstSequence;
        count.acknowledged++;
      } catch (error) {
        if (!(error instanceof ChatshardError)) failures.push(error);
        else if (error.outcome === "unknown") count.unknown++;
        else failures.push(error);
      }
      longest = Math.max(longest, performance.now() - began);
    }
  }

  async function read(): Promise<void> {
    while (!isOver) {
      await client.list({ userId: "a" }).catch((error) => failures.push(error));
      await sleep(1);
    }
  }

  const loads = [...ids.map(write), read()];
  for (let i = 0; i < RESTARTS; i++) {
    await sleep(60 + Math.random() * 60);
    await node.kill();
    await node.start();
  }
  await sleep(300);
  isOver = true;
  await Promise.all(loads);
  assert.deepEqual(failures, []);
  assert.ok(longest < 8500, `a call took ${longest} ms`);
  for (const [chatId, { acknowledged, unknown }] of counts) {
    const { lastSequence } = (await client.detail({ ids: [chatId] })).items[0]!;
    const counted = `${acknowledged} acknowledged, ${unknown} unknown`;
    const said = `${chatId}: last ${lastSequence}, ${counted}`;
    assert.ok(acknowledged > 0, said);
    assert.ok(lastSequence >= acknowledged && lastSequence <= acknowledged + unknown, said);
  }
  await client.close();
  await sleep(50);
  assert.ok(openFiles() <= filesBefore + 2, `${filesBefore} files before, ${openFiles()} after`);
});
