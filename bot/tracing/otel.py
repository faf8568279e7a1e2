"""Traces turns with OpenTelemetry's SDK; only this package imports it.

Invariant: nothing here raises into a turn or waits for a collector.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from cachetools import LRUCache
from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider

from bot import __version__
from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Accepted, Receipt
from bot.domain.turns import Claim, TurnResult
from bot.ports import tracing
from bot.ports.tracing import Attributes
from bot.tracing.ids import TurnIds, attempt_id, opened_at, turn_ids
from bot.tracing.provider import TurnIdGenerator
from bot.tracing.spans import OtelTrace, attach, end_after, known

MAX_REMEMBERED = 10_000
"""Turns whose arrival is remembered until they are claimed; takes about 2 MB."""

CLOSE_SECONDS = 3.0
"""Seconds that the exiting process waits for the last spans to be sent."""


class OtelTracer:
    """Implements `bot.ports.tracing.Tracer` on a provider from `bot.tracing.provider`."""

    def __init__(self, provider: TracerProvider) -> None:
        ids = provider.id_generator
        assert isinstance(ids, TurnIdGenerator)  # noqa: S101 - made by this module
        self._provider, self._ids = provider, ids
        self._tracer = provider.get_tracer("threadline", __version__)
        # When the first message of each turn arrived and was stored, in nanoseconds.
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
        """Send the remaining spans, for up to CLOSE_SECONDS."""
        # A daemon thread, because the interpreter waits for the loop's executor when it exits.
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
        """When the turn began, in nanoseconds. Adds a span for the wait until the claim."""
        if opened_at(claim):  # a person has just had it run again
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
        if claim.tries > 1:  # the last attempt's spans may be missing: its process died
            links.append(otel.Link(_context(ids.trace, attempt_id(ids, fence.attempt - 1))))
        with self._ids.use(span=attempt_id(ids, fence.attempt)):
            span = self._tracer.start_span(
                "attempt", context=self._inside(ids), attributes=attributes, links=links
            )
        with end_after(span), attach(otel.set_span_in_context(span)):
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
                attributes=known(attributes),
                links=links,
            )
        if result.failure is not None:
            span.set_status(otel.StatusCode.ERROR)
        span.end()

    def _inside(self, ids: TurnIds) -> otel_context.Context:
        """The parent context of the turn's spans; their parent, the first span, is sent last."""
        sampled = self._is_sampled(ids)
        parent = otel.NonRecordingSpan(_context(ids.trace, ids.root, sampled=sampled))
        return otel.set_span_in_context(parent, otel_context.Context())

    def _is_sampled(self, ids: TurnIds) -> bool:
        """Whether the trace is kept. The id decides, so every process decides the same."""
        found = self._provider.sampler.should_sample(otel_context.Context(), ids.trace, "turn")
        return bool(found.decision.is_sampled())  # type: ignore[no-untyped-call]


def _context(trace: int, span: int, *, sampled: bool = True) -> otel.SpanContext:
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if sampled else otel.TraceFlags.DEFAULT)
    return otel.SpanContext(trace, span, is_remote=True, trace_flags=flags)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
