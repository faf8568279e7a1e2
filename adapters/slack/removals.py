"""Removes what a reply left in Slack: now if possible, otherwise later.

The end of a turn never waits for such a removal: one that fails is recorded before the turn ends,
and `bot.catchup.leftovers` repeats it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from adapters.slack.api import WebApi
from adapters.slack.rate_limits import DELETIONS, FILE_DELETIONS
from bot.catchup.leftovers import Leftovers
from bot.domain.conversations import Conversation
from bot.domain.errors import PlatformError
from bot.domain.leftovers import Leftover, LeftoverKind

log = structlog.stdlib.get_logger(__name__)

REMOVAL_SECONDS = 10.0  # how long a removal may take, with the wait for the rate limit, in seconds
ALREADY_GONE = frozenset({"message_not_found", "file_not_found", "file_deleted"})


class SlackRemovals:
    """Removes the messages and files left by one reply in `conversation`."""

    def __init__(self, api: WebApi, leftovers: Leftovers, conversation: Conversation) -> None:
        self._api, self._leftovers, self._conversation = api, leftovers, conversation

    async def remove_message(self, ts: str) -> None:
        """Delete a misplaced or duplicate message."""
        await self._try(LeftoverKind.MESSAGE, ts)

    async def remove_file(self, file_id: str) -> None:
        """Delete the file of a removed message."""
        await self._try(LeftoverKind.FILE, file_id)

    @asynccontextmanager
    async def remove_file_after(self, file_id: str) -> AsyncIterator[None]:
        """Wrap the deletion of a file's message, then delete the file.

        The file is recorded first, because no trace of it remains once its message is gone.
        """
        leftover, is_over = self._leftover(LeftoverKind.FILE, file_id), False
        await self._leftovers.record(leftover)
        try:
            try:
                yield
            except PlatformError:  # the message may be kept after all
                is_over = True
                raise
            is_over = await self._send(leftover)
        finally:
            if is_over:
                await self._leftovers.settle(leftover)
            else:
                self._leftovers.release(leftover)

    async def left_messages(self) -> frozenset[str]:
        """The messages recorded as leftovers. Raises StoreUnavailable."""
        return await self._leftovers.messages_of(self._conversation.id)

    def _leftover(self, kind: LeftoverKind, name: str) -> Leftover:
        return Leftover(self._conversation.id, kind, self._conversation.key.channel, name)

    async def _try(self, kind: LeftoverKind, name: str) -> None:
        leftover = self._leftover(kind, name)
        if not await self._send(leftover):
            await self._leftovers.leave(leftover)

    async def _send(self, leftover: Leftover) -> bool:
        try:
            async with asyncio.timeout(REMOVAL_SECONDS):
                await send_removal(self._api, leftover)
        except (PlatformError, TimeoutError) as error:
            kind, name = leftover.kind.value, leftover.name
            log.warning("could not remove", kind=kind, name=name, error=repr(error))
            return False
        return True


async def send_removal(api: WebApi, leftover: Leftover) -> None:
    """Delete a message or a file. Raises a PlatformError."""
    try:
        if leftover.kind is LeftoverKind.MESSAGE:
            await api.write_paced(DELETIONS, channel=leftover.channel, ts=leftover.name)
        elif leftover.kind is LeftoverKind.FILE:
            await api.write_paced(FILE_DELETIONS, file=leftover.name)
    except PlatformError as error:
        if error.code not in ALREADY_GONE:
            raise
