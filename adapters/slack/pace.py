"""The pace of a process's first reads: it may be the third within this minute.

What earlier processes read within the last minute counts in Slack, and nothing here knows of it. So
a process begins with a few reads and goes on at a pace below that of Tier 3; after a minute its own
count is the truth.
"""

from __future__ import annotations

from bot.ports.clock import Clock

UNKNOWN_SECONDS = 60.0
"""How long a request counts in Slack, in seconds."""

AT_START = 2
"""Reads at once: the channels where people talked last."""

START_STEP = 1.5
"""Seconds between further ones: 40 a minute, so that five starts within it stay below 50."""


class ReadPace:
    """Spreads the first channels that a process reads: it may have been started again and again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic() + UNKNOWN_SECONDS
        self._reads = 0
        self._next = 0.0

    async def wait(self) -> None:
        """Until the next read may be sent."""
        now = self._clock.monotonic()
        if now >= self._until:
            return
        self._reads += 1
        if self._reads > AT_START:
            self._next = max(now, self._next + START_STEP)
            await self._clock.sleep(self._next - now)
        else:
            self._next = now
