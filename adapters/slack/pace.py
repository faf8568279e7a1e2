"""Limits the rate of a process's first reads.

Slack still counts reads that earlier processes made in the last minute, and this process does not
know them. It therefore begins with a few reads and stays below the Tier 3 rate until it has counted
for a whole minute.
"""

from __future__ import annotations

from bot.ports.clock import Clock

UNKNOWN_SECONDS = 60.0
"""For how many seconds Slack counts a request."""

AT_START = 2
"""Reads sent without a pause, which go to the channels with the latest conversations."""

START_STEP = 1.5
"""Seconds between further reads: 40 a minute, so that five starts within a minute stay below 50."""


class ReadPace:
    """Spreads the channel reads of a process's first minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic() + UNKNOWN_SECONDS
        self._reads = 0
        self._next = 0.0

    async def wait(self) -> None:
        """Return when the next read may be sent."""
        now = self._clock.monotonic()
        if now >= self._until:
            return
        self._reads += 1
        if self._reads > AT_START:
            self._next = max(now, self._next + START_STEP)
            await self._clock.sleep(self._next - now)
        else:
            self._next = now
