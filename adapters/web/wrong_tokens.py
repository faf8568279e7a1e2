"""Wrong tokens: logged by address, and answered more slowly the more there were.

Invariant: a right token is never delayed or refused for what others sent, also from its own
address: behind a proxy all share one. What makes guessing hopeless is the length of tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import structlog

from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

FREE = 10
"""Wrong tokens that are answered at once: a page with an old token asks a few times."""

FORGET_SECONDS = 600.0
STEP_SECONDS, MOST_SECONDS = 0.25, 2.0
MOST_ADDRESSES = 1_000
"""Addresses that are counted, about 200 kB; the one that guessed longest ago is forgotten."""

MOST_DELAYED = 16
"""Answers that are held back at one time, for all addresses: each holds a connection."""


@dataclass(slots=True)
class _Count:
    wrong: int
    at: float


class Guesses:
    """Counts wrong tokens by address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, _Count] = OrderedDict()
        self._delayed = 0

    async def wrong(self, address: str) -> bool:
        """Count one and wait; False when too many are waiting already."""
        count = self._counted(address)
        if count & (count - 1) == 0:  # 1, 2, 4, 8, …: a flood of guesses is no flood of lines
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

    def _counted(self, address: str) -> int:
        now = self._clock.monotonic()
        known = self._counts.pop(address, None)
        fresh = known is None or now - known.at > FORGET_SECONDS
        count = _Count(1 if fresh or known is None else known.wrong + 1, now)
        self._counts[address] = count
        if len(self._counts) > MOST_ADDRESSES:
            self._counts.popitem(last=False)
        return count.wrong
