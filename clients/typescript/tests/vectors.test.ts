// The vectors of the protocol: each is encoded and decoded, the other forms too.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { Command } from "../src/command.js";
import { encode, writeFrame } from "../src/connection.js";
import { ServerError } from "../src/errors.js";
import { commands } from "../src/generated.js";
import { Reader, Writer } from "../src/msgpack.js";
import { readError } from "../src/replies.js";
import { slotter, xxh64 } from "../src/xxh64.js";
import { camel, camelKeys, type Case, vectors } from "./help.js";

const all = vectors();
const BITS64 = ["hashSeed", "journal", "own", "active"];

function commandOf(name: string): Command<any, any> {
  return (commands as any)[camel(name)];
}

/** Integers of 64 bits as they are in this client. */
function wide(value: any): any {
  if (Array.isArray(value)) return value.map(wide);
  if (value === null || typeof value !== "object") return value;
  const pair = ([key, of]: [string, any]) =>
    [key, BITS64.includes(key) && typeof of === "number" ? BigInt(of) : wide(of)] as const;
  return Object.fromEntries(Object.entries(value).map(pair));
}

/** The body as this client has it. The wire has the id of a row once, and JSON twice. */
export function expected(one: Case): any {
  const body = wide(camelKeys(one.body));
  const rows = one.command === "list" ? body.items : one.command === "set_flags" ? [body.row] : [];
  for (const row of rows) delete row.id;
  return one.command === "ping" || body === null ? undefined : body;
}

function decode(one: Case): any {
  const bytes = Buffer.from(one.reply, "hex");
  assert.equal(bytes.readUInt32BE(0), bytes.length - 4);
  const r = new Reader().reset(bytes, 4);
  const more = r.array(3);
  assert.equal(r.integer(), one.request_id);
  assert.equal(r.integer(), one.status);
  const isRead = one.command === null || commandOf(one.command).isRead;
  const isDone = one.status === 200;
  const body = isDone ? commandOf(one.command!).read(r) : readError(one.status, r, isRead);
  r.skip(more);
  r.finish();
  return body;
}

for (const group of ["conversation", "members"] as const) {
  for (const one of all[group]) {
    test(`request: ${one.name}`, () => {
      const command = commandOf(one.command!);
      const a = wide(camelKeys(one.arguments));
      const body = encode(command.code, (w) => command.write(w, a, a.idempotencyKey));
      const w = new Writer(1);
      writeFrame(w, one.request_id, body);
      assert.equal(w.take().toString("hex"), one.request);
    });
  }
}

for (const group of ["conversation", "members", "errors", "events", "forms"] as const) {
  for (const one of all[group]) {
    test(`reply in ${group}: ${one.name}`, () => {
      const body = decode(one);
      if (one.status === 200) return assert.deepEqual(body, expected(one));
      assert.ok(body instanceof ServerError);
      assert.equal(body.status, one.status);
      assert.equal(body.code, one.body.error);
      assert.equal(body.message, one.body.message);
      assert.equal(body.active, one.body.address ?? "");
    });

    test(`a reply that ends early in ${group}: ${one.name}`, () => {
      const whole = one.reply;
      for (let end = 10; end < whole.length - 2; end += 2) {
        assert.throws(() => decode({ ...one, reply: length(whole.slice(8, end)) }), `${end}`);
      }
    });
  }
}

/** The frame of a payload in hex. */
function length(payload: string): string {
  return (payload.length / 2).toString(16).padStart(8, "0") + payload;
}

test("the errors say what is known of the request", () => {
  const outcomes = all.errors.map((one) => [one.status, decode(one).outcome]);
  assert.deepEqual(outcomes, [
    [413, "refused"],
    [401, "refused"],
    [401, "refused"],
    [403, "refused"],
    [421, "notApplied"],
    [429, "notApplied"],
    [429, "notApplied"],
    [503, "notApplied"],
    [503, "unknown"],
    [409, "refused"],
    [413, "refused"],
    [409, "refused"],
    [400, "refused"],
    [451, "refused"],
    [507, "unknown"],
  ]);
});

test("slots of keys", () => {
  for (const { key, seed, hash, slot, shard_of_4 } of all.slots) {
    assert.equal(xxh64(Buffer.from(key), BigInt(seed)).toString(16).padStart(16, "0"), hash);
    assert.equal(slotter(BigInt(seed), 4096)(key), slot);
    assert.equal(slot % 4, shard_of_4);
  }
});
