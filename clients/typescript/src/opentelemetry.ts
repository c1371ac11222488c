// Hooks that make a span of each attempt. They need a tracer of `@opentelemetry/api` and import
// nothing of it: its `Tracer` fits the types below.

import type { Attempt, Hooks } from "./options.js";

/** The part of a span of OpenTelemetry that the hooks use. */
export interface SpanLike {
  setStatus(status: { code: number; message?: string }): unknown;
  recordException(error: Error): unknown;
  end(time?: number): unknown;
}

/** The part of a tracer of OpenTelemetry that the hooks use. */
export interface TracerLike {
  startSpan(
    name: string,
    options: { kind: number; startTime: number; attributes: Record<string, string | number> },
  ): SpanLike;
}

/** `SpanKind.CLIENT` and `SpanStatusCode.ERROR` of OpenTelemetry. */
const CLIENT = 2;
const ERROR = 2;

/** Hooks with a span for each attempt, as a child of the caller's span. */
export function tracing(tracer: TracerLike): Hooks {
  return {
    onAttempt(attempt: Attempt): void {
      const end = Date.now();
      const span = tracer.startSpan(`chatshard ${attempt.command}`, {
        kind: CLIENT,
        startTime: end - attempt.durationMs,
        attributes: {
          "db.system.name": "chatshard",
          "db.operation.name": attempt.command,
          "server.address": attempt.address,
          "chatshard.attempt": attempt.attempt,
          "chatshard.outcome": attempt.outcome,
          "chatshard.status": attempt.status,
        },
      });
      if (attempt.error !== undefined) {
        span.recordException(attempt.error);
        span.setStatus({ code: ERROR, message: attempt.error.message });
      }
      span.end(end);
    },
  };
}
