// A client of the HTTP door for end users' apps, in browsers and wherever there is `fetch`.
//
// Each method calls one route, for the caller's own rows. Names and rules are those of the other
// client: a read, and a write with a key, is repeated until the time of the call is over.

import {
  AbortedError,
  ArgumentError,
  ChatshardError,
  ConnectionError,
  DeadlineError,
  type Outcome,
  ProtocolError,
} from "./errors.js";
import type {
  Chat,
  ClearArguments,
  ClearReply,
  ConversationsArguments,
  ConversationsReply,
  DeleteArguments,
  DetailArguments,
  ListArguments,
  MarkReadArguments,
  MarkReadReply,
  Row,
  SetFlagsArguments,
  SyncArguments,
  SyncReply,
  UnreadItem,
} from "./generated-types.js";
import { NAMES } from "./generated-errors.js";
import { serverError } from "./replies.js";
import { offAbort, onAbort } from "./signals.js";
import { Pauses } from "./timing.js";

export * from "./errors.js";
export * from "./generated-errors.js";
export type {
  Chat,
  ChatStatus,
  ChatType,
  ClearReply,
  Conversation,
  ConversationsReply,
  Flag,
  MarkReadReply,
  Since,
  SyncItem,
  SyncReply,
} from "./generated-types.js";

/** A row of the caller's list. JSON has the chat's id twice. */
export interface AppRow extends Row {
  /** The chat. */
  id: string;
}

/** A page of the caller's list. */
export interface AppListReply {
  items: AppRow[];
  /** The cursor of the next page; null on the last. It is absent if no page was asked for. */
  nextCursor?: string | null;
}

/** The row after `setFlags`, and its version. */
export interface AppSetFlagsReply {
  row: AppRow;
  version: number;
}

/** The caller's unread counts. */
export type AppUnreadReply = Omit<UnreadItem, "userId">;

/** The arguments of a command without the user, who is the caller. */
export type Own<A> = Omit<A, "userId">;

/** Options of a client of the HTTP door. */
export interface AppOptions {
  /** Where the door is, such as `https://chat.example`; in a browser it may be a path. */
  url: string;
  /** A JWT, or what returns one; it is asked before each attempt. If it throws, the call ends. */
  token?: string | (() => string | Promise<string>);
  /** The user, for a door that trusts `X-User-Id`. A gateway sets it in production. */
  userId?: string;
  /** Further headers. */
  headers?: Record<string, string>;
  /** Milliseconds for a call with all its repeats. Default 10 000. */
  timeoutMs?: number;
  /** Whether each write without an idempotency key gets a random one. Default true. */
  keys?: boolean;
  /** What to use in the place of the global `fetch`. */
  fetch?: typeof fetch;
}

/** Options of one call. */
export interface AppCallOptions {
  /** Milliseconds for the call with all its repeats. */
  timeoutMs?: number;
  /** Ends the call with an `AbortedError`. */
  signal?: AbortSignal;
}

type Body = Record<string, unknown>;

const NOT_IN_HEADERS = /[^\t\x20-\x7e\x80-\xff]/;

/** The errors that no repeat mends. */
const LASTING = new Set(["protocol", "token"]);
/** How long before its deadline a call makes its last attempt, in milliseconds. */
const LAST = 50;

export class AppClient {
  readonly #options: AppOptions;

  /** Throws an {@link ArgumentError} without a `url`. */
  constructor(options: AppOptions) {
    if (typeof options.url !== "string") throw new ArgumentError("url: must be a string");
    this.#options = { ...options, url: options.url.replace(/\/+$/, "") };
  }

  /** `/chat/mine-list`: the caller's rows; without `limit` all of them. */
  list(a: Own<ListArguments> = {}, options?: AppCallOptions): Promise<AppListReply> {
    return this.#call("mine-list", a, options) as Promise<AppListReply>;
  }

  /** `/chat/detail`: chats by id, in the order asked, each once. */
  async detail(a: Own<DetailArguments>, options?: AppCallOptions): Promise<{ items: Chat[] }> {
    return this.#call("detail", a, options) as Promise<{ items: Chat[] }>;
  }

