"""Whether the bot token is still good: one odd refusal is not believed, a revoked token is.

Slack's answer to one request may be wrong. So a refusal of the token is checked with auth.test.
When that says the same, requests are answered here, without sending them, and auth.test is asked
again once a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from adapters.slack.errors import DEAD_TOKEN
from bot.domain.errors import Gone, PlatformError, Refused, Unsettled
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

# How long what auth.test said is believed, in seconds: while the token works, and when it does not.
GOOD_SECONDS, DEAD_SECONDS = 2.0, 60.0


class TokenWatch:
    """One bot token. `ask` calls auth.test and raises a PlatformError."""

    def __init__(self, *, ask: Callable[[], Awaitable[object]], clock: Clock) -> None:
        self._ask, self._clock = ask, clock
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self.dead = ""  # Slack's word for it, once it is certain

    async def check(self) -> None:
        """Raises Gone when the token is known to be refused."""
        if self.dead:
            await self._refresh(DEAD_SECONDS)
        if self.dead:
            raise Gone(self.dead)

    async def judge(self, refusal: Gone) -> PlatformError:
        """What a refusal of the token means: Gone when auth.test says so, too, else Unsettled."""
        try:
            await self._refresh(GOOD_SECONDS)
        except PlatformError as error:
            return Unsettled(f"Slack refused the token ({refusal}), and then: {error}")
        return refusal if self.dead else Unsettled(f"Slack refused the token once ({refusal})")

    async def _refresh(self, believed: float) -> None:
        async with self._asking:
            if self._clock.monotonic() < self._asked_at + believed:
                return
            before, self.dead = self.dead, await self._refusal()
            self._asked_at = self._clock.monotonic()
        if self.dead and not before:
            log.error(
                "Slack refuses the bot token: nothing can be answered until the app is installed "
                "again and SLACK_BOT_TOKEN is replaced",
                reason=self.dead,
            )
        elif before and not self.dead:
            log.info("Slack takes the bot token again")

    async def _refusal(self) -> str:
        """What auth.test says against the token; "" when nothing. Raises a PlatformError."""
        try:
            await self._ask()
        except (Gone, Refused) as error:
            return str(error) if str(error) in DEAD_TOKEN else ""
        except PlatformError:
            if not self.dead:
                raise
            return self.dead  # no news
        return ""
