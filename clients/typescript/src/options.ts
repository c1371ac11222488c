// The options of a client, and the addresses of servers.

import { isIP } from "node:net";

import { ArgumentError, type Outcome } from "./errors.js";

/** How the client trusts the server of a TLS connection. */
export interface TlsOptions {
  /** The authorities to trust, in PEM; else those of Node. */
  ca?: string | Buffer | (string | Buffer)[];
  /** The name that the certificate must have; else the host of the address. */
  serverName?: string;
}

/** What a hook gets after each attempt of a call. */
export interface Attempt {
  /** The name of the command's method, such as `markRead`. */
  command: string;
  /** The number of the attempt; the first one is 1. */
  attempt: number;
  /** How long it took, with its wait for a place in flight. */
  durationMs: number;
  /** What is known of the request. */
  outcome: "ok" | Outcome;
  /** The status of the reply; 0 without a reply. */
  status: number;
  /** The server's address; empty if the attempt found none. */
  address: string;
  /** The error of the attempt, if it failed. */
  error?: Error;
}

/** What to call when something happens. A hook must not wait; what it throws becomes a warning. */
export interface Hooks {
  /** Runs after each attempt of a call, in the caller's async context. */
  onAttempt?(attempt: Attempt): void;
  /** Runs when a connection is open. */
  onConnect?(connection: { address: string; shard: number }): void;
  /** Runs when a connection that was open has ended. */
  onDisconnect?(connection: { address: string; error: Error }): void;
}

/** The options of a client. */
export interface ClientOptions {
  /** `HOST:PORT` or `unix:PATH`; of a journal, all nodes. Default `127.0.0.1:7700`. */
  addresses?: string | readonly string[];
  /** The secret, if the server wants one. */
  token?: string;
  /** Name and version of the program, for the server's log. */
  name?: string;
  /** TLS: `true` trusts the authorities of Node. Default: off. */
  tls?: boolean | TlsOptions;
  /** How old, in ms, the state of a standby may be that replies to reads: 1 to 600 000. */
  staleMs?: number;
  /** Milliseconds for connecting, TLS and `hello` together. Default 5000. */
  connectTimeoutMs?: number;
  /** Milliseconds for a call with all its repeats. Default 10 000. */
  callTimeoutMs?: number;
  /** Connections to one node. Default: as many as the server has shards, at most 16. */
  connections?: number;
  /** Calls that may wait for a place in flight; one more fails as not applied. Default 10 000. */
  waitingCalls?: number;
  /** Whether each write without an idempotency key gets a random one. Default true. */
  keys?: boolean;
  /** What to call after each attempt, and when a connection opens or ends. */
  hooks?: Hooks;
}

/** Where a server listens. */
export interface Address {
  /** The address as it was given. */
  readonly text: string;
  readonly path?: string;
  readonly host?: string;
  readonly port?: number;
}

/** The options with their defaults. */
export interface Settings {
  readonly addresses: readonly Address[];
  readonly token: string | undefined;
  readonly name: string;
  readonly tls: TlsOptions | undefined;
  readonly staleMs: number | undefined;
  readonly connectTimeoutMs: number;
  readonly callTimeoutMs: number;
  readonly connections: number | undefined;
  readonly waitingCalls: number;
  readonly keys: boolean;
  readonly hooks: Hooks;
}

export const VERSION = "0.2.0";
/** The longest time of a timer of Node. */
const TIMER_MAX = 2 ** 31 - 1;

/** Reads `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. */
export function parseAddress(text: string): Address {
  if (typeof text !== "string") {
    throw new ArgumentError(`addresses: must be HOST:PORT or unix:PATH, not ${String(text)}`);
  }
  if (text.startsWith("unix:")) {
    if (text.length === 5) throw new ArgumentError(`addresses: no path in "${text}"`);
    return { text, path: text.slice(5) };
  }
  const at = text.lastIndexOf(":");
  const name = text.slice(0, Math.max(at, 0));
  const host = name.startsWith("[") && name.endsWith("]") ? name.slice(1, -1) : name;
  const digits = text.slice(at + 1);
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
  if (host === "" || port === 0 || port > 65535 || (host.includes(":") && isIP(host) !== 6)) {
    throw new ArgumentError(`addresses: "${text}" is neither HOST:PORT nor unix:PATH`);
  }
  return { text, host, port };
}

/** Checks a time, and bounds it by what a timer can wait. */
export function milliseconds(value: number, name: string): number {
  if (typeof value !== "number" || !(value >= 0)) {
    throw new ArgumentError(`${name}: must be a number of milliseconds, not ${String(value)}`);
  }
  return Math.min(value, TIMER_MAX);
}

function count(value: number, name: string, least: number): number {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new ArgumentError(`${name}: must be an integer from ${least}, not ${String(value)}`);
  }
  return value;
}

/** The options with their defaults. Throws an {@link ArgumentError} for an option that is wrong. */
export function settings(options: ClientOptions): Settings {
  const { addresses = "127.0.0.1:7700", tls = false, connections, staleMs } = options;
  const texts = Array.isArray(addresses) ? (addresses as string[]) : [addresses as string];
  // An error must not show the token.
  if (options.token !== undefined && !/^[\x21-\x7e]*$/.test(options.token)) {
    throw new ArgumentError("token: visible ASCII characters alone, no blank and no line break");
  }
  if (texts.length === 0) throw new ArgumentError("addresses: there is none");
  return {
    addresses: texts.map(parseAddress),
    token: options.token,
    name: options.name ?? `chatshard-typescript/${VERSION}`,
    tls: tls === true ? {} : tls || undefined,
    staleMs: staleMs === undefined ? undefined : count(staleMs, "staleMs", 1),
    connectTimeoutMs: milliseconds(options.connectTimeoutMs ?? 5_000, "connectTimeoutMs"),
    callTimeoutMs: milliseconds(options.callTimeoutMs ?? 10_000, "callTimeoutMs"),
    connections: connections === undefined ? undefined : count(connections, "connections", 1),
    waitingCalls: count(options.waitingCalls ?? 10_000, "waitingCalls", 0),
    keys: options.keys ?? true,
    hooks: options.hooks ?? {},
  };
}

/** Runs a hook. What it throws must not change a call, so it becomes a warning of the process. */
export function runHook(hook: () => void): void {
  try {
    hook();
  } catch (error) {
    process.emitWarning(`a hook of chatshard failed: ${String(error)}`);
  }
}
