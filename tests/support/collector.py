"""A collector of traces: an HTTP server that decodes what OpenTelemetry's exporter sends."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class SeenSpan:
    """One span as received; ids are hexadecimal, times are in nanoseconds."""

    name: str
    trace: str
    id: str
    parent: str
    begins: int
    ends: int
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    events: tuple[str, ...]
    failed: bool


@dataclass
class Collector:
    """The spans received, and the request bodies that contained them. `status` is the
    response's."""

    url: str = ""
    status: int = 200
    spans: list[SeenSpan] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        """`POST /v1/traces`."""
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.headers.append(dict(request.headers))
        if self.status != 200:
            self._arrived.set()
            return web.Response(status=self.status)
        self.bodies.append(body)
        message = ExportTraceServiceRequest.FromString(body)
        for each in message.resource_spans:
            self.resources.append(_attributes(each.resource.attributes))
            self.spans += [_seen(span) for scope in each.scope_spans for span in scope.spans]
        self._arrived.set()
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    def named(self, name: str, trace: str | None = None) -> list[SeenSpan]:
        """The spans whose name begins with `name`."""
        found = [span for span in self.spans if span.name.startswith(name)]
        return [span for span in found if trace in (None, span.trace)]

    async def wait_for(self, name: str, count: int = 1) -> list[SeenSpan]:
        """Wait until `count` spans have arrived whose name begins with `name`."""
        async with asyncio.timeout(60):
            while len(found := self.named(name)) < count:
                await self.wait_for_request()
        return found

    async def wait_for_request(self) -> None:
        """Wait for the next request."""
        self._arrived.clear()
        async with asyncio.timeout(60):
            await self._arrived.wait()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a free port of this machine."""
    collector, app = Collector(), web.Application(client_max_size=2**26)
    app.router.add_post("/v1/traces", collector.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


def _seen(span: Any) -> SeenSpan:
    return SeenSpan(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        begins=span.start_time_unix_nano,
        ends=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        events=tuple(event.name for event in span.events),
        failed=span.status.code == 2,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)
