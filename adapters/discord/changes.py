"""What people change afterwards, from the gateway's raw events into the core's inbox.

Discord sends MESSAGE_UPDATE for previews, pins and threads too: an edit is one of a person's
message with the time of an edit; whether its text is another one, the database knows. What the bot
itself edits and deletes comes back as well, and is known for that without asking anybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import discord
import structlog

from adapters.discord.events import DIRECT_MESSAGES, PLATFORM, Place, is_spoken
from adapters.discord.wire import Wire
from bot.domain import Address, ConversationKey, Incoming
from bot.errors import PlatformError, StoreUnavailable
from bot.ports import Inbox

log = structlog.stdlib.get_logger(__name__)


class Changes:
    """Takes changes of one client to `inbox`.

    `place` says where a channel is, `understood` what a message means to the core.
    """

    def __init__(
        self,
        *,
        wire: Wire,
        inbox: Inbox,
        place: Callable[[object], Awaitable[Place | None]],
        understood: Callable[[discord.Message, Place, Address | None], Awaitable[Incoming | None]],
    ) -> None:
        self._wire, self._inbox = wire, inbox
        self._place, self._understood = place, understood

    async def edited(self, message: discord.Message) -> None:
        """A message was updated."""
        if message.edited_at is None or not is_spoken(message):
            return
        try:
            place = await self._place(message.channel)
            incoming = await self._edited(message, place) if place is not None else None
            if incoming is not None:
                await self._inbox.edited(incoming, message.edited_at.timestamp())
        except (PlatformError, StoreUnavailable) as error:
            log.error("an edit could not be kept", id=message.id, error=repr(error))

    async def _edited(self, message: discord.Message, place: Place) -> Incoming | None:
        """What it says now; also where the mention was edited out of a message that is stored."""
        known = await self._inbox.conversation_of(place.source(message.id))
        return await self._understood(message, place, None if known is None else Address.FOLLOW_UP)

    async def deleted(self, guild: int | None, channel: int, messages: Iterable[int]) -> None:
        """Messages were deleted, by whomever."""
        for message in messages:
            if str(message) in self._wire.own_deletions:
                continue
            try:
                await self._inbox.deleted(f"{PLATFORM}/{_guild(guild)}/{channel}/{message}")
            except StoreUnavailable as error:
                log.error("a deletion could not be kept", id=message, error=repr(error))

    async def gone(self, guild: int, channel: int | None = None, thread: int | None = None) -> None:
        """A thread, a channel, or the bot's place in a guild is no more."""
        key = ConversationKey(PLATFORM, str(guild), str(channel or ""), str(thread or ""))
        await self._inbox.gone(key)


def _guild(guild: int | None) -> str:
    return DIRECT_MESSAGES if guild is None else str(guild)
