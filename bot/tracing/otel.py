"""Traces of turns through OpenTelemetry's SDK: the only module that imports it.

Invariants: nothing here raises into a turn or waits for a collector. Spans wait in a queue of
OTEL_BSP_MAX_QUEUE_SIZE (2,048) for a thread that sends them; what does not fit is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog
from cachetools import LRUCache
from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from bot import __version__
from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Accepted, Receipt
from bot.domain.turns import Claim, TurnResult
from bot.ports import tracing
from bot.ports.tracing import Attributes, Span, SpanKind
from bot.tracing.ids import TurnIds, attempt_id, opened_at, turn_ids

MAX_REMEMBERED = 10_000
"""Turns whose arrival is remembered until they are claimed; about 2 MB."""

CLOSE_SECONDS = 3.0
"""How long the end of the process waits for the last spans to be sent."""

LOG_SECONDS = 60.0
"""Time between two log lines with the same complaint of the SDK: while a collector fails, it would
write one for each batch and each dropped span."""

_COMPLAINING = (
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)
_KINDS = {SpanKind.INTERNAL: otel.SpanKind.INTERNAL, SpanKind.CLIENT: otel.SpanKind.CLIENT}


class TurnIdGenerator(RandomIdGenerator):
    """Random ids, except for the next span if `use` says so. For one thread: the event loop's."""

    def __init__(self) -> None:
        self._span: int | None = None
        self._trace: int | None = None

    @contextmanager
    def use(self, *, span: int, trace: int | None = None) -> Iterator[None]:
        """Give the span that the block starts these ids."""
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
    """The SDK as the standard variables configure it, with the exporter for OTLP over HTTP.

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
    """The SDK without an exporter: sampling and resource as in the standard variables."""
    named = "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {SERVICE_VERSION: __version__}
    if not named and not environ.get("OTEL_SERVICE_NAME"):
        own[SERVICE_NAME] = "threadline"
    return TracerProvider(
        resource=Resource.create(own), id_generator=TurnIdGenerator(), shutdown_on_exit=False
    )


class OtelTracer:
    """Implements `bot.ports.tracing.Tracer` on a provider of `bare_provider` or `make_provider`."""

    def __init__(self, provider: TracerProvider) -> None:
        ids = provider.id_generator
        assert isinstance(ids, TurnIdGenerator)  # noqa: S101 - made by this module
        self._provider, self._ids = provider, ids
        self._tracer = provider.get_tracer("threadline", __version__)
        # When the first message of each turn arrived, and when it was stored: in nanoseconds.
        self._arrivals: LRUCache[int, tuple[int, int]] = LRUCache(MAX_REMEMBERED)

    def received(self, key: ConversationKey, accepted: Accepted, since: float) -> None:
        """See the port."""
        turn = accepted.turn
        if accepted.receipt is not Receipt.QUESTION or turn is None:
            return
        ids, now, began = turn_ids(key, turn), time.time_ns(), _nanoseconds(since)
        self._arrivals.setdefault(turn, (began, now))
        span = self._tracer.start_span(
            "receive message",
            context=self._inside(ids),
            kind=otel.SpanKind.CONSUMER,
            start_time=began,
            attributes={"threadline.turn.id": turn, "threadline.platform": key.platform},
        )
        span.end(now)

    @contextmanager
    def attempt(self, claim: Claim) -> Iterator[None]:
        """See the port."""
        ids = turn_ids(claim.conversation.key, claim.fence.turn, opened_at(claim))
        if not self._is_sampled(ids):
            yield
            return
        trace = OtelTrace(self._tracer)
        began = self._begin(claim, ids)
        try:
            with (
                structlog.contextvars.bound_contextvars(trace_id=ids.hex),
                tracing.use(trace),
                self._attempt_span(claim, ids) as span,
            ):
                try:
                    yield
                finally:
                    trace.close()
                    span.set_attribute("threadline.attempt.ended_turn", trace.result is not None)
        finally:
            if trace.result is not None:
                self._end(claim, ids, began, trace.result)

    async def aclose(self) -> None:
        """Send what is left, for CLOSE_SECONDS at most."""
        # A daemon thread, because the interpreter waits for the loop's executor when it ends.
        done, loop = asyncio.Event(), asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            try:
                loop.call_soon_threadsafe(done.set)
            except RuntimeError:
                return  # the loop has ended

        threading.Thread(target=shut_down, name="last spans", daemon=True).start()
        try:
            await asyncio.wait_for(done.wait(), CLOSE_SECONDS)
        except TimeoutError:
            return

    # ── the spans of a turn ───────────────────────────────────────────────────────────────────
    def _begin(self, claim: Claim, ids: TurnIds) -> int:
        """When the turn began, in nanoseconds; adds the span of its wait for the claim."""
        if opened_at(claim):  # a person had it run again now
            return time.time_ns()
        arrival = self._arrivals.get(claim.fence.turn)
        if arrival is not None:
            if claim.tries == 1:
                context = self._inside(ids)
                self._tracer.start_span("wait for claim", context, start_time=arrival[1]).end()
            return arrival[0]
        sent = [question.sent_at for question in claim.questions if question.sent_at]
        return min(time.time_ns(), _nanoseconds(min(sent))) if sent else time.time_ns()

    @contextmanager
    def _attempt_span(self, claim: Claim, ids: TurnIds) -> Iterator[otel.Span]:
        fence = claim.fence
        attributes = {
            "threadline.turn.id": fence.turn,
            "threadline.attempt": fence.attempt,
            "threadline.attempt.failures": claim.failures,
            "threadline.attempt.deaths": claim.deaths,
        }
        links = []
        if claim.tries > 1:  # whose spans may be missing, because its process died
            links.append(otel.Link(_context(ids.trace, attempt_id(ids, fence.attempt - 1))))
        with self._ids.use(span=attempt_id(ids, fence.attempt)):
            span = self._tracer.start_span(
                "attempt", context=self._inside(ids), attributes=attributes, links=links
            )
        with _ended(span), _inside(otel.set_span_in_context(span)):
            yield span

    def _end(self, claim: Claim, ids: TurnIds, began: int, result: TurnResult) -> None:
        """Add the first span of the trace, which is complete only now."""
        key, turn, opened = claim.conversation.key, claim.fence.turn, opened_at(claim)
        self._arrivals.pop(turn, None)
        attributes: Attributes = {
            "threadline.turn.id": turn,
            "threadline.platform": key.platform,
            "threadline.attempts": claim.tries,
            "threadline.questions": len(claim.questions),
            "threadline.outcome": result.outcome.value,
            "error.type": result.failure.value if result.failure is not None else None,
        }
        links = []
        if opened:
            first = turn_ids(key, turn)
            links.append(otel.Link(_context(first.trace, first.root)))
        with self._ids.use(span=ids.root, trace=ids.trace):
            span = self._tracer.start_span(
                "turn",
                context=otel_context.Context(),
                start_time=began,
                attributes=_known(attributes),
                links=links,
            )
        if result.failure is not None:
            span.set_status(otel.StatusCode.ERROR)
        span.end()

    def _inside(self, ids: TurnIds) -> otel_context.Context:
        """The context of spans below the turn's first span, which is sent last."""
        sampled = self._is_sampled(ids)
        parent = otel.NonRecordingSpan(_context(ids.trace, ids.root, sampled=sampled))
        return otel.set_span_in_context(parent, otel_context.Context())

    def _is_sampled(self, ids: TurnIds) -> bool:
        """Whether the trace is kept. Decided by its id, so every process decides the same."""
        found = self._provider.sampler.should_sample(otel_context.Context(), ids.trace, "turn")
        return bool(found.decision.is_sampled())  # type: ignore[no-untyped-call]


