"""Time limits of a stream: until the first token, and between tokens.

Before the first token, and while the model thinks, every sign of activity (headers, a comment, a
role) restarts the limit, up to a maximum: this is how a server that is loading a model, has a long
queue or hides the reasoning keeps its connection alive. After a piece of the answer, only tokens
extend the limit. Each stream has one timer, reset only when it fires, so
tokens cost no timers. `asyncio.timeout` does not fit: in a generator it would keep running while
the consumer works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Self, TypeVar

T = TypeVar("T")

LOADING_SECONDS = 600.0
"""The longest wait in seconds for a model to load: enough for a large model on a slow disk."""

LOADING_NOTE_SECONDS = 10.0
"""Seconds of silence until a note says that a local model is loading: a loaded one is faster."""

UNSTREAMED_SECONDS = 300.0
"""The longest silence in seconds before an answer that is not streamed."""


REASONING_FACTOR = 2.0
"""How many times longer the silence between two tokens may be while the model thinks: OpenAI's
models pause for more than 30 s between parts of a summary, and Azure's first keepalive comes after
30 s."""


@dataclass(frozen=True, slots=True)
class StreamTimeouts:
    """Maximum waits, in seconds.

    `first_token` is the longest silence before the first token; `loading` is the longest wait for a
    token while keepalives arrive. After `loading_note`, a note says that the model is loading; if
    it is None, the note appears when a server that sends keepalives has used up `first_token`.
    """

    first_token: float = 60.0
    between_tokens: float = 30.0
    loading: float = LOADING_SECONDS
    loading_note: float | None = None


class StreamTimedOut(Exception):
    """Nothing arrived within the limit."""


class StreamTimeout:
    """The limit of one stream, as a context manager; needs a running loop."""

    def __init__(self, timeouts: StreamTimeouts) -> None:
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._began = self._last_token = self._loop.time()
        self._due = self._began + timeouts.first_token
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._restart = False  # a token has arrived since the last wait began
        self._thinking = False  # the newest token is reasoning
        self._fired = False
        self.started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def seconds_until_note(self) -> float:
        """Seconds until people should be told that the model is loading."""
        after = self._timeouts.loading_note
        due = self._began + (self._timeouts.first_token if after is None else after)
        return max(0.0, due - self._loop.time())

    def record_token(self) -> None:
        """Record a piece of the answer: the next wait starts the limit between tokens."""
        self.started = self._restart = True
        self._thinking = False

    def record_reasoning(self) -> None:
        """Record a piece of reasoning: the next wait starts the limit of reasoning."""
        self.started = self._restart = self._thinking = True

    def record_keepalive(self) -> None:
        """Extend the wait for the first token, or for the next one of a model that thinks."""
        if self.started and not self._thinking:
            return
        limit = self._between_tokens if self.started else self._timeouts.first_token
        latest = self._last_token + max(self._timeouts.loading, limit)
        self._due = min(self._loop.time() + limit, latest)

    @property
    def _between_tokens(self) -> float:
        return self._timeouts.between_tokens * (REASONING_FACTOR if self._thinking else 1.0)

    def limit_rest(self, seconds: float) -> None:
        """Wait at most this long for the rest of the stream, because the answer is complete."""
        self._restart = False
        self._set_due(seconds)

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Await within the limit; raises StreamTimedOut."""
        if self._restart:
            self._restart = False
            self._last_token = self._loop.time()
            self._set_due(self._between_tokens)
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._on_timer)
        task = self._waiting = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task to cancel")
        cancellations = task.cancelling()
        try:
            return await awaitable
        except asyncio.CancelledError as error:
            # As in asyncio.timeout: our own cancellation ends here; any other one propagates.
            if self._fired and task.uncancel() <= cancellations:
                raise StreamTimedOut from error
            raise
        finally:
            self._waiting, self._fired = None, False

    def _set_due(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._due:
            # A timer that fires early reschedules itself; one that would fire late is replaced.
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._on_timer)
            return
        self._fired = True
        self._waiting.cancel()
