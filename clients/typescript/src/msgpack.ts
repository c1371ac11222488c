// The five kinds of values in MessagePack: nil, booleans, integers, strings, arrays.
//
// Invariants:
// - A reader reads no byte behind the end of its value, whatever lengths the bytes claim.
// - A number is exact. An integer that a `number` cannot hold is an error.

import { isUtf8 } from "node:buffer";

import { ArgumentError, ProtocolError } from "./errors.js";

/** Shorter strings are written by hand, which is faster than a call of Node. */
const SHORT = 32;
/** Deepest nesting of arrays that a reader passes over. */
const NESTING = 16;
const TWO_32 = 0x1_0000_0000;
const BITS64_MAX = 0xffff_ffff_ffff_ffffn;

/** Writes values behind one another, each in its shortest form. */
export class Writer {
  bytes: Buffer;
  length = 0;

  constructor(capacity = 4096) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  /** Makes room for so many more bytes. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(larger, 0, 0, this.length);
    this.bytes = larger;
  }

  nil(): void {
    this.#byte(0xc0);
  }

  bool(value: unknown, name: string): void {
    if (typeof value !== "boolean") throw wrong(name, "a boolean", value);
    this.#byte(value ? 0xc3 : 0xc2);
  }

  array(count: number): void {
    if (count < 16) this.#byte(0x90 | count);
    else if (count < 0x1_0000) this.#head(0xdc, count, 2);
    else this.#head(0xdd, count, 4);
  }

  integer(value: unknown, name: string): void {
    if (!Number.isSafeInteger(value) || (value as number) < 0) {
      throw wrong(name, "an integer from 0 to 2^53-1", value);
    }
    const number = value as number;
    if (number < 0x80) this.#byte(number);
    else if (number < 0x100) this.#head(0xcc, number, 1);
    else if (number < 0x1_0000) this.#head(0xcd, number, 2);
    else if (number < TWO_32) this.#head(0xce, number, 4);
    else {
      this.#head(0xcf, Math.floor(number / TWO_32), 4);
      this.reserve(4);
      this.length = this.bytes.writeUInt32BE(number % TWO_32, this.length);
    }
  }

  bits64(value: unknown, name: string): void {
    if (typeof value !== "bigint" || value < 0n || value > BITS64_MAX) {
      throw wrong(name, "a bigint from 0 to 2^64-1", value);
    }
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return this.integer(Number(value), name);
    this.#byte(0xcf);
    this.reserve(8);
    this.length = this.bytes.writeBigUInt64BE(value, this.length);
  }

  string(value: unknown, name: string): void {
    if (typeof value !== "string") throw wrong(name, "a string", value);
    if (value.length < SHORT && this.#ascii(value)) return;
    // A lone surrogate has no UTF-8. To replace it silently could make two ids one.
    if (!isWellFormed(value)) throw new ArgumentError(`${name}: has half of a surrogate pair`);
    const count = Buffer.byteLength(value);
    if (count < 32) this.#byte(0xa0 | count);
    else if (count < 0x100) this.#head(0xd9, count, 1);
    else if (count < 0x1_0000) this.#head(0xda, count, 2);
    else this.#head(0xdb, count, 4);
    this.reserve(count);
    this.length += this.bytes.write(value, this.length, count, "utf8");
  }

  /** Writes an array, each item with `write`. */
  list<T>(items: readonly T[], name: string, write: (writer: this, item: T) => void): void {
    if (!Array.isArray(items)) throw wrong(name, "an array", items);
    this.array(items.length);
    for (const item of items) write(this, item);
  }

  /** Writes an array of strings. */
  strings(items: readonly string[], name: string): void {
    if (!Array.isArray(items)) throw wrong(name, "an array", items);
    this.array(items.length);
    for (const item of items) this.string(item, name);
  }

  /** Returns a copy of what was written, and begins anew. */
  take(): Buffer {
    const copy = Buffer.allocUnsafe(this.length);
    this.bytes.copy(copy, 0, 0, this.length);
    this.length = 0;
    return copy;
  }

