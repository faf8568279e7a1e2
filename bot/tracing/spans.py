"""The spans of one attempt, using OpenTelemetry's API. Nothing here raises into a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry import trace as otel

from bot.domain.turns import TurnResult
from bot.ports.tracing import Attributes, Span, SpanKind

_KINDS = {SpanKind.INTERNAL: otel.SpanKind.INTERNAL, SpanKind.CLIENT: otel.SpanKind.CLIENT}


class OtelTrace:
    """Implements `bot.ports.tracing.Trace`; once closed, it records nothing."""

    def __init__(self, tracer: otel.Tracer) -> None:
        self._tracer = tracer
        self._is_closed = False
        self.result: TurnResult | None = None

    @property
    def is_recording(self) -> bool:
        """See the port."""
        return not self._is_closed

    @contextmanager
    def span(self, name: str, attributes: Attributes, kind: SpanKind) -> Iterator[Span]:
        """See the port."""
        span = self._start(name, attributes, kind)
        with end_after(span), attach(otel.set_span_in_context(span)):
            yield OtelSpan(span)

    @contextmanager
    def leaf(self, name: str, attributes: Attributes, kind: SpanKind) -> Iterator[Span]:
        """See the port."""
        span = self._start(name, attributes, kind)
        with end_after(span):
            yield OtelSpan(span)

    def ended(self, result: TurnResult) -> None:
        """See the port."""
        self.result = result

    def close(self) -> None:
        """Record no more spans, because tasks that outlive the turn work for others."""
        self._is_closed = True

    def _start(self, name: str, attributes: Attributes, kind: SpanKind) -> otel.Span:
        if self._is_closed:
            return otel.INVALID_SPAN
        return self._tracer.start_span(name, kind=_KINDS[kind], attributes=known(attributes))


class OtelSpan:
    """Implements `bot.ports.tracing.Span`."""

    def __init__(self, span: otel.Span) -> None:
        self._span = span

    def set(self, attributes: Attributes) -> None:
        """See the port."""
        self._span.set_attributes(known(attributes))

    def mark(self, name: str) -> None:
        """See the port."""
        self._span.add_event(name)


@contextmanager
def end_after(span: otel.Span) -> Iterator[None]:
    """End the span after the block, recording only an error's type: its message may repeat text."""
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):  # people stopped it, or the process is ending
        span.set_attribute("threadline.cancelled", True)
        raise
    except BaseException as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(otel.StatusCode.ERROR)
        raise
    finally:
        span.end()


@contextmanager
def attach(context: otel_context.Context) -> Iterator[None]:
    """Make `context` current inside the block."""
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


def known(attributes: Attributes) -> dict[str, str | bool | int | float | list[str]]:
    """The attributes that have a value, in the API's types."""
    return {
        name: value if isinstance(value, str | bool | int | float) else list(value)
        for name, value in attributes.items()
        if value is not None
    }