  /** `/chat/delete`: removes chats from the caller's list until their next message. */
  async delete(a: Own<DeleteArguments>, options?: AppCallOptions): Promise<void> {
    await this.#call("delete", a, options, true);
  }

  /** `/chat/conversations`: a page of rows with their chats and unread counts. */
  conversations(
    a: Own<ConversationsArguments> = {},
    options?: AppCallOptions,
  ): Promise<ConversationsReply> {
    return this.#call("conversations", a, options) as Promise<ConversationsReply>;
  }

  /** `/chat/sync`: what changed in the caller's list since the last time. */
  sync(a: Own<SyncArguments> = {}, options?: AppCallOptions): Promise<SyncReply> {
    return this.#call("sync", a, options) as Promise<SyncReply>;
  }

  /** `/chat/unread`: the caller's unread counts. */
  unread(options?: AppCallOptions): Promise<AppUnreadReply> {
    return this.#call("unread", {}, options) as Promise<AppUnreadReply>;
  }

  /** `/chat/read`: raises a read position. */
  markRead(a: Own<MarkReadArguments>, options?: AppCallOptions): Promise<MarkReadReply> {
    return this.#call("read", a, options, true) as Promise<MarkReadReply>;
  }

  /** `/chat/flags`: sets flags of a row. */
  setFlags(a: Own<SetFlagsArguments>, options?: AppCallOptions): Promise<AppSetFlagsReply> {
    return this.#call("flags", a, options, true) as Promise<AppSetFlagsReply>;
  }

  /** `/chat/clear`: hides the history of a chat from the caller. */
  clear(a: Own<ClearArguments>, options?: AppCallOptions): Promise<ClearReply> {
    return this.#call("clear", a, options, true) as Promise<ClearReply>;
  }

