"""Limits how often the bot asks for a Socket Mode address.

Slack may end each connection right after its `hello`: with ten other connections of the app, or
during an incident. Without pauses, the bot would ask again within milliseconds, until Slack also
refuses apps.connections.open for a minute.
"""

from __future__ import annotations

from bot.common.retry import Backoff
from bot.ports.clock import Clock

STABLE_SECONDS = 60.0
"""A connection that lasted for this long says nothing about the next one."""

AT_ONCE = 5
"""Addresses without a pause, for a connection that was only interrupted."""

PAUSES = Backoff(first=1.0, longest=10.0)
"""Pauses before further addresses, until a connection lasts."""


class ReconnectPace:
    """Counts the addresses that were requested shortly after each other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked_at = float("-inf")
        self._count = 0

    async def wait(self) -> None:
        """Return when another address may be requested."""
        if self._clock.monotonic() - self._asked_at > STABLE_SECONDS:
            self._count = 0
        self._count += 1
        if self._count > AT_ONCE:
            await self._clock.sleep(PAUSES.after(self._count - AT_ONCE))
        self._asked_at = self._clock.monotonic()
