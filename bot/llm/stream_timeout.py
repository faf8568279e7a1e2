"""Time limits on a stream: to the first token, and from one token to the next.

Only tokens count once there is one. Before the first, every sign of life (headers, a comment, a
role) begins the limit to it again, up to a bound: a server that reads a model into memory, or whose
queue is long, keeps its connection alive so. One timer belongs to a stream and is set again only
when it fires, so that a token costs no timer. `asyncio.timeout` cannot do this: in a generator it
would also run while the consumer works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Self, TypeVar

T = TypeVar("T")

LOADING_SECONDS = 600.0
"""What a large model takes from a slow disk; after that nothing comes of it."""

LOADING_NOTE_SECONDS = 10.0
"""Until people are told that a local model is loading: a loaded one has begun by then."""


WHOLE_SECONDS = 300.0
"""The silence before an answer that is not streamed: it comes in one piece, after all of its
tokens."""


@dataclass(frozen=True, slots=True)
class StreamTimeouts:
    """The longest waits, in seconds.

    `first_token` is the longest silence before the first token, and `loading` bounds the whole wait
    for it. After `loading_note` people are told that the model is loading; None tells them when a
    server that gives signs of life has used up `first_token`.
    """

    first_token: float = 60.0
    between_tokens: float = 30.0
    loading: float = LOADING_SECONDS
    loading_note: float | None = None


class StreamTimedOut(Exception):
    """Nothing came within the limit."""


class StreamTimeout:
    """The limits of one stream; a context manager around everything that is awaited for it."""

    def __init__(self, limits: StreamTimeouts) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._due = self._began + limits.first_token
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._fresh = False  # a token came since the last wait began
        self._fired = False
        self.started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def until_note(self) -> float:
        """Seconds until people should hear that the model is loading."""
        after = self._limits.loading_note
        due = self._began + (self._limits.first_token if after is None else after)
        return max(0.0, due - self._loop.time())

    def token(self) -> None:
        """A token came: from the next wait on, the limit between tokens counts."""
        self.started = self._fresh = True

    def alive(self) -> None:
        """Something came that is no token: before the first one, the server is given time."""
        if not self.started:
            most = self._began + max(self._limits.loading, self._limits.first_token)
            self._due = min(self._loop.time() + self._limits.first_token, most)

    def settle(self, seconds: float) -> None:
        """Nothing important is missing any more: wait at most this long for what may follow."""
        self._fresh = False
        self._set_due(seconds)

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Await it within the limit; raises StreamTimedOut."""
        if self._fresh:
            self._fresh = False
            self._set_due(self._limits.between_tokens)
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._look)
        task = self._waiting = asyncio.current_task()
        if task is None:
            raise RuntimeError("a limit in time needs a task that can be cancelled")
        others = task.cancelling()
        try:
            return await awaitable
        except asyncio.CancelledError as error:
            # As asyncio.timeout does it: our own cancellation ends here, another one goes on.
            if self._fired and task.uncancel() <= others:
                raise StreamTimedOut from error
            raise
        finally:
            self._waiting, self._fired = None, False

    def _set_due(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._due:
            # A timer that fires too early looks again; one that fires too late must go.
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._look)
            return
        self._fired = True
        self._waiting.cancel()
