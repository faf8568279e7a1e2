"""What the gateway tells, message by message, into the core's inbox.

A message is stored before anything is made of it, and no watermark passes it before that; one that
could not be stored is said to be so, or brought again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import discord
import structlog

from adapters.discord.access import Servers
from adapters.discord.backfill import Gap, spot_of
from adapters.discord.edits import EditListener
from adapters.discord.events import (
    DIRECT_MESSAGES,
    PLATFORM,
    ChannelContext,
    Kind,
    Me,
    address_of,
    answers_us,
    author_of,
    incoming,
    is_spoken,
    me_in,
    name_of,
    place_of,
    resolved_starter,
    said,
)
from adapters.discord.history import message_of, read_page, read_raw_message
from adapters.discord.payloads import identity
from adapters.discord.places import read_place
from adapters.discord.proxied import Original, Proxied
from adapters.discord.rest import UNKNOWN_MESSAGE, RestApi, code_of
from adapters.discord.state import Message
from bot.catchup.backfill import WatermarkSaver
from bot.catchup.watermarks import ChannelRef
from bot.domain import texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone, PlatformError, StoreUnavailable
from bot.domain.inbox import Address, CommandReply, Incoming
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)

CREATED = "MESSAGE_CREATE"
_IDS = ("channel_id", "id")


class Listener:
    """Takes messages of one client to `inbox`; `say` answers where a message was written."""

    def __init__(
        self,
        *,
        wire: RestApi,
        inbox: Inbox,
        say: Callable[[Incoming, CommandReply], Awaitable[None]],
        keeper: WatermarkSaver,
        servers: Servers,
    ) -> None:
        self._wire, self._inbox, self._say = wire, inbox, say
        self._keeper, self._servers = keeper, servers
        self._proxied = Proxied()
        self.changes = EditListener(
            wire=wire,
            inbox=inbox,
            place=self._place,
            understood=self.understood,
            proxied=self._proxied,
        )
        self.gap = Gap(
            wire=wire,
            inbox=inbox,
            keeper=keeper,
            understood=self._understood_later,
            changes=self.changes,
            take=self.message,
        )
        self._at_work: set[asyncio.Task[object]] = set()

    async def connected(self) -> None:
        """A new session has begun: go on with what was begun, and read what was missed."""
        await self.gap.session()
        await self._inbox.connected(PLATFORM)

    def guild(self, guild: discord.Guild) -> None:
        """A guild is there: read what was missed, if it may use the bot."""
        if self._servers.serve(guild.id):
            self.gap.guild(guild)
        else:
            log.warning("ignored: not in DISCORD_GUILDS", guild=guild.id, name=guild.name)

    async def message(self, message: discord.Message) -> None:
        """Take in one message."""
        self._track()
        spot = spot_of(message)
        self._keeper.seen(spot, message.id)
        if await self._taken_in(message):
            self._keeper.decided(spot, message.id)
        else:
            self.gap.again(message)

    def _track(self) -> None:
        """The running task takes something in: see `done_within`."""
        task = asyncio.current_task()
        if task is not None:
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    async def lost(self, event: str, payload: object) -> None:
        """A message came in a form that leaves open what it is: read it again, through REST."""
        self._track()
        client = await self._wire.client()
        guild, channel, message = (identity(payload, name) for name in ("guild_id", *_IDS))
        if channel is None or (message is None and event != CREATED):
            return  # it is in the log
        try:
            if message is None:
                await self.gap.read_again(client, guild, channel)
                return
            if event == CREATED:
                self._keeper.seen(ChannelRef(str(guild or DIRECT_MESSAGES), str(channel)), message)
            found = await self._read_again(client, guild, channel, message, payload)
        except Gone as error:
            log.info("a message is not there any more", id=message, error=repr(error))
            found = None
        except PlatformError as error:
            log.warning("a message could not be read again", id=message, error=repr(error))
            if event == CREATED and client.get_channel(channel) is not None:
                await self.gap.read_again(client, guild, channel)
            return
        if found is None:
            self._keeper.decided(
                ChannelRef(str(guild or DIRECT_MESSAGES), str(channel)), message or 0
            )
        elif event == CREATED:
            await self.message(found)
        else:
            await self.changes.edited(found)

    async def _read_again(
        self,
        client: discord.Client,
        guild: int | None,
        channel: int,
        message: int,
        payload: object,
    ) -> discord.Message | None:
        """The message as REST has it; where that cannot be read either, what is clear of it."""
        raw = await read_raw_message(self._wire, channel, message)
        known = client.get_channel(channel)
        where: Any = known or client.get_partial_messageable(channel, guild_id=guild)
        return message_of(client, where, raw) or message_of(client, where, payload)

    async def _taken_in(self, message: discord.Message) -> bool:
        """Whether it was accepted, or is of no use."""
        if message.webhook_id is not None:
            await self._adopt(message, await self._original_of(message))
        if not is_spoken(message):
            return True
        self._proxied.wrote(message, author_of(message))
        try:
            place = await self._place(message.channel)
        except PlatformError as error:
            log.warning("a message's channel is not known", id=message.id, error=repr(error))
            return isinstance(error, Gone)
        try:
            understood = await self.understood(message, place) if place is not None else None
        except StoreUnavailable as error:
            log.error("a message's conversation cannot be read", id=message.id, error=str(error))
            return False
        except PlatformError as error:
            log.warning("a message cannot be taken in now", id=message.id, error=repr(error))
            return False
        return understood is None or await self._receive(understood)

    async def _original_of(self, message: discord.Message) -> Original | None:
        """As `Proxied.original_of`; who stops us does not wait for a deletion that may not come."""
        task = asyncio.current_task()
        self._at_work -= {task}
        original = await self._proxied.original_of(message)
        if task is not None:
            self._at_work.add(task)
        return original

    async def _adopt(self, message: discord.Message, original: Original | None) -> None:
        """A webhook's message that takes the place of `original` is that person's from now on."""
        if original is None or not isinstance(message, Message):
            return
        message.persona = replace(original.author, name=name_of(message))
        await self.changes.replaced(message.guild.id if message.guild else None, original)

    async def _understood_later(
        self, message: discord.Message, place: ChannelContext
    ) -> Incoming | None:
        """As `understood`, of a message that was missed, and perhaps its original's deletion."""
        original = self._proxied.match(message) if message.webhook_id is not None else None
        if original is not None and await self._is_deleted(original):
            original.taken = True
            await self._adopt(message, original)
        return await self.understood(message, place)

    async def _is_deleted(self, original: Original) -> bool:
        try:
            await read_raw_message(self._wire, original.channel, original.id)
        except Gone as error:
            return code_of(error) == UNKNOWN_MESSAGE
        return False

    async def understood(
        self, message: discord.Message, place: ChannelContext, otherwise: Address | None = None
    ) -> Incoming | None:
        """A message as the core knows it; None when it is none of our business.

        `otherwise` is how one that does not address the bot counts, if it is to count.
        """
        user = (await self._wire.client()).user
        if user is None or not is_spoken(message):
            return None
        me = me_in(message, user.id)
        address = address_of(message, place, me) or otherwise
        if address is None:
            return None
        if not await self._servers.serve_person(place.guild, message.author.id):
            return None
        return incoming(message, place, me, address, await self._chain(message, place, me))

    async def done_within(self, seconds: float) -> None:
        """Wait for the messages that are being taken in."""
        others = self._at_work - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=seconds)

    async def _receive(self, message: Incoming) -> bool:
        """Whether it was accepted; when it was not, its author may be told, and it comes again."""
        try:
            await self._inbox.receive(message)
        except StoreUnavailable as error:
            log.error("a message could not be stored", source=message.source, error=str(error))
            if await self._inbox.apology_due(message):
                await self._apologise(message)
            return False
        return True

    async def _apologise(self, message: Incoming) -> None:
        try:
            await self._say(message, CommandReply(texts.NOT_STORED))
        except PlatformError as error:
            log.warning("the failure could not be told", error=repr(error))

    async def _place(self, channel: object) -> ChannelContext | None:
        """Where a message was written; a thread that is not in the cache is fetched.

        Raises a PlatformError when that fails.
        """
        place = place_of(channel)
        if place is not None or not isinstance(channel, discord.PartialMessageable):
            return place
        return await read_place(self._wire, channel.id)

    async def _chain(
        self, message: discord.Message, place: ChannelContext, me: Me
    ) -> ConversationKey | None:
        """The conversation that a reply to one of our messages in a channel goes on with."""
        answered = answers_us(message, me)
        if answered is None or place.kind in (Kind.THREAD, Kind.DIRECT):
            return None
        return await self._inbox.conversation_of(place.source(answered))

    # ── what was said before ──────────────────────────────────────────────────────────────────
    async def backlog(self, question: Incoming) -> Sequence[Incoming]:
        """Up to a hundred messages before `question` in its thread, oldest first; one request."""
        client, thread = await self._wire.client(), int(question.channel)
        place = place_of(client.get_channel(thread)) or await read_place(self._wire, thread)
        if place is None or place.kind is not Kind.THREAD or client.user is None:
            return ()
        guild = int(question.key.workspace)
        channel = client.get_partial_messageable(thread, guild_id=guild)
        page = await read_page(self._wire, channel, thread, before=int(question.message_id))
        user = client.user.id
        found = (_read_before(message, place, user) for message in page.messages)
        return [entry for entry in found if entry is not None]


def _read_before(message: discord.Message, place: ChannelContext, user: int) -> Incoming | None:
    try:
        return _said_before(message, place, user)
    except Exception as error:  # noqa: BLE001
        # A message's boundary: whatever is odd in it, the others are history.
        log.error("an old message cannot be read", id=message.id, error=repr(error))
        return None


def _said_before(message: discord.Message, place: ChannelContext, user: int) -> Incoming | None:
    """A person's message of an old thread, or what the thread was started on, by anybody."""
    me, starter = me_in(message, user), resolved_starter(message)
    if starter is not None:
        entry = incoming(starter, place, me, Address.FOLLOW_UP)
        return replace(entry, channel=place.channel, text=said(starter, place, me))
    if not is_spoken(message):
        return None
    entry = incoming(message, place, me, Address.FOLLOW_UP)
    return replace(entry, text=entry.text or said(message, place, me))
