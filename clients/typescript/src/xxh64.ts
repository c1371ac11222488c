// xxh64 in 32-bit halves, and the slot of a key. BigInt would take many times as long.
//
// A 64-bit number is two elements of a `Uint32Array`, high and low: plain variables would be
// numbers on the heap. `N` is the one that the functions below change.

import { Buffer } from "node:buffer";

const N = new Uint32Array(2);
/** The four lanes of a key of 32 bytes or more. */
const LANES = new Uint32Array(8);

function set(high: number, low: number): void {
  N[0] = high;
  N[1] = low;
}

function add(high: number, low: number): void {
  const before = N[1]!;
  const sum = (before + low) >>> 0;
  N[0] = N[0]! + high + (sum < before ? 1 : 0);
  N[1] = sum;
}

function multiply(high: number, low: number): void {
  // The low halves multiply in parts of 16 bits, so that no product loses bits.
  const own = N[1]!;
  const [a, b, c, d] = [own >>> 16, own & 0xffff, low >>> 16, low & 0xffff];
  const bd = Math.imul(b, d) >>> 0;
  const middle = (Math.imul(a, d) >>> 0) + (bd >>> 16);
  const sum = (Math.imul(b, c) >>> 0) + (middle & 0xffff);
  const carried = Math.imul(a, c) + (middle >>> 16) + (sum >>> 16);
  N[0] = carried + Math.imul(own, high) + Math.imul(N[0]!, low);
  N[1] = (sum << 16) | (bd & 0xffff);
}

/** Rotates to the left by less than 32 bits. */
function rotate(count: number): void {
  const [high, low] = [N[0]!, N[1]!];
  N[0] = (high << count) | (low >>> (32 - count));
  N[1] = (low << count) | (high >>> (32 - count));
}

function xor(high: number, low: number): void {
  N[0]! ^= high;
  N[1]! ^= low;
}

function xorShift(count: number): void {
  const [high, low] = [N[0]!, N[1]!];
  if (count >= 32) xor(0, high >>> (count - 32));
  else xor(high >>> count, (low >>> count) | (high << (32 - count)));
}

// The primes of xxh64.
const times1 = (): void => multiply(0x9e3779b1, 0x85ebca87);
const times2 = (): void => multiply(0xc2b2ae3d, 0x27d4eb4f);
const times3 = (): void => multiply(0x165667b1, 0x9e3779f9);
const times5 = (): void => multiply(0x27d4eb2f, 0x165667c5);
const plus1 = (): void => add(0x9e3779b1, 0x85ebca87);
const plus2 = (): void => add(0xc2b2ae3d, 0x27d4eb4f);
const plus3 = (): void => add(0x165667b1, 0x9e3779f9);
const plus4 = (): void => add(0x85ebca77, 0xc2b2ae63);
const plus5 = (): void => add(0x27d4eb2f, 0x165667c5);
const minus1 = (): void => add(0x61c8864e, 0x7a143579);

/** The change of a lane by eight bytes: add them times P2, rotate, multiply by P1. */
function round(laneHigh: number, laneLow: number, high: number, low: number): void {
  set(high, low);
  times2();
  add(laneHigh, laneLow);
  rotate(31);
  times1();
}

function read32(bytes: Uint8Array, at: number): number {
  const low = bytes[at]! | (bytes[at + 1]! << 8);
  return (low | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

function keep(lane: number): void {
  LANES[lane] = N[0]!;
  LANES[lane + 1] = N[1]!;
}

/** Takes all whole stripes of 32 bytes. Returns where they end. */
function stripes(bytes: Uint8Array, length: number, seedHigh: number, seedLow: number): number {
  set(seedHigh, seedLow);
  keep(4);
  plus2();
  keep(2);
  plus1();
  keep(0);
  set(seedHigh, seedLow);
  minus1();
  keep(6);
  let at = 0;
  for (; at + 32 <= length; at += 32) {
    for (let lane = 0; lane < 8; lane += 2) {
      const word = at + 4 * lane;
      round(LANES[lane]!, LANES[lane + 1]!, read32(bytes, word + 4), read32(bytes, word));
      keep(lane);
    }
  }
  mergeLanes();
  return at;
}

function mergeLanes(): void {
  let [high, low] = [0, 0];
  for (const [lane, count] of [[0, 1], [2, 7], [4, 12], [6, 18]] as const) {
    set(LANES[lane]!, LANES[lane + 1]!);
    rotate(count);
    add(high, low);
    [high, low] = [N[0]!, N[1]!];
  }
  for (let lane = 0; lane < 8; lane += 2) {
    round(0, 0, LANES[lane]!, LANES[lane + 1]!);
    xor(high, low);
    times1();
    plus4();
    [high, low] = [N[0]!, N[1]!];
  }
}

/** Leaves the hash of the first bytes in `N`. */
function hash(bytes: Uint8Array, length: number, seedHigh: number, seedLow: number): void {
  let at = 0;
  if (length >= 32) at = stripes(bytes, length, seedHigh, seedLow);
  else {
    set(seedHigh, seedLow);
    plus5();
  }
  add(0, length);
  for (; at + 8 <= length; at += 8) {
    const [high, low] = [N[0]!, N[1]!];
    round(0, 0, read32(bytes, at + 4), read32(bytes, at));
    xor(high, low);
    rotate(27);
    times1();
    plus4();
  }
  if (at + 4 <= length) {
    const [high, low] = [N[0]!, N[1]!];
    set(0, read32(bytes, at));
    times1();
    xor(high, low);
    rotate(23);
    times2();
    plus3();
    at += 4;
  }
  for (; at < length; at++) {
    const [high, low] = [N[0]!, N[1]!];
    set(0, bytes[at]!);
    times5();
    xor(high, low);
    rotate(11);
    times1();
  }
  xorShift(33);
  times2();
  xorShift(29);
  times3();
  xorShift(32);
}

function halves(seed: bigint): [number, number] {
  return [Number(seed >> 32n), Number(seed & 0xffff_ffffn)];
}

/** xxh64 of the bytes. */
export function xxh64(bytes: Uint8Array, seed: bigint): bigint {
  hash(bytes, bytes.length, ...halves(seed));
  return (BigInt(N[0]!) << 32n) | BigInt(N[1]!);
}

/** Returns what finds the slot of a key, by the `hash_seed` and `slots` of a server. */
export function slotter(seed: bigint, slots: number): (key: string) => number {
  const [high, low] = halves(seed);
  // A longer key is no id: the server rejects it, on any connection.
  const space = Buffer.alloc(512);
  const wrap = 2 ** 32 % slots;
  return (key) => {
    hash(space, write(space, key), high, low);
    return ((N[0]! % slots) * wrap + (N[1]! % slots)) % slots;
  };
}

/** Writes a key as UTF-8; one of ASCII by hand, which is faster. Returns its bytes. */
function write(space: Buffer, key: string): number {
  const { length } = key;
  if (length > 128) return space.write(key, "utf8");
  for (let i = 0; i < length; i++) {
    const code = key.charCodeAt(i);
    if (code >= 0x80) return space.write(key, "utf8");
    space[i] = code;
  }
  return length;
}
