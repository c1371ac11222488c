// Errors from the bodies of replies.

import { type ChatshardError, type Outcome, ServerError } from "./errors.js";
import { ERRORS, NOT_APPLIED, OUTCOMES } from "./generated-errors.js";
import type { Reader } from "./msgpack.js";

/** What a status and a message say of the request. An unknown status of 4xx is a refusal. */
export function outcomeOf(status: number, message: string): Outcome {
  const known = OUTCOMES[status] ?? (status >= 400 && status < 500 ? "refused" : "unknown");
  if (known !== "byMessage") return known;
  return message.startsWith(NOT_APPLIED) ? "notApplied" : "unknown";
}

/** The error for a status, as the class that it has. */
export function serverError(
  status: number,
  code: string,
  message: string,
  isRead: boolean,
  active = "",
): ServerError {
  const known = outcomeOf(status, message);
  // A read changes nothing, so nothing of it can be unknown.
  const outcome = known === "unknown" && isRead ? "notApplied" : known;
  const kind = ERRORS[status] ?? ServerError;
  return new kind(message, { outcome, status, code, active });
}

/** Reads the body of a reply that is not 200. */
export function readError(status: number, r: Reader, isRead: boolean): ChatshardError {
  let more = r.array(2);
  const code = r.string();
  const message = r.string();
  let active = "";
  if (status === 421 && more > 0) {
    active = r.string();
    more--;
  }
  r.skip(more);
  return serverError(status, code, message, isRead, active);
}
