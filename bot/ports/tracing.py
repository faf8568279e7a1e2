"""The tracing port: what one turn waited for, as the spans of one trace.

Each task carries the trace of its turn in a context variable, like the turn's id in the log, so no
signature between the scheduler and a platform's HTTP client mentions tracing. Without tracing,
every function here costs one look-up of a context variable, and none is called for a piece of an
answer.

Invariant: a span contains no text, name, key or id of a person or place; the only ids are those of
turns.
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
"""Attributes of a span by name; an attribute that is None is left out."""


class SpanKind(Enum):
    """The kind of a span, in OpenTelemetry's terms."""

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
        """Open a span around a block, as the parent of spans inside it."""
        ...

    def leaf(
        self, name: str, attributes: Attributes, kind: SpanKind
    ) -> AbstractContextManager[Span]:
        """Like `span`, but never a parent: for generators, because other code runs inside their
        block."""
        ...

    def ended(self, result: TurnResult) -> None:
        """Report that the attempt has ended its turn."""
        ...


class Tracer(Protocol):
    """Creates traces. No method raises."""

    def received(self, key: ConversationKey, accepted: Accepted, since: float) -> None:
        """Report that a message that arrived at `since` (Unix seconds) is now stored."""
        ...

    def attempt(self, claim: Claim) -> AbstractContextManager[None]:
        """Give the attempt's trace to the block and to the tasks that it starts."""
        ...


class _NullSpan:
    def set(self, attributes: Attributes) -> None:
        """Do nothing."""

    def mark(self, name: str) -> None:
        """Do nothing."""


_NOTHING: AbstractContextManager[Span] = nullcontext(_NullSpan())


class NullTrace:
    """A `Trace` that records nothing."""

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
    """A `Tracer` that records nothing."""

    def received(self, key: ConversationKey, accepted: Accepted, since: float) -> None:
        """See the port."""

    def attempt(self, claim: Claim) -> AbstractContextManager[None]:
        """See the port."""
        return nullcontext()


_UNTRACED = NullTrace()
_current: ContextVar[Trace] = ContextVar("trace", default=_UNTRACED)


def current() -> Trace:
    """The trace of the turn that this task works for; outside of turns, one that records
    nothing."""
    return _current.get()


@contextmanager
def use(trace: Trace) -> Iterator[None]:
    """Use `trace` in the block and in the tasks that it starts."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def span(
    name: str, attributes: Attributes | None = None, *, kind: SpanKind = SpanKind.INTERNAL
) -> AbstractContextManager[Span]:
    """Open a span in the current trace; see `Trace.span`."""
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
