"""The system clock."""

from __future__ import annotations

import asyncio
import time


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
