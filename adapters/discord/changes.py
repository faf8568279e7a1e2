"""What people change afterwards, from the gateway's raw events into the core's inbox.

Discord sends MESSAGE_UPDATE for previews, pins and threads too: an edit is one of a person's
message with the time of an edit; whether its text is another one, the database knows. What the bot
itself edits and deletes comes back as well, and is known for that without asking anybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import discord
import structlog

from adapters.discord.events import DIRECT_MESSAGES, PLATFORM, Place, is_spoken
from adapters.discord.wire import Wire
from bot.domain import Address, ConversationKey, Incoming
from bot.errors import PlatformError
from bot.persistence import until_stored
from bot.ports import Inbox

log = structlog.stdlib.get_logger(__name__)

# Changes that wait for the database at once, each some kilobytes: a busy guild sends one a second.
MOST_WAITING = 1_000


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
        self._waiting = 0

    async def edited(self, message: discord.Message) -> None:
        """A message was updated."""
        if message.edited_at is None or not is_spoken(message):
            return
        try:
            await self._take_edit(message)
        except PlatformError as error:  # Discord tells it once
            log.warning("an edit is kept later", id=message.id, error=repr(error))
            self._wire.upkeep.add(f"an edit of {message.id}", partial(self._take_edit, message))

    async def _take_edit(self, message: discord.Message) -> None:
        place = await self._place(message.channel)
        if place is not None:
            await self._kept(partial(self._keep_edit, message, place))

    async def _keep_edit(self, message: discord.Message, place: Place) -> None:
        incoming = await self._edited(message, place)
        if incoming is not None and message.edited_at is not None:
            await self._inbox.edited(incoming, message.edited_at.timestamp())

    async def _kept(self, change: Callable[[], Awaitable[None]]) -> None:
        """Discord tells a change once: a database that fails is waited for, by so many at most."""
        if self._waiting >= MOST_WAITING:
            log.error("a change could not be kept: too many wait for the database")
            return
        self._waiting += 1
        try:
            await until_stored(change, self._wire.clock.sleep)
        finally:
            self._waiting -= 1

    async def _edited(self, message: discord.Message, place: Place) -> Incoming | None:
        """What it says now; also where the mention was edited out of a message that is stored."""
        known = await self._inbox.conversation_of(place.source(message.id))
        return await self._understood(message, place, None if known is None else Address.FOLLOW_UP)

    async def deleted(self, guild: int | None, channel: int, messages: Iterable[int]) -> None:
        """Messages were deleted, by whomever."""
        for message in messages:
            if str(message) in self._wire.own_deletions:
                continue
            source = f"{PLATFORM}/{_guild(guild)}/{channel}/{message}"
            await self._kept(partial(self._inbox.deleted, source))

    async def gone(self, guild: int, channel: int | None = None, thread: int | None = None) -> None:
        """A thread, a channel, or the bot's place in a guild is no more."""
        key = ConversationKey(PLATFORM, str(guild), str(channel or ""), str(thread or ""))
        await self._inbox.gone(key)


def _guild(guild: int | None) -> str:
    return DIRECT_MESSAGES if guild is None else str(guild)
