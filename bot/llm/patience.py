"""Limits in time on a stream: to the first token, and from one token to the next.

Only tokens count: comments, roles and empty deltas do not keep a stream alive. One timer belongs
to a stream and is set anew only when it fires, so that a token costs no timer. `asyncio.timeout`
cannot do this: in a generator it would also run while the consumer works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Self, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest waits, in seconds."""

    first_token: float = 60.0
    between_tokens: float = 30.0


class OutOfPatience(Exception):
    """Nothing came within the limit."""


class Patience:
    """The limits of one stream; a context manager around everything that is awaited for it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + limits.first_token
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

    def token(self) -> None:
        """A token came: from the next wait on, the limit between tokens counts."""
        self.started = self._fresh = True

    def settle(self, seconds: float) -> None:
        """Nothing important is missing any more: wait at most this long for what may follow."""
        self._fresh = False
        self._set_due(seconds)

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Await it within the limit; raises OutOfPatience."""
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
                raise OutOfPatience from error
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