  /** Writes a short string of ASCII; false if it is none. */
  #ascii(value: string): boolean {
    const count = value.length;
    this.reserve(count + 1);
    const { bytes } = this;
    let at = this.length;
    bytes[at++] = 0xa0 | count;
    for (let i = 0; i < count; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) return false;
      bytes[at++] = code;
    }
    this.length = at;
    return true;
  }

  #byte(byte: number): void {
    if (this.length === this.bytes.length) this.reserve(1);
    this.bytes[this.length++] = byte;
  }

  #head(head: number, value: number, width: number): void {
    this.reserve(1 + width);
    this.bytes[this.length++] = head;
    this.length = this.bytes.writeUIntBE(value, this.length, width);
  }
}

/** The method behind `toString`, without its choice of an encoding. */
type Sliceable = Buffer & { utf8Slice(start: number, end: number): string };

/** Reads values behind one another. Every method throws a {@link ProtocolError} for other bytes. */
export class Reader {
  #bytes: Sliceable = Buffer.alloc(0) as Sliceable;
  #at = 0;
  #end = 0;

  /** Reads the bytes from `start` to `end` from now on. */
  reset(bytes: Buffer, start = 0, end = bytes.length): this {
    this.#bytes = bytes as Sliceable;
    this.#at = start;
    this.#end = end;
    return this;
  }

