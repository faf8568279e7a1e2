"""What people change afterwards, from the gateway's raw events into the core's inbox.

Discord sends MESSAGE_UPDATE for previews, pins and threads too: an edit is one of a person's
message with the time of an edit; whether its text is another one, the database knows. What the bot
itself edits and deletes comes back as well, and is known for that without asking anybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import discord
import structlog

from adapters.discord import rest as w
from adapters.discord.events import (
    DIRECT_MESSAGES,
    PLATFORM,
    SPOKEN,
    ChannelContext,
    is_spoken,
    name_of,
)
from adapters.discord.history import read_page
from adapters.discord.proxied import Original, Proxied
from adapters.discord.rest import RestApi, code_of
from adapters.discord.state import Message
from bot.common.retry import retry_while_unavailable
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, PlatformError
from bot.domain.inbox import Address, Incoming
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)

# Edits that may wait for the database, each some kilobytes: a busy guild sends one a second.
MOST_WAITING = 1_000
# Taking a reply back takes a second or two; a busy account needs longer.
ARCHIVE_LOOKS, ARCHIVE_PAUSE = 15, 1.0
NO_ACCESS = 50001


class EditListener:
    """Takes changes of one client to `inbox`.

    `place` says where a channel is, `understood` what a message means to the core.
    """

    def __init__(
        self,
        *,
        wire: RestApi,
        inbox: Inbox,
        place: Callable[[object], Awaitable[ChannelContext | None]],
        understood: Callable[
            [discord.Message, ChannelContext, Address | None], Awaitable[Incoming | None]
        ],
        proxied: Proxied,
    ) -> None:
        self._proxied = proxied
        self._wire, self._inbox = wire, inbox
        self._place, self._understood = place, understood
        self._waiting = 0

    async def edited(self, message: discord.Message) -> None:
        """A message was updated."""
        if message.edited_at is None or not (is_spoken(message) or message.webhook_id is not None):
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

    async def _keep_edit(self, message: discord.Message, place: ChannelContext) -> None:
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
            await retry_while_unavailable(change, self._wire.clock.sleep)
        finally:
            self._waiting -= 1

    async def _edited(self, message: discord.Message, place: ChannelContext) -> Incoming | None:
        """What it says now; also where the mention was edited out of a message that is stored."""
        known = await self._inbox.conversation_of(place.source(message.id))
        if not is_spoken(message) and not await self._adopt(message, known):
            return None
        return await self._understood(message, place, None if known is None else Address.FOLLOW_UP)

    async def _adopt(self, message: discord.Message, known: ConversationKey | None) -> bool:
        """Whether a webhook's message was taken for a person's: then it is stored."""
        me = (await self._wire.client()).user
        ours = me is None or message.author.id == me.id
        if ours or known is None or not isinstance(message, Message):
            return False
        message.persona = Author(str(message.author.id), name_of(message))
        return True

    async def deleted(self, guild: int | None, channel: int, messages: Iterable[int]) -> None:
        """Messages were deleted, by whomever."""
        for message in messages:
            if str(message) in self._wire.own_deletions:
                continue
            if self._proxied.deleted(message):
                continue  # a webhook's message takes its place: see `replaced`
            source = f"{PLATFORM}/{_guild(guild)}/{channel}/{message}"
            await self._kept(partial(self._inbox.deleted, source))

    async def replaced(self, guild: int | None, original: Original) -> None:
        """A webhook repeats what a person wrote: the reply to it goes, with its thread."""
        source = f"{PLATFORM}/{_guild(guild)}/{original.channel}/{original.id}"
        await self._kept(partial(self._inbox.replaced, source))
        try:
            await self._remove_thread(original.id)
        except PlatformError as error:
            log.warning("a thread was not removed", id=original.id, error=repr(error))

    async def _remove_thread(self, thread: int) -> None:
        """Delete or archive the thread on a deleted message, unless people spoke in it."""
        client = await self._wire.client()
        found, me = client.get_channel(thread), client.user
        if me is None or not isinstance(found, discord.Thread) or found.owner_id != me.id:
            return
        if any(is_spoken(message) for message in await self._look_into(client, thread)):
            return
        try:
            await self._wire.ask(w.at("removal", thread), lambda c: c.http.delete_channel(thread))
        except Gone as error:
            if code_of(error) in (w.NO_PERMISSION, NO_ACCESS):
                await self._archive(client, thread, me.id)

    async def _look_into(self, client: discord.Client, thread: int) -> Sequence[discord.Message]:
        where = client.get_partial_messageable(thread)
        return (await read_page(self._wire, where, thread)).messages

    async def _archive(self, client: discord.Client, thread: int, me: int) -> None:
        """Only managers may delete a thread; it goes out of sight once our reply is out of it."""
        for _ in range(ARCHIVE_LOOKS):
            left = await self._look_into(client, thread)
            if not any(m.author.id == me and m.type in SPOKEN for m in left):
                break
            await self._wire.clock.sleep(ARCHIVE_PAUSE)
        await self._wire.ask(
            w.at("change", thread), lambda c: c.http.edit_channel(thread, archived=True)
        )

    async def gone(self, guild: int, channel: int | None = None, thread: int | None = None) -> None:
        """A thread, a channel, or the bot's place in a guild is no more."""
        key = ConversationKey(PLATFORM, str(guild), str(channel or ""), str(thread or ""))
        await self._inbox.gone(key)


def _guild(guild: int | None) -> str:
    return DIRECT_MESSAGES if guild is None else str(guild)
