"""Configures OpenTelemetry's SDK from its standard variables.

A failing collector costs only log lines. Spans wait in a queue of OTEL_BSP_MAX_QUEUE_SIZE (2,048)
for a thread that sends them; spans that do not fit are dropped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from bot import __version__

LOG_SECONDS = 60.0
"""Seconds between two log lines with the same complaint of the SDK: while a collector fails, the
SDK would log one for each batch and each dropped span."""

_COMPLAINING = (
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)


class TurnIdGenerator(RandomIdGenerator):
    """Generates random ids, except inside `use`. Only for the event loop's thread."""

    def __init__(self) -> None:
        self._span: int | None = None
        self._trace: int | None = None

    @contextmanager
    def use(self, *, span: int, trace: int | None = None) -> Iterator[None]:
        """Give these ids to the span that is started inside this context."""
        self._span, self._trace = span, trace
        try:
            yield
        finally:
            self._span = self._trace = None

    def generate_span_id(self) -> int:
        """The id of the next span."""
        return super().generate_span_id() if self._span is None else self._span

    def generate_trace_id(self) -> int:
        """The trace id of the next span without a parent."""
        return super().generate_trace_id() if self._trace is None else self._trace


def make_provider(environ: Mapping[str, str]) -> TracerProvider:
    """Build the SDK as the standard variables configure it, with the exporter for OTLP over HTTP.

    May raise ValueError for a malformed variable.
    """
    provider = bare_provider(environ)
    for name in _COMPLAINING:
        logger = logging.getLogger(name)
        if not any(isinstance(each, OncePerMinute) for each in logger.filters):
            logger.addFilter(OncePerMinute())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def bare_provider(environ: Mapping[str, str]) -> TracerProvider:
    """The SDK without an exporter, with sampling and resource from the standard variables."""
    named = "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {SERVICE_VERSION: __version__}
    if not named and not environ.get("OTEL_SERVICE_NAME"):
        own[SERVICE_NAME] = "threadline"
    return TracerProvider(
        resource=Resource.create(own), id_generator=TurnIdGenerator(), shutdown_on_exit=False
    )


class OncePerMinute(logging.Filter):
    """Lets one line of each kind pass per LOG_SECONDS, without a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._silent_until: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record."""
        kind, now = str(record.msg), time.monotonic()
        if now < self._silent_until.get(kind, 0.0):
            return False
        self._silent_until[kind] = now + LOG_SECONDS
        record.exc_info = record.exc_text = None
        return True
