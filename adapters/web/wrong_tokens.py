"""Throttles wrong tokens: logs them by address and slows down repeated attempts.

Invariant: a correct token is never delayed or refused because of others, even from the same
address, which all clients behind a proxy share. Long tokens are what makes guessing hopeless.
"""

from __future__ import annotations

import structlog
from cachetools import TTLCache

from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

FREE = 10
"""Wrong tokens per address without a delay: a page with an old token asks several times."""

FORGET_SECONDS = 600.0
STEP_SECONDS, MOST_SECONDS = 0.25, 2.0
MOST_ADDRESSES = 1_000
"""How many addresses to count, about 200 kB; the least recent one is dropped."""

MOST_DELAYED = 16
"""The most delayed responses at one time, over all addresses: each holds a connection."""


class WrongTokenThrottle:
    """Counts wrong tokens by address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: TTLCache[str, int] = TTLCache(MOST_ADDRESSES, FORGET_SECONDS, clock.monotonic)
        self._delayed = 0

    async def wrong(self, address: str) -> bool:
        """Count a wrong token and delay. Returns False if too many responses are delayed."""
        count = self._count(address)
        if count & (count - 1) == 0:  # 1, 2, 4, 8, …: many attempts make few log lines
            log.warning("a wrong token", address=address, times=count)
        if count <= FREE:
            return True
        if self._delayed >= MOST_DELAYED:
            return False
        self._delayed += 1
        try:
            await self._clock.sleep(min(STEP_SECONDS * (count - FREE), MOST_SECONDS))
        finally:
            self._delayed -= 1
        return True

    def _count(self, address: str) -> int:
        count = self._counts[address] = self._counts.get(address, 0) + 1
        return count
