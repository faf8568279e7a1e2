"""Discord's typing indicator, shown until a reply's first text."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import discord
import structlog

from adapters.discord.rest import RestApi, typing_scopes
from bot.domain.errors import PlatformError
from bot.domain.replies import Priority

log = structlog.stdlib.get_logger(__name__)

REPEAT_SECONDS = 8.0  # documented: Discord shows the indicator for ten seconds


class TypingIndicator:
    """Types in `channel()` while `wanted()`."""

    def __init__(
        self, rest: RestApi, *, channel: Callable[[], str], wanted: Callable[[], bool]
    ) -> None:
        self._rest, self._channel, self._wanted = rest, channel, wanted
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Type until the indicator is no longer wanted, or until `stop`."""
        if self._task is None:
            self._task = asyncio.create_task(self._repeat(), name="typing")

    async def stop(self) -> None:
        """Stop typing; Discord hides the indicator with the next message or after ten seconds."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _repeat(self) -> None:
        try:
            while self._wanted():
                scopes = typing_scopes(self._channel())
                await self._rest.request(scopes, self._send, priority=Priority.BACKGROUND)
                await self._rest.clock.sleep(REPEAT_SECONDS)
        except PlatformError as error:
            log.debug("typing was not shown", error=repr(error))

    async def _send(self, client: discord.Client) -> None:
        if self._wanted():  # it may have waited for the rate limiter
            await client.http.send_typing(int(self._channel()))
