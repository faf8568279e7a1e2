"""A clock that the test drives: nothing waits in real time, sleepers wake in their order."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count


class ManualClock:
    """The Clock port under a test's control.

    `await clock.advance(5)` moves time by 5 s; sleepers wake one after another, each at its exact
    time, and everything that they set going runs before time moves on. Work on other threads or
    sockets is not waited for.
    """

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def time(self) -> float:
        """Unix seconds: one and the same as `monotonic`, which makes tests easy to read."""
        return self._now

    def monotonic(self) -> float:
        """The seconds of this clock."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has advanced the clock that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), waiter))
        await waiter

    @property
    def sleeping(self) -> int:
        """How many wait for this clock."""
        return sum(not waiter.done() for _, _, waiter in self._sleepers)

    def jump(self, seconds: float) -> None:
        """Move time on without letting anybody run: what happens within one turn of the loop."""
        self._now += seconds

    async def advance(self, seconds: float) -> None:
        """Move time on by `seconds`, waking everybody on the way."""
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
    """Let the event loop run until nothing is left to do at this moment."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    # The only exact sign that nobody can go on without time or the outside; a fixed number of
    # rounds would break with every await that is added somewhere.
    while loop._ready:  # type: ignore[attr-defined]
        await asyncio.sleep(0)
