"""The hooks for OpenTelemetry, with its SDK."""

from __future__ import annotations

import unittest

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chatshard import AsyncClient, Client, NotFoundError
from chatshard.opentelemetry import OpenTelemetryHooks
from chatshard.testing import Server

from support import AsyncTest


class Telemetry(AsyncTest):
    async def test_attempts_are_spans_of_their_caller(self) -> None:
        spans = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(spans))
        reader = InMemoryMetricReader()
        hooks = OpenTelemetryHooks(tracers, MeterProvider([reader]))
        tracer = tracers.get_tracer("test")
        with Server() as server:
            async with AsyncClient(server.address, hooks=hooks) as client:
                with tracer.start_as_current_span("asyncio caller"):
                    await client.ping()
                    with self.assertRaises(NotFoundError):
                        await client.members("none")
            with Client(server.address, hooks=hooks) as blocking:
                with tracer.start_as_current_span("blocking caller"):
                    blocking.list("u")
        found = {span.name: span for span in spans.get_finished_spans()}
        for name, parent in (
            ("chatshard ping", "asyncio caller"),
            ("chatshard members", "asyncio caller"),
            ("chatshard list", "blocking caller"),
        ):
            context = found[name].parent
            assert context is not None
            self.assertEqual(context.span_id, found[parent].context.span_id, name)
        attributes = found["chatshard members"].attributes or {}
        self.assertEqual(attributes["error.type"], "not_found")
        self.assertEqual(attributes["chatshard.outcome"], "refused")
        data = reader.get_metrics_data()
        assert data is not None
        names = {
            metric.name
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        self.assertEqual(names, {"db.client.operation.duration", "db.client.connection.count"})


if __name__ == "__main__":
    unittest.main()
