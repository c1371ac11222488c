// One call with its deadline and its repeats.
//
// Invariants:
// - A call ends exactly once, and within its deadline.
// - A request is sent again only if it reads, has an idempotency key, was never sent, or got 421.
// - If one attempt may have been applied, no later error says "not applied".

import { AsyncResource } from "node:async_hooks";
import type { Buffer } from "node:buffer";

import type { CallOptions } from "./command.js";
import type { Connection, Request } from "./connection.js";
import {
  AbortedError,
  ChatshardError,
  ClosedError,
  ConnectionError,
  DeadlineError,
  type Outcome,
  OverloadError,
  ProtocolError,
  ServerError,
} from "./errors.js";
import { TooLargeError } from "./generated-errors.js";
import type { Reader } from "./msgpack.js";
import { type Attempt, runHook, type Settings } from "./options.js";
import type { Pool } from "./pool.js";
import { readError } from "./replies.js";
import { offAbort, onAbort } from "./signals.js";
import { Pauses } from "./timing.js";

/** What a call needs of its client. */
export interface Dispatcher {
  readonly settings: Settings;
  /** The pool of the node that should reply; `undefined` if there is none yet. */
  readonly pool: Pool | undefined;
  /** Connects to a node. */
  connected(): Promise<Pool>;
  /** Counts a call that waits. False if there are too many. */
  enterWaiting(): boolean;
  leaveWaiting(): void;
  /** The node is not the active. Returns whether another one can be tried, and is named. */
  moved(pool: Pool, active: string): { isOther: boolean; isNamed: boolean };
  /** The node cannot serve now. */
  failed(pool: Pool): void;
  over(call: Call): void;
}

/** What is sent, and how to read its reply. */
export interface Plan {
  readonly name: string;
  readonly isRead: boolean;
  /** Whether sending it twice does no harm. */
  readonly mayRepeat: boolean;
  /** The id that decides its shard. */
  readonly key: string | undefined;
  readonly body: Buffer;
  read(r: Reader): unknown;
}

/** How long before its deadline a call makes its last attempt, in milliseconds. */
const LAST = 50;

/** An attempt waits for a connection, or for a place on it, or is in flight; or there is none. */
type State = "connecting" | "placed" | "flying" | "idle";

/** A call under way. */
export class Call implements Request {
  readonly body: Buffer;
  isOver = false;

  readonly #plan: Plan;
  readonly #client: Dispatcher;
  readonly #resolve: (value: any) => void;
  readonly #reject: (error: ChatshardError) => void;
  readonly #deadline: number;
  readonly #timer: NodeJS.Timeout;
  readonly #signal: AbortSignal | undefined;
  readonly #context: AsyncResource | undefined;
  #pause: NodeJS.Timeout | undefined;
  #pauses: Pauses | undefined;
  #state: State = "idle";
  #isCounted = false;
  #connection: Connection | undefined;
  #pool: Pool | undefined;
  #id = 0;
  #attempt = 0;
  #moves = 0;
  #began = 0;
  #unknown: ChatshardError | undefined;
  #last: ChatshardError | undefined;

