// The conversation of the vectors with a fresh server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { type Client, connect, ServerError } from "../src/index.js";
import { camel, camelKeys, type Case, Node, vectors } from "./help.js";

const all = vectors();
const VARYING = all.varying_texts;
let node: Node;
let client: Client;
let log = "";

before(async () => {
  node = await Node.start("--shards", "4");
  // The conversation has no keys of its own where it shows what happens without.
  client = await connect({ addresses: node.address, keys: false });
});

after(async () => {
  await client.close();
  await node.stop();
});

/** Fails unless both have the same fields; items of a list count only if both lists have one. */
function assertSameFields(one: any, other: any): void {
  if (Array.isArray(one) && Array.isArray(other)) {
    if (one.length > 0 && other.length > 0) assertSameFields(one[0], other[0]);
  } else if (one !== null && typeof one === "object") {
    assert.deepEqual(Object.keys(one), Object.keys(other));
    for (const key of Object.keys(one)) assertSameFields(one[key], other[key]);
  }
}

/** Without what may differ. */
function comparable(value: any, compare: Case["compare"], key = ""): any {
  if (VARYING.includes(key) && value !== null) return "text";
  if (Array.isArray(value)) return value.map((one) => comparable(one, compare, key));
  if (value !== null && typeof value === "object") {
    const pairs = Object.entries(value).map(([name, of]) => [name, comparable(of, compare, name)]);
    return Object.fromEntries(pairs);
  }
  return typeof value === "bigint" ? Number(value) : value;
}

async function replyTo(one: Case): Promise<any> {
  const a = camelKeys(one.arguments);
  if (a.since && a.since.log !== "elsewhere") a.since.log = log;
  return (client as any)[camel(one.command!)](a);
}

for (const one of all.conversation) {
  test(one.name, async () => {
    // The client sends these itself: see the tests of connections and watches.
    if (["hello", "watch", "cancel"].includes(one.command!)) return;
    if (one.status !== 200) {
      return assert.rejects(replyTo(one), (error: unknown) => {
        assert.ok(error instanceof ServerError);
        assert.equal(error.status, one.status);
        assert.equal(error.code, one.body.error);
        assert.equal(error.outcome, "refused");
        return true;
      });
    }
    const reply = await replyTo(one);
    if (one.command === "sync") log = reply.log;
    const expected = camelKeys(one.body);
    const rows = { list: expected?.items, set_flags: [expected?.row] }[one.command!] ?? [];
    for (const row of rows) delete row.id;
    if (one.compare === "fields") return assertSameFields(reply, expected);
    const isEmpty = one.command === "ping" || expected === null;
    assert.deepEqual(
      comparable(reply, one.compare),
      isEmpty ? undefined : comparable(expected, one.compare),
    );
  });
}