class OtelTrace:
    """Implements `bot.ports.tracing.Trace`; closed, it keeps nothing."""

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
        with _ended(span), _inside(otel.set_span_in_context(span)):
            yield OtelSpan(span)

    @contextmanager
    def leaf(self, name: str, attributes: Attributes, kind: SpanKind) -> Iterator[Span]:
        """See the port."""
        span = self._start(name, attributes, kind)
        with _ended(span):
            yield OtelSpan(span)

    def ended(self, result: TurnResult) -> None:
        """See the port."""
        self.result = result

    def close(self) -> None:
        """Keep no more spans: tasks that outlive the turn work for others."""
        self._is_closed = True

    def _start(self, name: str, attributes: Attributes, kind: SpanKind) -> otel.Span:
        if self._is_closed:
            return otel.INVALID_SPAN
        return self._tracer.start_span(name, kind=_KINDS[kind], attributes=_known(attributes))


class OtelSpan:
    """Implements `bot.ports.tracing.Span`."""

    def __init__(self, span: otel.Span) -> None:
        self._span = span

    def set(self, attributes: Attributes) -> None:
        """See the port."""
        self._span.set_attributes(_known(attributes))

    def mark(self, name: str) -> None:
        """See the port."""
        self._span.add_event(name)


@contextmanager
def _ended(span: otel.Span) -> Iterator[None]:
    """End the span after the block, with the kind of its error: messages may repeat text."""
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):  # people stopped it, or the process ends
        span.set_attribute("threadline.cancelled", True)
        raise
    except BaseException as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(otel.StatusCode.ERROR)
        raise
    finally:
        span.end()


@contextmanager
def _inside(context: otel_context.Context) -> Iterator[None]:
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


def _context(trace: int, span: int, *, sampled: bool = True) -> otel.SpanContext:
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if sampled else otel.TraceFlags.DEFAULT)
    return otel.SpanContext(trace, span, is_remote=True, trace_flags=flags)


def _known(attributes: Attributes) -> dict[str, str | bool | int | float | list[str]]:
    return {
        name: value if isinstance(value, str | bool | int | float) else list(value)
        for name, value in attributes.items()
        if value is not None
    }


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


class OncePerMinute(logging.Filter):
    """Lets one line of each kind pass in LOG_SECONDS, without a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._silent_until: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        kind, now = str(record.msg), time.monotonic()
        if now < self._silent_until.get(kind, 0.0):
            return False
        self._silent_until[kind] = now + LOG_SECONDS
        record.exc_info = record.exc_text = None
        return True