  /** Fails unless everything was read. */
  finish(): void {
    if (this.#at !== this.#end) throw new ProtocolError("there are bytes behind the value");
  }

  /** Passes over nil, if it comes next. */
  nil(): boolean {
    if (this.#at >= this.#end || this.#bytes[this.#at] !== 0xc0) return false;
    this.#at++;
    return true;
  }

  /** Reads nil. */
  expectNil(): void {
    if (!this.nil()) throw other("nil", this.#head());
  }

  /** Whether a string comes next. */
  isString(): boolean {
    const head = this.#at < this.#end ? this.#bytes[this.#at]! : 0;
    return (head >= 0xa0 && head <= 0xbf) || (head >= 0xd9 && head <= 0xdb);
  }

  bool(): boolean {
    const head = this.#head();
    if (head !== 0xc2 && head !== 0xc3) throw other("a boolean", head);
    return head === 0xc3;
  }

  /** Reads the head of an array with at least `least` items. Returns how many more it has. */
  array(least = 0): number {
    const head = this.#head();
    let count: number;
    if (head >= 0x90 && head <= 0x9f) count = head & 0x0f;
    else if (head === 0xdc) count = this.#unsigned(2);
    else if (head === 0xdd) count = this.#unsigned(4);
    else throw other("an array", head);
    if (count < least) throw new ProtocolError(`an array has ${count} items, not ${least}`);
    // Each item has a byte, so a longer array cannot come.
    if (count > this.#end - this.#at) throw short();
    return count - least;
  }

  /** Reads an integer from 0 to 2^53-1. */
  integer(): number {
    const at = this.#at;
    if (at < this.#end) {
      const head = this.#bytes[at]!;
      if (head < 0x80) {
        this.#at = at + 1;
        return head;
      }
    }
    return this.#wide();
  }

  #wide(): number {
    const head = this.#head();
    switch (head) {
      case 0xcc:
        return this.#unsigned(1);
      case 0xcd:
        return this.#unsigned(2);
      case 0xce:
        return this.#unsigned(4);
      case 0xd0:
        return this.#signed(1);
      case 0xd1:
        return this.#signed(2);
      case 0xd2:
        return this.#signed(4);
      case 0xcf:
      case 0xd3: {
        const high = this.#unsigned(4);
        const low = this.#unsigned(4);
        if (high > 0x1f_ffff) throw new ProtocolError("an integer is below 0 or above 2^53-1");
        return high * TWO_32 + low;
      }
      default:
        throw head >= 0xe0 ? negative() : other("an integer", head);
    }
  }

  /** Reads an integer from `min` to `max`. */
  code(min: number, max: number): number {
    const value = this.integer();
    if (value < min || value > max) {
      throw new ProtocolError(`an integer is ${value}, not from ${min} to ${max}`);
    }
    return value;
  }

  /** Reads an integer from 0 to 2^64-1. */
  bits64(): bigint {
    const head = this.#at < this.#end ? this.#bytes[this.#at] : undefined;
    if (head !== 0xcf && head !== 0xd3) return BigInt(this.integer());
    if (this.#end - this.#at < 9) throw short();
    const value = this.#bytes.readBigUInt64BE(this.#at + 1);
    if (head === 0xd3 && value > BITS64_MAX >> 1n) throw negative();
    this.#at += 9;
    return value;
  }

  string(): string {
    const head = this.#head();
    let count: number;
    if (head >= 0xa0 && head <= 0xbf) count = head & 0x1f;
    else if (head === 0xd9) count = this.#unsigned(1);
    else if (head === 0xda) count = this.#unsigned(2);
    else if (head === 0xdb) count = this.#unsigned(4);
    else throw other("a string", head);
    const start = this.#at;
    if (count > this.#end - start) throw short();
    this.#at += count;
    const text = this.#bytes.utf8Slice(start, this.#at);
    // Node puts U+FFFD in the place of bytes that are no UTF-8.
    if (text.includes("\ufffd") && !isUtf8(this.#bytes.subarray(start, this.#at))) {
      throw new ProtocolError("a string is not UTF-8");
    }
    return text;
  }

  /** Reads an array, each item with `read`. */
  list<T>(read: (reader: this) => T): T[] {
    const items: T[] = [];
    for (let count = this.array(); count > 0; count--) items.push(read(this));
    return items;
  }

  /** Reads an array of strings. */
  strings(): string[] {
    const items: string[] = [];
    for (let count = this.array(); count > 0; count--) items.push(this.string());
    return items;
  }

  /** Passes over so many values of any kind, such as fields that this client does not know. */
  skip(count: number, depth = 0): void {
    for (; count > 0; count--) {
      const head = this.#at < this.#end ? this.#bytes[this.#at]! : 0;
      if ((head >= 0x90 && head <= 0x9f) || head === 0xdc || head === 0xdd) {
        if (depth === NESTING) throw new ProtocolError("arrays nest too deep");
        this.skip(this.array(), depth + 1);
      } else if (this.isString()) this.string();
      else if (head === 0xc0) this.#at++;
      else if (head === 0xc2 || head === 0xc3) this.bool();
      else this.#skipInteger();
    }
  }

  /** Passes over an integer of any size and sign. */
  #skipInteger(): void {
    const head = this.#head();
    if (head < 0x80 || head >= 0xe0) return;
    const isInteger = (head >= 0xcc && head <= 0xcf) || (head >= 0xd0 && head <= 0xd3);
    if (!isInteger) throw other("nil, a boolean, an integer, a string or an array", head);
    const width = 1 << (head & 3);
    if (width > this.#end - this.#at) throw short();
    this.#at += width;
  }

  #head(): number {
    if (this.#at >= this.#end) throw short();
    return this.#bytes[this.#at++]!;
  }

  #unsigned(width: 1 | 2 | 4): number {
    let at = this.#at;
    if (width > this.#end - at) throw short();
    this.#at += width;
    const bytes = this.#bytes;
    let value = bytes[at]!;
    for (let i = 1; i < width; i++) value = value * 256 + bytes[++at]!;
    return value;
  }

  #signed(width: 1 | 2 | 4): number {
    const value = this.#unsigned(width);
    if (value >= 2 ** (8 * width - 1)) throw negative();
    return value;
  }
}

// `String.prototype.isWellFormed` of ES2024, which the types of ES2022 do not have.
function isWellFormed(text: string): boolean {
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed();
}

function wrong(name: string, expected: string, value: unknown): ArgumentError {
  const given = value === null ? "null" : typeof value === "number" ? value : typeof value;
  return new ArgumentError(`${name}: must be ${expected}, not ${given}`);
}

function other(expected: string, head: number): ProtocolError {
  return new ProtocolError(`a value is not ${expected}: its first byte is 0x${head.toString(16)}`);
}

function negative(): ProtocolError {
  return new ProtocolError("an integer is below 0");
}

function short(): ProtocolError {
  return new ProtocolError("a value ends too early");
}
