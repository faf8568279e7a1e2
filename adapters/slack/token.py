"""The bot token of one workspace, and whether Slack still accepts it.

Slack may refuse a valid token once by mistake, so auth.test verifies every refusal. While auth.test
refuses the token too, requests fail without being sent, and auth.test is repeated once a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from adapters.slack.errors import DEAD_TOKEN
from bot.domain.errors import Gone, PlatformError, Refused, Unsettled
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

# How long an auth.test result counts, in seconds: for a valid token, and for a refused one.
VALID_SECONDS, REFUSED_SECONDS = 2.0, 60.0


class TokenSource(Protocol):
    """Provides a workspace's token."""

    @property
    def remedy(self) -> str:
        """Advice for the log on a token that Slack refuses."""
        ...

    async def get(self) -> str:
        """Return the token to send now. Raises a PlatformError if there is none."""
        ...

    async def replaced(self, refused: str) -> bool:
        """Whether another token has since replaced this one, which Slack refused."""
        ...

    def report(self, refusal: str) -> None:
        """Record that auth.test refuses the token with this code, or accepts it again ("")."""
        ...

    @property
    def busy(self) -> bool:
        """Whether the source is writing to its database."""
        ...

    async def aclose(self) -> None:
        """Wait for pending writes."""
        ...


class FixedToken:
    """`TokenSource` for the setting SLACK_BOT_TOKEN."""

    remedy = "the app must be installed again and SLACK_BOT_TOKEN replaced"
    busy = False

    def __init__(self, token: str) -> None:
        self._token = token

    async def get(self) -> str:
        """The token."""
        return self._token

    async def replaced(self, refused: str) -> bool:
        """Always False: the token stays the same while the bot runs."""
        return False

    def report(self, refusal: str) -> None:
        """Do nothing: `TokenVerifier` keeps the refusal."""

    async def aclose(self) -> None:
        """Do nothing: there are no pending writes."""


class TokenVerifier:
    """Watches the token of `source`. `auth_test` calls auth.test and raises a PlatformError.

    `refusal` is the error code with which auth.test refuses the token, or "".
    """

    def __init__(
        self, *, source: TokenSource, auth_test: Callable[[], Awaitable[object]], clock: Clock
    ) -> None:
        self._source, self._auth_test, self._clock = source, auth_test, clock
        self._checked_at = float("-inf")
        self._checking = asyncio.Lock()
        self.refusal = ""

    async def check(self) -> None:
        """Raises Gone while auth.test refuses the token."""
        if self.refusal:
            await self._refresh(REFUSED_SECONDS)
        if self.refusal:
            raise Gone(self.refusal)

    async def verify(self, error: Gone) -> PlatformError:
        """The error to raise for a refused token: `error` if auth.test agrees, else Unsettled."""
        try:
            await self._refresh(VALID_SECONDS)
        except PlatformError as failure:
            return Unsettled(f"Slack refused the token ({error}), and then: {failure}")
        return error if self.refusal else Unsettled(f"Slack refused the token once ({error})")

    async def is_refused(self) -> bool:
        """Whether auth.test refuses the token now. Raises a PlatformError."""
        await self._refresh(0.0)
        return bool(self.refusal)

    async def _refresh(self, max_age: float) -> None:
        async with self._checking:
            if self._clock.monotonic() < self._checked_at + max_age:
                return
            before, self.refusal = self.refusal, await self._fetch_refusal()
            self._checked_at = self._clock.monotonic()
        if self.refusal != before:
            self._source.report(self.refusal)
        if self.refusal and not before:
            log.error(
                "Slack refuses the bot token: nothing can be answered in its workspace until then",
                reason=self.refusal,
                remedy=self._source.remedy,
            )
        elif before and not self.refusal:
            log.info("Slack accepts the bot token again")

    async def _fetch_refusal(self) -> str:
        """The code with which auth.test refuses the token, or "". Raises a PlatformError."""
        try:
            await self._auth_test()
        except (Gone, Refused) as error:
            return error.code if error.code in DEAD_TOKEN else ""
        except PlatformError:
            if not self.refusal:
                raise
            return self.refusal  # still unknown, so nothing changes
        return ""
