// The stream of changes, which continues over lost connections and failovers.
//
// Invariants:
// - An event comes only behind all earlier ones, so continuing at `offset` misses none.
// - At most `HELD_MAX` events, and those of one read of the socket, wait for the caller.

import { Connection, encode, type Request } from "./connection.js";
import { AbortedError, ChatshardError, ClosedError, ServerError } from "./errors.js";
import { commands, WATCH_OPS, type WatchReply } from "./generated.js";
import { Nodes } from "./nodes.js";
import type { Address, Settings } from "./options.js";
import { readError } from "./replies.js";
import { offAbort, onAbort } from "./signals.js";
import { Pauses } from "./timing.js";

/** Events that wait for the caller before the client stops to read. */
const HELD_MAX = 256;

/** Options of a watch. */
export interface WatchOptions {
  /** The `offset` of the last event that was handled; else from now on. */
  from?: string | null;
  /** Ends the watch with an `AbortedError`. */
  signal?: AbortSignal;
}

/** What a watch needs of its client. */
export interface WatchOwner {
  /** The node to try first. */
  first(): Address | undefined;
  opened(watch: Watch): void;
  over(watch: Watch): void;
}

/** A change of the node, or a heartbeat. */
export type WatchEvent = WatchReply;

/**
 * The changes of a node, in order. It connects with the first `next` or `ready`. Heartbeats come
 * too, because their `offset` counts as well. Events of kinds that this client does not know are
 * passed over.
 */
export class Watch implements AsyncIterableIterator<WatchEvent>, AsyncDisposable {
  readonly #settings: Settings;
  readonly #nodes: Nodes;
  readonly #owner: WatchOwner;
  readonly #signal: AbortSignal | undefined;
  readonly #pauses = new Pauses();
  readonly #held: WatchReply[] = [];
  readonly #skipped = new Set<WatchReply>();
  #from: string | undefined;
  #offset: string | undefined;
  #connection: Connection | undefined;
  #error: ChatshardError | undefined;
  #over: { error?: ChatshardError } | undefined;
  #wake: (() => void) | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(settings: Settings, options: WatchOptions, owner: WatchOwner) {
    this.#settings = settings;
    this.#nodes = new Nodes(settings);
    this.#owner = owner;
    this.#from = options.from ?? undefined;
    this.#offset = this.#from;
    this.#signal = options.signal;
    owner.opened(this);
    if (this.#signal?.aborted) this.#abort();
    else onAbort(this.#signal, this.#abort);
  }

  /** The offset of the last event that `next` returned. Store it when the event is handled. */
  get offset(): string | undefined {
    return this.#offset;
  }

  /** Waits until the stream has begun: no change from then on is missing. */
  async ready(): Promise<void> {
    await this.#inTurn(() => this.#fill());
    this.#throwOnce();
  }

  /** The next event. Waits until there is one. */
  async next(): Promise<IteratorResult<WatchEvent, undefined>> {
    const event = await this.#inTurn(() => this.#take());
    return event === undefined ? { done: true, value: undefined } : { done: false, value: event };
  }

  /** Ends the stream: `for await` calls it when the loop is left. */
  async return(): Promise<IteratorResult<WatchEvent, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  /** Ends the stream without an error. */
  close(): void {
    this.#finish({});
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** Runs one step after the other, also if a caller does not wait between two. */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(step);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #take(): Promise<WatchEvent | undefined> {
    for (;;) {
      await this.#fill();
      const event = this.#over === undefined ? this.#held.shift() : undefined;
      if (event === undefined) {
        this.#throwOnce();
        return undefined;
      }
      if (this.#held.length === 0) this.#connection?.hold(false);
      this.#offset = event.offset;
      if (!this.#skipped.delete(event)) return event;
    }
  }

  /** Throws the error of the end. Afterwards the stream is over without one. */
  #throwOnce(): void {
    const error = this.#over?.error;
    if (error === undefined) return;
    this.#over = {};
    throw error;
  }

  /** Waits until an event is there, or the stream is over. */
  async #fill(): Promise<void> {
    while (this.#held.length === 0 && this.#over === undefined) {
      if (this.#connection !== undefined) await this.#sleep();
      else {
        if (this.#error !== undefined) await this.#sleep(this.#pauses.next());
        if (this.#over === undefined) await this.#open();
      }
    }
  }

  /** Waits until something happens, or until the time is over. */
  #sleep(ms?: number): Promise<void> {
    return new Promise<void>((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }

  /** Begins the stream at the first node that accepts `hello`. */
  async #open(): Promise<void> {
    const current = this.#error === undefined ? this.#owner.first() : undefined;
    const order = this.#nodes.order();
    const others = order.filter((address) => address.text !== current?.text);
    for (const address of current === undefined ? order : [current, ...others]) {
      const { connection, opened } = Connection.open(address, this.#settings);
      this.#connection = connection;
      connection.isWatch = true;
      connection.onEnd = (error) => this.#lost(connection, error);
      try {
        await opened;
        connection.submit(this.#request(connection));
        return;
      } catch (error) {
        if (this.#over !== undefined) return;
        this.#connection = undefined;
        this.#error = error as ChatshardError;
        if (this.#error.outcome === "refused") return this.#finish({ error: this.#error });
      }
    }
  }

  #request(connection: Connection): Request {
    const from = this.#from;
    return {
      body: encode(commands.watch.code, (w) => commands.watch.write(w, { from })),
      isOver: false,
      sent: () => undefined,
      replied: (status, r) => {
        if (status === 200) {
          this.#put(connection, commands.watch.read(r));
          return true;
        }
        const error = readError(status, r, true);
        error.message = `watch: ${error.message}`;
        this.#refused(connection, error as ServerError);
        return false;
      },
      lost: () => undefined,
    };
  }

  #put(connection: Connection, event: WatchReply): void {
    if (this.#over !== undefined || this.#connection !== connection) return;
    this.#pauses.reset();
    this.#error = undefined;
    this.#from = event.offset;
    if (!WATCH_OPS.has(event.op)) this.#skipped.add(event);
    this.#held.push(event);
    if (this.#held.length >= HELD_MAX) connection.hold(true);
    this.#wake?.();
  }

  /** The server ended the stream with an error. Unless it refuses, the stream continues. */
  #refused(connection: Connection, error: ServerError): void {
    if (error.outcome === "refused") return this.#finish({ error });
    if (error.status === 421) this.#nodes.name(error.active);
    connection.end(error);
  }

  #lost(connection: Connection, error: ChatshardError): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#error = error;
    this.#nodes.advance();
    this.#wake?.();
  }

  readonly #abort = (): void => {
    this.#finish({
      error: new AbortedError("watch: the caller aborted it", "notApplied", this.#signal?.reason),
    });
  };

  #finish(over: { error?: ChatshardError }): void {
    if (this.#over !== undefined) return;
    this.#over = over;
    offAbort(this.#signal, this.#abort);
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.end(new ClosedError());
    this.#owner.over(this);
    this.#wake?.();
  }
}
