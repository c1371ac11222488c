// Values: what is exact, what is an error, and bytes of any kind.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";

import { ArgumentError, ProtocolError } from "../src/errors.js";
import { commands } from "../src/generated.js";
import { Reader, Writer } from "../src/msgpack.js";
import { xxh64 } from "../src/xxh64.js";

function written(write: (w: Writer) => void): Buffer {
  const w = new Writer(1);
  write(w);
  return w.take();
}

function reader(hex: string): Reader {
  return new Reader().reset(Buffer.from(hex.replaceAll(" ", ""), "hex"));
}

test("integers are exact, or an error", () => {
  const values = [0, 127, 128, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];
  for (const value of values) {
    const bytes = written((w) => w.integer(value, "x"));
    assert.equal(new Reader().reset(bytes).integer(), value);
    assert.equal(new Reader().reset(bytes).bits64(), BigInt(value));
  }
  for (const value of [0n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
    const bytes = written((w) => w.bits64(value, "x"));
    assert.equal(new Reader().reset(bytes).bits64(), value);
    if (value > Number.MAX_SAFE_INTEGER) {
      assert.throws(() => new Reader().reset(bytes).integer(), ProtocolError);
    }
  }
  const wrong = ["ff", "d0ff", "d1ffff", "d2ffffffff", "d3ffffffffffffffff", "a131", "c0", "90"];
  for (const hex of wrong) {
    assert.throws(() => reader(hex).integer(), ProtocolError, hex);
    assert.throws(() => reader(hex).bits64(), ProtocolError, hex);
  }
  for (const value of [-1, 0.5, NaN, Infinity, 2 ** 53, "1", null, 1n, true]) {
    assert.throws(() => written((w) => w.integer(value, "x")), ArgumentError, String(value));
  }
  for (const value of [-1n, 2n ** 64n, 1]) {
    assert.throws(() => written((w) => w.bits64(value, "x")), ArgumentError);
  }
});

test("strings of every length and kind", () => {
  const parts = ["", "a", "会话", "😀", "\u0000", "\ufffd"];
  for (const part of parts) {
    for (const count of [1, 15, 16, 31, 32, 33, 255, 256, 65535, 65536]) {
      const text = part.repeat(count);
      assert.equal(new Reader().reset(written((w) => w.string(text, "x"))).string(), text);
    }
  }
  assert.throws(() => written((w) => w.string("a\ud800", "x")), ArgumentError);
  assert.throws(() => reader("a1ff").string(), /not UTF-8/);
  assert.throws(() => reader("a3eda080").string(), /not UTF-8/);
  assert.throws(() => reader("dbffffffff61").string(), /ends too early/);
});

test("a claimed length allocates nothing", () => {
  assert.throws(() => reader("ddffffffff").array(), /ends too early/);
  assert.throws(() => reader("ddffffffff c0").list((r) => r.integer()), /ends too early/);
});

test("nesting is bounded", () => {
  const deep = "91".repeat(100_000) + "c0";
  assert.throws(() => reader(deep).skip(1), /nest too deep/);
});

test("unknown fields of any kind are passed over, others are not", () => {
  const integers = "05 ff cc80 cd0100 ce00010000 cfffffffffffffffff d0ff d1ffff";
  const r = reader(`c0 c2 c3 ${integers} a161 d90161 92 01 9102`);
  r.skip(14);
  r.finish();
  for (const hex of ["80", "c403010203", "ca00000000", "cb0000000000000000", "d40100", "c1"]) {
    assert.throws(() => reader(hex).skip(1), ProtocolError, hex);
  }
});

test("random bytes give values or a ProtocolError", () => {
  const seed = randomBytes(4).readUInt32BE();
  let state = seed;
  const random = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) >>> 8;
  const kinds = Object.values(commands) as { name: string; read(r: Reader): unknown }[];
  for (let i = 0; i < 20_000; i++) {
    const bytes = Buffer.alloc(random() % 40);
    for (let at = 0; at < bytes.length; at++) {
      // Mostly heads of arrays, strings and small integers, so that decoding goes deep.
      const kind = random() % 8;
      bytes[at] = kind < 3 ? 0x90 | random() % 16 : kind < 5 ? 0xa0 | random() % 4 : random() % 256;
    }
    const command = kinds[random() % kinds.length]!;
    try {
      command.read(new Reader().reset(bytes));
    } catch (error) {
      assert.ok(error instanceof ProtocolError, `seed ${seed}: ${command.name} ${String(error)}`);
    }
  }
});

test("xxh64 is that of a plain computation with BigInt", () => {
  for (let length = 0; length < 140; length++) {
    const bytes = randomBytes(length);
    const seed = randomBytes(8).readBigUInt64BE();
    assert.equal(xxh64(bytes, seed), plain(bytes, seed), `${bytes.toString("hex")} ${seed}`);
  }
});

const MASK = 2n ** 64n - 1n;
const [P1, P2, P3, P4, P5] = [
  0x9e3779b185ebca87n,
  0xc2b2ae3d27d4eb4fn,
  0x165667b19e3779f9n,
  0x85ebca77c2b2ae63n,
  0x27d4eb2f165667c5n,
] as const;

function rotated(x: bigint, by: bigint): bigint {
  return ((x << by) | (x >> (64n - by))) & MASK;
}

function round(lane: bigint, word: bigint): bigint {
  return (rotated((lane + word * P2) & MASK, 31n) * P1) & MASK;
}

function plain(bytes: Buffer, seed: bigint): bigint {
  let at = 0;
  let h = (seed + P5) & MASK;
  if (bytes.length >= 32) {
    const lanes = [seed + P1 + P2, seed + P2, seed, seed - P1].map((lane) => lane & MASK);
    for (; at + 32 <= bytes.length; at += 32) {
      for (let i = 0; i < 4; i++) lanes[i] = round(lanes[i]!, bytes.readBigUInt64LE(at + 8 * i));
    }
    h = [1n, 7n, 12n, 18n].reduce((sum, by, i) => (sum + rotated(lanes[i]!, by)) & MASK, 0n);
    for (const lane of lanes) h = ((h ^ round(0n, lane)) * P1 + P4) & MASK;
  }
  h = (h + BigInt(bytes.length)) & MASK;
  for (; at + 8 <= bytes.length; at += 8) {
    h = (rotated(h ^ round(0n, bytes.readBigUInt64LE(at)), 27n) * P1 + P4) & MASK;
  }
  if (at + 4 <= bytes.length) {
    h = (rotated(h ^ ((BigInt(bytes.readUInt32LE(at)) * P1) & MASK), 23n) * P2 + P3) & MASK;
    at += 4;
  }
  for (; at < bytes.length; at++) {
    h = (rotated(h ^ ((BigInt(bytes[at]!) * P5) & MASK), 11n) * P1) & MASK;
  }
  h = ((h ^ (h >> 33n)) * P2) & MASK;
  h = ((h ^ (h >> 29n)) * P3) & MASK;
  return h ^ (h >> 32n);
}