  async #call(
    route: string,
    a: object,
    options: AppCallOptions = {},
    isWrite = false,
  ): Promise<unknown> {
    const { idempotencyKey, ...rest } = a as Body;
    const isKeyed = isWrite && (this.#options.keys ?? true);
    const key = (idempotencyKey as string | undefined) ?? (isKeyed ? randomKey() : undefined);
    const body = JSON.stringify(withKeys(rest, snake));
    const url = `${this.#options.url}/chat/${route}`;
    if (this.#options.fetch === undefined) checkUrl(url);
    const mayRepeat = !isWrite || key !== undefined;
    const end = Date.now() + (options.timeoutMs ?? this.#options.timeoutMs ?? 10_000);
    const pauses = new Pauses();
    let unknown: ChatshardError | undefined;
    for (;;) {
      try {
        return await this.#attempt(route, url, body, key, isWrite, end, options.signal);
      } catch (thrown) {
        const error = thrown as ChatshardError;
        if (error.outcome === "unknown") unknown ??= error;
        const left = end - Date.now() - LAST;
        const isFinal = error.outcome === "refused" || LASTING.has(error.code);
        if (!mayRepeat || isFinal || options.signal?.aborted || left < LAST) {
          throw error.outcome === "notApplied" && unknown !== undefined ? unknown : error;
        }
        await pause(Math.min(pauses.next(), left), options.signal);
      }
    }
  }

  async #attempt(
    route: string,
    url: string,
    body: string,
    key: string | undefined,
    isWrite: boolean,
    end: number,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    let outcome: Outcome = "notApplied";
    if (signal?.aborted) throw new AbortedError(`${route}: aborted`, "notApplied", signal.reason);
    const own = new AbortController();
    const abort = () => own.abort(signal?.reason);
    onAbort(signal, abort);
    const timer = setTimeout(() => own.abort(), Math.max(0, end - Date.now()));
    const call = this.#options.fetch ?? fetch;
    try {
      const headers = this.#headers(key, await this.#token(route, own.signal));
      if (isWrite) outcome = "unknown";
      const reply = await call(url, { method: "POST", headers, body, signal: own.signal });
      return data(route, reply.status, await reply.text(), !isWrite);
    } catch (error) {
      if (error instanceof ChatshardError) throw error;
      const aborted = `${route}: the caller aborted it`;
      if (signal?.aborted) throw new AbortedError(aborted, outcome, signal.reason);
      const late = `${route}: no answer within the time of the call`;
      if (own.signal.aborted) throw new DeadlineError(late, outcome, error);
      throw new ConnectionError(`${route}: no answer: ${why(error)}`, outcome, error);
    } finally {
      clearTimeout(timer);
      offAbort(signal, abort);
    }
  }

  /** The token of the options, unless the signal ends the wait for it. */
  async #token(route: string, signal: AbortSignal): Promise<string | undefined> {
    const { token } = this.#options;
    if (typeof token !== "function") return token;
    const asked = Promise.resolve()
      .then(token)
      .catch((error: unknown) => {
        const details = { outcome: "notApplied", code: "token", cause: error } as const;
        throw new ChatshardError(`${route}: no token: ${why(error)}`, details);
      });
    let stop = (): void => undefined;
    const stopped = new Promise<never>((_, reject) => {
      stop = () => reject(new Error("the wait for the token ended"));
      signal.addEventListener("abort", stop);
    });
    try {
      return await Promise.race([asked, stopped]);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  #headers(key: string | undefined, jwt: string | undefined): Record<string, string> {
    const { headers, userId } = this.#options;
    const all: Record<string, string> = {
      "Content-Type": "application/json",
      ...headers,
      ...(jwt !== undefined && { Authorization: `Bearer ${jwt}` }),
      ...(userId !== undefined && { "X-User-Id": bytesOf(userId) }),
      ...(key !== undefined && { "Idempotency-Key": bytesOf(key) }),
    };
    for (const [name, value] of Object.entries(all)) {
      if (NOT_IN_HEADERS.test(value)) {
        throw new ArgumentError(`the value of ${name} has a character that no header can have`);
      }
    }
    return all;
  }
}

/** Fails at once for what `fetch` would reject each time. */
function checkUrl(url: string): void {
  const advice = "write http://HOST:PORT or https://HOST, or in a browser a path";
  const page = (globalThis as { location?: { href?: string } }).location?.href;
  if (!canParse(url, page) || (canParse(url) && !/^https?:/i.test(url))) {
    throw new ArgumentError(`url: "${url}" is no URL of an HTTP door: ${advice}`);
  }
}

function canParse(url: string, base?: string): boolean {
  try {
    return new URL(url, base) !== undefined;
  } catch {
    return false;
  }
}

/** The `data` of an envelope, or the error that it tells. */
function data(route: string, status: number, text: string, isRead: boolean): unknown {
  let envelope: { code?: unknown; data?: unknown; msg?: unknown } | undefined;
  try {
    envelope = JSON.parse(text) as typeof envelope;
  } catch {
    // A gateway may answer with a page.
  }
  if (status === 200 && envelope?.code === 200) return withKeys(envelope.data, camel);
  const message = typeof envelope?.msg === "string" ? envelope.msg : without(status, text);
  if (status === 200) {
    const outcome = isRead ? "notApplied" : "unknown";
    throw new ProtocolError(`${route}: the answer is not from chatshard`, outcome);
  }
  const error = serverError(status, NAMES[status] ?? "http", message, isRead);
  error.message = `${route}: ${message}`;
  throw error;
}

/** What an answer without an envelope says: its text, unless that is a page. */
function without(status: number, text: string): string {
  const isPlain = text.length > 0 && text.length < 500 && !/^\s*[<{[]/.test(text);
  return `HTTP status ${status}${isPlain ? `: ${text.trim()}` : ""}`;
}

function why(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { message?: string } };
  return cause?.message ?? message ?? String(error);
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** The value with other names of its fields. */
function withKeys(value: unknown, rename: (name: string) => string): unknown {
  if (Array.isArray(value)) return value.map((one) => withKeys(one, rename));
  if (value === null || typeof value !== "object") return value;
  const pairs = Object.entries(value).map(([name, of]) => [rename(name), withKeys(of, rename)]);
  return Object.fromEntries(pairs);
}

/** A header takes bytes; its text must have one character for each byte of UTF-8. */
function bytesOf(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
}

// `crypto.randomUUID` is missing in pages without TLS.
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Waits, or ends with the signal; the next attempt then tells it. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      offAbort(signal, done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    onAbort(signal, done);
  });
}