  constructor(
    client: Dispatcher,
    plan: Plan,
    timeoutMs: number,
    options: CallOptions | undefined,
    resolve: (value: any) => void,
    reject: (error: ChatshardError) => void,
  ) {
    this.#client = client;
    this.#plan = plan;
    this.body = plan.body;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#deadline = performance.now() + timeoutMs;
    this.#timer = setTimeout(expireSoon, timeoutMs, this);
    if (client.settings.hooks.onAttempt) this.#context = new AsyncResource("chatshard.call");
    this.#signal = options?.signal;
    onAbort(this.#signal, this.#abort);
  }

  /** Makes the next attempt. */
  attempt(): void {
    if (this.isOver) return;
    this.#attempt++;
    this.#began = performance.now();
    this.#submit();
  }

  /** The time of the call is over. */
  expire(): void {
    if (this.isOver) return;
    // Between two attempts, the error of the last one says more.
    if (this.#state === "idle" && this.#last) return this.#fail(this.#last);
    const outcome = this.#outcomeNow();
    const said = `${this.#plan.name}: no reply within the time of the call`;
    const message = this.#last ? `${said}; before: ${this.#last.message}` : said;
    this.#giveUp(new DeadlineError(message, outcome, this.#last));
  }

  /** The client is closed, and waits no longer. */
  close(): void {
    if (!this.isOver) this.#giveUp(new ClosedError(this.#outcomeNow()));
  }

  sent(id: number): void {
    this.#leaveWaiting();
    this.#state = "flying";
    this.#id = id;
  }

  replied(status: number, r: Reader): boolean {
    if (status === 200) {
      const value = this.#plan.read(r);
      this.#finish();
      this.#tell("ok", 200);
      this.#resolve(value);
      return false;
    }
    const error = readError(status, r, this.#plan.isRead);
    error.message = `${this.#plan.name}: ${error.message}`;
    this.#refused(error as ServerError);
    return false;
  }

  lost(error: ChatshardError, wasSent: boolean): void {
    if (this.isOver) return;
    this.#state = "idle";
    // Nothing left this machine, so another connection takes the call, whatever it is.
    if (!wasSent) return this.#failed(error, true);
    const outcome = this.#plan.isRead ? "notApplied" : "unknown";
    const message = `${this.#plan.name}: no reply: ${error.message}`;
    if (error instanceof ProtocolError) {
      return this.#failed(new ProtocolError(message, outcome, error), this.#plan.mayRepeat);
    }
    this.#failed(new ConnectionError(message, outcome, error), this.#plan.mayRepeat);
  }

  #submit(): void {
    if (this.isOver) return;
    const pool = this.#client.pool;
    const connection = pool?.pick(this.#plan.key);
    if (pool === undefined || connection === undefined) return this.#connect();
    const most = connection.requestMax;
    if (this.body.length + 16 > most) return this.#fail(this.#tooLarge(most));
    this.#pool = pool;
    this.#connection = connection;
    if (!connection.hasPlace) {
      if (!this.#enterWaiting()) return;
      this.#state = "placed";
    }
    connection.submit(this);
  }

  #connect(): void {
    if (!this.#enterWaiting()) return;
    this.#state = "connecting";
    this.#connection = undefined;
    this.#pool = undefined;
    this.#client.connected().then(
      () => this.#submit(),
      (error: ChatshardError) => {
        if (this.isOver) return;
        this.#state = "idle";
        this.#failed(error, this.#plan.mayRepeat);
      },
    );
  }

  /** The server replied with an error. */
  #refused(error: ServerError): void {
    const pool = this.#pool!;
    if (error.status === 421) {
      const { isOther, isNamed } = this.#client.moved(pool, error.active);
      // Nothing was applied, so the call goes on, whatever it is.
      return this.#failed(error, isOther, isNamed && this.#moves++ === 0);
    }
    const isTrouble = error.status === 429 || error.status === 503;
    if (error.status === 503) this.#client.failed(pool);
    this.#failed(error, isTrouble && this.#plan.mayRepeat);
  }

  /** An attempt has failed. */
  #failed(error: ChatshardError, mayRepeat: boolean, isAtOnce = false): void {
    this.#state = "idle";
    this.#tell(error.outcome, error.status, error);
    if (this.isOver) return;
    if (error.outcome === "unknown") this.#unknown ??= error;
    this.#last = error;
    if (!mayRepeat || error.outcome === "refused") return this.#fail(error);
    if (isAtOnce) return this.attempt();
    // The last attempt has some time for its reply: a request in flight at the end is unknown.
    const left = this.#deadline - performance.now() - LAST;
    if (left < LAST) return this.#fail(error);
    if (!this.#enterWaiting()) return;
    const pause = Math.min((this.#pauses ??= new Pauses()).next(), left);
    this.#pause = setTimeout(() => this.attempt(), pause);
  }

  /** Ends with an error of an attempt. If an earlier attempt is unknown, that one counts. */
  #fail(error: ChatshardError): void {
    if (this.isOver) return;
    this.#finish();
    this.#reject(error.outcome === "notApplied" && this.#unknown ? this.#unknown : error);
  }

  /** Ends although a reply may still come. */
  #giveUp(error: ChatshardError): void {
    if (this.isOver) return;
    const { outcome, status } = error;
    const state = this.#state;
    this.#finish();
    if (state === "flying") this.#connection!.abandon(this.#id);
    if (state === "placed") this.#connection!.abandon(0);
    if (state !== "idle") this.#tell(outcome, status, error);
    this.#reject(error);
  }

  #finish(): void {
    this.isOver = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#pause);
    offAbort(this.#signal, this.#abort);
    this.#leaveWaiting();
    this.#client.over(this);
  }

  /** What is known of the request if nothing more comes. */
  #outcomeNow(): Outcome {
    const isOpen = this.#state === "flying" && !this.#plan.isRead;
    return isOpen || this.#unknown ? "unknown" : "notApplied";
  }

  readonly #abort = (): void => {
    const message = `${this.#plan.name}: the caller aborted it`;
    this.#giveUp(new AbortedError(message, this.#outcomeNow(), this.#signal?.reason));
  };

  #enterWaiting(): boolean {
    if (this.#isCounted) return true;
    this.#isCounted = this.#client.enterWaiting();
    if (!this.#isCounted) this.#fail(new OverloadError(this.#unknown ? "unknown" : "notApplied"));
    return this.#isCounted;
  }

  #leaveWaiting(): void {
    if (this.#isCounted) this.#client.leaveWaiting();
    this.#isCounted = false;
  }

  #tooLarge(most: number): ChatshardError {
    const message = `${this.#plan.name}: ${this.body.length} bytes are over the server's ${most}`;
    return new TooLargeError(message, { outcome: "refused", code: "too_large" });
  }

  #tell(outcome: Attempt["outcome"], status: number, error?: Error): void {
    if (this.#context === undefined) return;
    const attempt: Attempt = {
      command: this.#plan.name,
      attempt: this.#attempt,
      durationMs: performance.now() - this.#began,
      outcome,
      status,
      address: this.#connection?.address.text ?? "",
      ...(error && { error }),
    };
    const { hooks } = this.#client.settings;
    this.#context.runInAsyncScope(() => runHook(() => hooks.onAttempt?.(attempt)));
  }
}

/** A reply that has arrived counts, even if this process was too busy to take it in time. */
function expireSoon(call: Call): void {
  setImmediate(() => call.expire());
}
