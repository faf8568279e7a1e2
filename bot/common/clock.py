"""The system clock, and numbers from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator


class SystemClock:
    """Implements `bot.ports.clock.Clock`."""

    def time(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await asyncio.sleep(seconds)


def rising_microseconds(now: Callable[[], float]) -> Iterator[int]:
    """Yield the current time in microseconds at each step, and at least one more than before.

    `now` returns Unix seconds. Numbers from several processes, and from before and after a restart,
    are in the order of the time.
    """
    last = 0
    while True:
        last = max(last + 1, int(now() * 1_000_000))
        yield last
