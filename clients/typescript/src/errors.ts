// The errors of calls. Each says what is known of the request.

/**
 * What is known of a request that failed.
 *
 * - `refused`: nothing was applied, and the same request fails again.
 * - `notApplied`: nothing was applied. The same request may succeed later.
 * - `unknown`: the change may or may not have been applied.
 */
export type Outcome = "refused" | "notApplied" | "unknown";

/** What an error has beside its message. */
export interface ErrorDetails {
  outcome: Outcome;
  /** The status of the reply; 0 without a reply. */
  status?: number;
  /** The name of the error, such as `not_found`. */
  code?: string;
  cause?: unknown;
}

/** Every error of a call. */
export class ChatshardError extends Error {
  /** The name of the class, also in a bundle that shortens the names of classes. */
  override name = "ChatshardError";

  /** What is known of the request. */
  readonly outcome: Outcome;
  /** The status of the reply; 0 without a reply. */
  readonly status: number;
  /** The name of the error: that of the protocol, such as `not_found`, or one of this client. */
  readonly code: string;

  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.outcome = details.outcome;
    this.status = details.status ?? 0;
    this.code = details.code ?? "client";
  }
}

/** A reply with an error. Each status of the protocol has a class of its own. */
export class ServerError extends ChatshardError {
  override name = "ServerError";

  /** With status 421, the address of the active; empty if the server does not know it. */
  readonly active: string;

  constructor(message: string, details: ErrorDetails & { active?: string }) {
    super(message, details);
    this.active = details.active ?? "";
  }
}

/** An argument that cannot be sent, such as a fraction in the place of an integer. */
export class ArgumentError extends ChatshardError {
  override name = "ArgumentError";

  constructor(message: string) {
    super(message, { outcome: "refused", code: "invalid_argument" });
  }
}

/** The connection could not be made, or was lost. */
export class ConnectionError extends ChatshardError {
  override name = "ConnectionError";

  constructor(message: string, outcome: Outcome = "notApplied", cause?: unknown) {
    super(message, { outcome, code: "connection", cause });
  }
}

/** The server sent bytes that are not of the protocol. */
export class ProtocolError extends ChatshardError {
  override name = "ProtocolError";

  constructor(message: string, outcome: Outcome = "notApplied", cause?: unknown) {
    super(message, { outcome, code: "protocol", cause });
  }
}

/** The time of the call was over. The cause is the error of its last attempt, if one failed. */
export class DeadlineError extends ChatshardError {
  override name = "DeadlineError";

  constructor(message: string, outcome: Outcome, cause?: unknown) {
    super(message, { outcome, code: "deadline", cause });
  }
}

/** The caller's `AbortSignal` ended the call. The cause is its reason. */
export class AbortedError extends ChatshardError {
  override name = "AbortedError";

  constructor(message: string, outcome: Outcome, cause?: unknown) {
    super(message, { outcome, code: "aborted", cause });
  }
}

/** The client is closed. */
export class ClosedError extends ChatshardError {
  override name = "ClosedError";

  constructor(outcome: Outcome = "notApplied") {
    super("the client is closed", { outcome, code: "closed" });
  }
}

/** Too many calls wait for a place: see the option `waitingCalls`. */
export class OverloadError extends ChatshardError {
  override name = "OverloadError";

  constructor(outcome: Outcome = "notApplied") {
    super("too many calls wait for a place in flight", { outcome, code: "overload" });
  }
}
