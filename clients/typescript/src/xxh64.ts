// xxh64 in 32-bit halves, and the slot of a key. Halves are some ten times as fast as BigInt.

import { Buffer } from "node:buffer";

/** A 64-bit number as two unsigned halves. */
interface Halves {
  high: number;
  low: number;
}

const P1: Halves = { high: 0x9e3779b1, low: 0x85ebca87 };
const P2: Halves = { high: 0xc2b2ae3d, low: 0x27d4eb4f };
const P3: Halves = { high: 0x165667b1, low: 0x9e3779f9 };
const P4: Halves = { high: 0x85ebca77, low: 0xc2b2ae63 };
const P5: Halves = { high: 0x27d4eb2f, low: 0x165667c5 };
const TWO_32 = 0x1_0000_0000;

// The number that the functions below change.
let high = 0;
let low = 0;

function set(to: Halves): void {
  high = to.high;
  low = to.low;
}

function add(h: number, l: number): void {
  const sum = low + l;
  high = (high + h + (sum >= TWO_32 ? 1 : 0)) >>> 0;
  low = sum >>> 0;
}

function multiply(by: Halves): void {
  // The low halves multiply in 16-bit parts, so that no product loses bits.
  const a = low >>> 16;
  const b = low & 0xffff;
  const c = by.low >>> 16;
  const d = by.low & 0xffff;
  const bd = b * d;
  const middle = a * d + (bd >>> 16);
  const sum = b * c + (middle & 0xffff);
  const carried = a * c + Math.floor(middle / 0x1_0000) + Math.floor(sum / 0x1_0000);
  high = (carried + Math.imul(low, by.high) + Math.imul(high, by.low)) >>> 0;
  low = ((sum << 16) | (bd & 0xffff)) >>> 0;
}

function rotate(count: number): void {
  const [from, other] = count < 32 ? [high, low] : [low, high];
  const bits = count & 31;
  high = ((from << bits) | (other >>> (32 - bits))) >>> 0;
  low = ((other << bits) | (from >>> (32 - bits))) >>> 0;
}

function xorShift(count: number): void {
  if (count >= 32) {
    low = (low ^ (high >>> (count - 32))) >>> 0;
    return;
  }
  low = (low ^ ((low >>> count) | (high << (32 - count)))) >>> 0;
  high = (high ^ (high >>> count)) >>> 0;
}

function xor(h: number, l: number): void {
  high = (high ^ h) >>> 0;
  low = (low ^ l) >>> 0;
}

/** The change of a lane by eight bytes: add them times P2, rotate, multiply by P1. */
function round(lane: Halves, h: number, l: number): void {
  high = h;
  low = l;
  multiply(P2);
  add(lane.high, lane.low);
  rotate(31);
  multiply(P1);
  lane.high = high;
  lane.low = low;
}

function read32(bytes: Uint8Array, at: number): number {
  const low = bytes[at]! | (bytes[at + 1]! << 8);
  return (low | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

function lanes(seed: Halves): Halves[] {
  const of = (...terms: Halves[]): Halves => {
    set(seed);
    for (const term of terms) add(term.high, term.low);
    return { high, low };
  };
  // 2^64 - P1, to subtract P1.
  const minusP1 = { high: ~P1.high >>> 0, low: (~P1.low + 1) >>> 0 };
  return [of(P1, P2), of(P2), of(), of(minusP1)];
}

/** Takes all whole stripes of 32 bytes. Returns where they end; the number is what they give. */
function stripes(bytes: Uint8Array, seed: Halves): number {
  const four = lanes(seed);
  let at = 0;
  for (; at + 32 <= bytes.length; at += 32) {
    for (let i = 0; i < 4; i++) {
      round(four[i]!, read32(bytes, at + 8 * i + 4), read32(bytes, at + 8 * i));
    }
  }
  const turned = [1, 7, 12, 18].map((count, i) => {
    set(four[i]!);
    rotate(count);
    return { high, low };
  });
  set({ high: 0, low: 0 });
  for (const lane of turned) add(lane.high, lane.low);
  for (const lane of four) {
    const before = { high, low };
    const merged = { high: 0, low: 0 };
    round(merged, lane.high, lane.low);
    set(before);
    xor(merged.high, merged.low);
    multiply(P1);
    add(P4.high, P4.low);
  }
  return at;
}

function hash(bytes: Uint8Array, seed: Halves): void {
  let at = 0;
  if (bytes.length >= 32) at = stripes(bytes, seed);
  else {
    set(seed);
    add(P5.high, P5.low);
  }
  add(0, bytes.length);
  for (; at + 8 <= bytes.length; at += 8) {
    const before = { high, low };
    const lane = { high: 0, low: 0 };
    round(lane, read32(bytes, at + 4), read32(bytes, at));
    set(before);
    xor(lane.high, lane.low);
    rotate(27);
    multiply(P1);
    add(P4.high, P4.low);
  }
  if (at + 4 <= bytes.length) {
    const before = { high, low };
    set({ high: 0, low: read32(bytes, at) });
    multiply(P1);
    const word = { high, low };
    set(before);
    xor(word.high, word.low);
    rotate(23);
    multiply(P2);
    add(P3.high, P3.low);
    at += 4;
  }
  for (; at < bytes.length; at++) {
    const before = { high, low };
    set({ high: 0, low: bytes[at]! });
    multiply(P5);
    const byte = { high, low };
    set(before);
    xor(byte.high, byte.low);
    rotate(11);
    multiply(P1);
  }
  xorShift(33);
  multiply(P2);
  xorShift(29);
  multiply(P3);
  xorShift(32);
}

function halves(seed: bigint): Halves {
  return { high: Number(seed >> 32n), low: Number(seed & 0xffff_ffffn) };
}

/** xxh64 of the bytes. */
export function xxh64(bytes: Uint8Array, seed: bigint): bigint {
  hash(bytes, halves(seed));
  return (BigInt(high) << 32n) | BigInt(low);
}

/** Returns what finds the slot of a key, by the `hash_seed` and `slots` of a server. */
export function slotter(seed: bigint, slots: number): (key: string) => number {
  const start = halves(seed);
  const space = Buffer.alloc(512);
  const wrap = TWO_32 % slots;
  return (key) => {
    // A longer key is no id: the server rejects it, on any connection.
    const length = space.write(key, "utf8");
    hash(space.subarray(0, length), start);
    return ((high % slots) * wrap + (low % slots)) % slots;
  };
}
