"""The tracing port: what one turn waited for, as the spans of one trace.

A task carries the trace of its turn as it carries the turn's id in the log, so no signature between
the scheduler and a platform's HTTP client mentions tracing. Without tracing every function here
costs the look-up of one context variable, and none is called for a piece of an answer.

Invariant: a span has no text, name, key or id of a person or a place; the only ids are turns'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from enum import Enum
from typing import Protocol, TypeAlias

from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Accepted
from bot.domain.operation import scope_class
from bot.domain.turns import Claim, TurnResult

Value: TypeAlias = str | bool | int | float | Sequence[str]
Attributes: TypeAlias = Mapping[str, Value | None]
"""Attributes of a span by name; None leaves one out."""


class SpanKind(Enum):
    """What a span is, in OpenTelemetry's terms."""

    INTERNAL = "internal"
    CLIENT = "client"  # a request to another server


class Span(Protocol):
    """A part of a turn that takes time."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        ...

    def mark(self, name: str) -> None:
        """Note that something happened now."""
        ...


class Trace(Protocol):
    """The spans of one attempt at a turn. No method raises."""

    @property
    def is_recording(self) -> bool:
        """Whether spans are kept."""
        ...

    def span(
        self, name: str, attributes: Attributes, kind: SpanKind
    ) -> AbstractContextManager[Span]:
        """A span around a block, and the parent of the spans in it."""
        ...

    def leaf(
        self, name: str, attributes: Attributes, kind: SpanKind
    ) -> AbstractContextManager[Span]:
        """As `span`, without spans in it: for generators, whose block other code interrupts."""
        ...

    def ended(self, result: TurnResult) -> None:
        """The attempt has ended its turn."""
        ...


class Tracer(Protocol):
    """Makes traces. No method raises."""

    def received(self, key: ConversationKey, accepted: Accepted, since: float) -> None:
        """A message that arrived at `since` (Unix seconds) is stored now."""
        ...

    def attempt(self, claim: Claim) -> AbstractContextManager[None]:
        """While the block runs, it and the tasks that it starts have the attempt's trace."""
        ...


class _NullSpan:
    def set(self, attributes: Attributes) -> None:
        """Nothing is kept."""

    def mark(self, name: str) -> None:
        """Nothing is kept."""


_NOTHING: AbstractContextManager[Span] = nullcontext(_NullSpan())


class NullTrace:
    """Implements `Trace` where nothing is traced."""

    is_recording = False

    def span(
        self, name: str, attributes: Attributes, kind: SpanKind
    ) -> AbstractContextManager[Span]:
        """See the port."""
        return _NOTHING

    leaf = span

    def ended(self, result: TurnResult) -> None:
        """See the port."""


class NullTracer:
    """Implements `Tracer` for a bot that is not traced."""

    def received(self, key: ConversationKey, accepted: Accepted, since: float) -> None:
        """See the port."""

    def attempt(self, claim: Claim) -> AbstractContextManager[None]:
        """See the port."""
        return nullcontext()


_UNTRACED = NullTrace()
_current: ContextVar[Trace] = ContextVar("trace", default=_UNTRACED)


def current() -> Trace:
    """The trace of the turn that this task works for; one that keeps nothing outside of turns."""
    return _current.get()


@contextmanager
def use(trace: Trace) -> Iterator[None]:
    """Have the block, and the tasks that it starts, use `trace`."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def span(
    name: str, attributes: Attributes | None = None, *, kind: SpanKind = SpanKind.INTERNAL
) -> AbstractContextManager[Span]:
    """A span of the current trace; see `Trace.span`."""
    return _current.get().span(name, attributes or {}, kind)


def request_span(method: str, route: str) -> AbstractContextManager[Span]:
    """The span of one HTTP request to a platform; `route` is a template, without ids.

    The names are those of OpenTelemetry's conventions for HTTP clients:
    https://opentelemetry.io/docs/specs/semconv/http/http-spans/
    """
    trace = _current.get()
    if not trace.is_recording:
        return _NOTHING
    attributes = {"http.request.method": method, "url.template": route}
    return trace.span(f"{method} {route}", attributes, SpanKind.CLIENT)


def scope_of(scopes: Sequence[str]) -> str | None:
    """The narrowest rate limit of a request, without the id of its channel or guild."""
    return scope_class(scopes[0]) if scopes else None
