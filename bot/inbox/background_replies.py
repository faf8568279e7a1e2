"""Shows replies in the background, so that acknowledgements do not wait for them.

If a reply cannot be shown, it is logged and lost; the person can ask again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog

from bot.domain.errors import PlatformError
from bot.domain.inbox import CommandReply, Incoming
from bot.ports.platform import Adapter

log = structlog.stdlib.get_logger(__name__)

SHOW_SECONDS = 30.0
"""Seconds to show a reply, including waiting for the platform's rate limit."""


MAX_REPLIES = 1_000
"""The most replies in progress at the same time: each refused person in a flood causes one."""


class BackgroundReplies:
    """Shows replies to commands, and explanations to people who may not ask."""

    def __init__(self, adapters: Mapping[str, Adapter]) -> None:
        self._adapters = adapters
        self._tasks: set[asyncio.Task[None]] = set()

    def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Show the reply to a command that arrived as a message."""
        self._start(self._say(incoming, answer))

    def tell(self, incoming: Incoming, sentence: str) -> None:
        """Show `sentence` to the author of a message that is not stored."""
        self._start(self._tell(incoming, sentence))

    async def aclose(self) -> None:
        """Wait for the replies that are being shown."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SHOW_SECONDS)

    def _start(self, showing: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= MAX_REPLIES:
            log.error("a reply is not shown: too many are waiting")
            showing.close()
            return
        task = asyncio.create_task(showing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say(self, incoming: Incoming, answer: CommandReply) -> None:
        try:
            async with asyncio.timeout(SHOW_SECONDS):
                await self._adapters[incoming.key.platform].say(incoming, answer)
        except (PlatformError, TimeoutError) as error:
            log.warning("a command's reply was not shown", error=repr(error))

    async def _tell(self, incoming: Incoming, sentence: str) -> None:
        directory = self._adapters[incoming.key.platform].directory
        try:
            async with asyncio.timeout(SHOW_SECONDS):
                await directory.tell(incoming.key, incoming.author, sentence)
        except (PlatformError, TimeoutError) as error:
            log.warning("a refused person could not be reached", error=repr(error))
