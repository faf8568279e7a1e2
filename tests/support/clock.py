"""Clocks for tests: one that the test drives, without real time, and one that hurries."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from bot.common.clock import SystemClock


class NoWaiting(SystemClock):
    """A clock whose sleeps end almost immediately."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))


class ManualClock:
    """The Clock port under a test's control.

    `await clock.advance(5)` advances time by 5 s. Sleepers wake in order, each at its exact time,
    and all tasks run as far as they can before the next one wakes. It does not wait for threads or
    sockets.
    """

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def time(self) -> float:
        """Unix seconds; the same as `monotonic`, to keep tests simple."""
        return self._now

    def monotonic(self) -> float:
        """Seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has advanced the clock by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), waiter))
        await waiter

    @property
    def sleeping(self) -> int:
        """The number of sleepers."""
        return sum(not waiter.done() for _, _, waiter in self._sleepers)

    def jump(self, seconds: float) -> None:
        """Advance time without running any task."""
        self._now += seconds

    async def advance(self, seconds: float) -> None:
        """Advance time by `seconds`, waking the sleepers that are due."""
        await settle()
        until = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, waiter = heapq.heappop(self._sleepers)
            if waiter.done():
                continue
            self._now = max(self._now, due)
            waiter.set_result(None)
            await settle()
        self._now = until
        await settle()


async def settle() -> None:
    """Run the event loop until no task can continue."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    # Only an empty ready queue proves that no task can continue without time or I/O; a fixed number
    # of iterations would break with every additional await.
    while loop._ready:  # type: ignore[attr-defined]
        await asyncio.sleep(0)


@contextmanager
def timers_without_waiting() -> Iterator[None]:
    """Fire the running loop's timers, each at its exact time, as soon as no task can continue.

    For code that uses the loop's clock and no sockets or threads.
    """
    loop: Any = asyncio.get_running_loop()
    selector, now = loop._selector, loop.time()
    select = selector.select

    def skip(timeout: float | None) -> Any:
        nonlocal now
        events = select(0 if timeout is not None else None)
        now += 0 if events else timeout or 0
        return events

    loop.time, selector.select = lambda: now, skip
    try:
        yield
    finally:
        del loop.time, selector.select
