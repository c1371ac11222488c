"""Hooks for OpenTelemetry: a span and a duration for each attempt of a call.

It needs only the API: `pip install chatshard[opentelemetry]`.
"""

from __future__ import annotations

import time
from typing import Dict, Optional, Union

from opentelemetry import metrics, trace

from ._version import VERSION
from .hooks import Attempt, Hooks

__all__ = ["OpenTelemetryHooks"]


class OpenTelemetryHooks(Hooks):
    """Reports attempts and connections. Spans are children of the span of the caller.

    Args:
        tracers: Where tracers come from; absent: the global provider.
        meters: Where meters come from; absent: the global provider.
    """

    def __init__(
        self,
        tracers: Optional[trace.TracerProvider] = None,
        meters: Optional[metrics.MeterProvider] = None,
    ) -> None:
        self._tracer = trace.get_tracer("chatshard", VERSION, tracers)
        meter = metrics.get_meter("chatshard", VERSION, meters)
        self._durations = meter.create_histogram(
            "db.client.operation.duration", "s", "Duration of an attempt of a call"
        )
        self._connections = meter.create_up_down_counter(
            "db.client.connection.count", "{connection}", "Open connections"
        )

    def after_attempt(self, attempt: Attempt) -> None:
        attributes: Dict[str, Union[str, int]] = {
            "db.system.name": "chatshard",
            "db.operation.name": attempt.command,
        }
        if attempt.error is not None:
            attributes["error.type"] = attempt.error.name
        self._durations.record(attempt.seconds, attributes)
        end = time.time_ns()
        span = self._tracer.start_span(
            f"chatshard {attempt.command}",
            kind=trace.SpanKind.CLIENT,
            attributes={**attributes, "chatshard.attempt": attempt.number},
            start_time=end - int(attempt.seconds * 1e9),
        )
        if attempt.error is not None:
            span.set_attribute("db.response.status_code", str(attempt.error.status))
            span.set_attribute("chatshard.outcome", attempt.error.outcome.value)
            span.set_status(trace.Status(trace.StatusCode.ERROR, str(attempt.error)))
        span.end(end)

    def connection_opened(self, address: str, shard: int) -> None:
        self._connections.add(1, {"server.address": address})

    def connection_ended(self, address: str, reason: str) -> None:
        self._connections.add(-1, {"server.address": address})
