// Calls: keys, the pool of the active of several nodes, and the end.
//
// Invariants:
// - At most one pool takes new requests. A pool that was left ends when its requests have replies.
// - No promise is left without a handler, whatever the caller does.

import { randomUUID } from "node:crypto";

import { Call, type Dispatcher, type Plan } from "./call.js";
import type { CallOptions, Command } from "./command.js";
import { encode, SilenceError } from "./connection.js";
import { AbortedError, type ChatshardError, ClosedError } from "./errors.js";
import {
  Commands,
  type Conversation,
  type ConversationsArguments,
  type ExportArguments,
  type ExportReply,
  type ListArguments,
  type Member,
  type MembersArguments,
  type Row,
  type SyncArguments,
  type SyncReply,
} from "./generated.js";
import { Nodes } from "./nodes.js";
import { type ClientOptions, milliseconds, type Settings, settings } from "./options.js";
import * as pages from "./pages.js";
import { Pool } from "./pool.js";
import { Watch, type WatchOptions } from "./watch.js";

/** A client of one server, or of the nodes of a journal. It has a method for each command. */
export class Client extends Commands implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #nodes: Nodes;
  readonly #calls = new Set<Call>();
  readonly #watches = new Set<Watch>();
  readonly #dispatcher: Dispatcher;
  #pool: Pool | undefined;
  #opening: Pool | undefined;
  #connecting: Promise<Pool> | undefined;
  #waiting = 0;
  #state: "open" | "closing" | "closed" = "open";
  #closed: Promise<void> | undefined;
  #onIdle: (() => void) | undefined;

  /** Does not connect yet: the first call does. {@link connect} connects first. */
  constructor(options: ClientOptions = {}) {
    super();
    this.#settings = settings(options);
    this.#nodes = new Nodes(this.#settings);
    this.#dispatcher = this.#dispatch();
  }

  /** Connects to the first node that accepts `hello`. Fails with the error of the last one. */
  async connect(): Promise<void> {
    const pool = this.#pool ?? (await this.#connected());
    await pool.fill();
  }

  /** The address of the node that gets the calls; empty while there is none. */
  get address(): string {
    return this.#pool?.address.text ?? "";
  }

  /**
   * Sends a command, and waits for its reply. Rejects with a `ChatshardError`, whose `outcome` says
   * what is known of the request.
   */
  call<A, R>(command: Command<A, R>, a: A, options?: CallOptions): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      if (this.#state !== "open") throw new ClosedError();
      const signal = options?.signal;
      if (signal?.aborted) {
        const message = `${command.name}: the caller aborted it`;
        throw new AbortedError(message, "notApplied", signal.reason);
      }
      const timeoutMs =
        options?.timeoutMs === undefined
          ? this.#settings.callTimeoutMs
          : milliseconds(options.timeoutMs, "timeoutMs");
      const plan = this.#plan(command, a);
      const call = new Call(this.#dispatcher, plan, timeoutMs, options, resolve, reject);
      this.#calls.add(call);
      call.attempt();
    });
  }

  /**
   * Every change of the node from now on, or behind the offset `from`. It continues over lost
   * connections and failovers. An event may then come twice, and none is missing.
   */
  watch(options: WatchOptions = {}): Watch {
    if (this.#state !== "open") throw new ClosedError();
    const watch = new Watch(this.#settings, options, {
      first: () => this.#pool?.address,
      opened: (watch) => this.#watches.add(watch),
      over: (watch) => this.#watches.delete(watch),
    });
    return watch;
  }

  /** All rows of a user, page by page; `limit` is the size of a page. */
  rows(a: ListArguments, options?: CallOptions): AsyncIterable<Row> {
    return pages.items((at) => this.list({ limit: 1000, ...a, ...at }, options));
  }

  /** All conversations of a user, page by page; `limit` is the size of a page. */
  allConversations(a: ConversationsArguments, options?: CallOptions): AsyncIterable<Conversation> {
    return pages.items((at) => this.conversations({ ...a, ...at }, options));
  }

  /** All members of a chat, page by page; `limit` is the size of a page. */
  allMembers(a: MembersArguments, options?: CallOptions): AsyncIterable<Member> {
    return pages.items((at) => this.members({ ...a, ...at }, options));
  }

  /** All pages of `export`. */
  exportPages(a: ExportArguments = {}, options?: CallOptions): AsyncIterable<ExportReply> {
    return pages.pages((at) => this.export({ ...a, ...at }, options));
  }

  /** All pages of `sync`. Store `log` and `version` of each with its rows. */
  syncPages(a: SyncArguments, options?: CallOptions): AsyncIterable<SyncReply> {
    return pages.changes(a, (next) => this.sync(next, options));
  }

  /**
   * Waits for the calls under way, at most for `callTimeoutMs`, and ends all connections. Watches
   * end at once, without an error. Later calls fail as not applied.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#state = "closing";
    for (const watch of this.#watches) watch.close();
    if (this.#calls.size > 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
        timer = setTimeout(resolve, this.#settings.callTimeoutMs);
      });
      clearTimeout(timer);
    }
    this.#state = "closed";
    for (const call of [...this.#calls]) call.close();
    this.#opening?.close(new ClosedError());
    this.#pool?.close(new ClosedError());
    this.#pool = undefined;
  }

  #plan<A, R>(command: Command<A, R>, given: A): Plan {
    const a = given ?? ({} as A);
    const own = (a as { idempotencyKey?: string | null }).idempotencyKey ?? undefined;
    const key = own ?? (command.takesKey && this.#settings.keys ? randomUUID() : undefined);
    const body = encode(command.code, (w) => command.write(w, a, key));
    return {
      name: command.name,
      isRead: command.isRead,
      mayRepeat: command.isRead || key !== undefined,
      key: command.keyOf(a) ?? undefined,
      body,
      read: command.read,
    };
  }

  #dispatch(): Dispatcher {
    const client = this;
    return {
      settings: this.#settings,
      get pool() {
        return client.#pool;
      },
      connected: () => this.#connected(),
      enterWaiting: () => this.#waiting < this.#settings.waitingCalls && ++this.#waiting > 0,
      leaveWaiting: () => this.#waiting--,
      moved: (pool, active) => this.#moved(pool, active),
      failed: (pool) => {
        if (this.#nodes.areSeveral) this.#leave(pool, true);
      },
      over: (call) => {
        this.#calls.delete(call);
        if (this.#calls.size === 0) this.#onIdle?.();
      },
    };
  }

  #moved(pool: Pool, active: string): { isOther: boolean; isNamed: boolean } {
    // Another call may have found the active already.
    const isFound = this.#pool !== undefined && this.#pool !== pool;
    if (isFound) return { isOther: true, isNamed: true };
    const isNamed = this.#nodes.name(active);
    // A named active that must not know the token can be reached only by another address.
    const isOther = isNamed || this.#nodes.areSeveral || active === "";
    this.#leave(pool, !isNamed);
    return { isOther, isNamed };
  }

  /** New calls go to another node. */
  #leave(pool: Pool, isToAdvance: boolean): void {
    if (this.#pool !== pool) return;
    this.#pool = undefined;
    if (isToAdvance) this.#nodes.advance();
    pool.retire();
  }

  #connected(): Promise<Pool> {
    if (this.#pool !== undefined) return Promise.resolve(this.#pool);
    this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  async #connect(): Promise<Pool> {
    let last: unknown = new ClosedError();
    for (const address of this.#nodes.order()) {
      if (this.#state === "closed") throw new ClosedError();
      const pool = new Pool(address, this.#settings);
      this.#opening = pool;
      const began = performance.now();
      try {
        await pool.open();
        this.#use(pool);
        return pool;
      } catch (error) {
        last = error;
        this.#nodes.advance();
        const isSlow = performance.now() - began >= this.#settings.connectTimeoutMs;
        if (isSlow) this.#nodes.silent(address);
      } finally {
        this.#opening = undefined;
      }
    }
    throw last;
  }

  #use(pool: Pool): void {
    this.#pool = pool;
    pool.onDead = (error: ChatshardError) => {
      if (error instanceof SilenceError) this.#nodes.silent(pool.address);
      this.#leave(pool, true);
    };
    void pool.fill();
  }
}

/** Connects to a server, or to the first of several nodes that accepts `hello`. */
export async function connect(options: ClientOptions = {}): Promise<Client> {
  const client = new Client(options);
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}
