// What a command is to the client, and the options of one call.

import type { Reader, Writer } from "./msgpack.js";

/** A command with arguments `A` and reply `R`. */
export interface Command<A, R> {
  /** The name of its method. */
  readonly name: string;
  /** Its number on the wire. */
  readonly code: number;
  /** Whether it changes nothing. */
  readonly isRead: boolean;
  /** Whether it takes an idempotency key. */
  readonly takesKey: boolean;
  /** The id that decides which shard serves it fastest. */
  keyOf(a: A): string | null | undefined;
  /** Writes the arguments. */
  write(w: Writer, a: A, key?: string): void;
  /** Reads the reply. */
  read(r: Reader): R;
}

/** Options of one call. */
export interface CallOptions {
  /** Milliseconds for the call with all its repeats. Default: the option `callTimeoutMs`. */
  timeoutMs?: number;
  /** Ends the call with an `AbortedError`. A request that was sent may be applied all the same. */
  signal?: AbortSignal;
}
