"""What the gateway tells, message by message, into the core's inbox.

A message is stored before anything is made of it; one that could not be stored is said to be so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import discord
import structlog

from adapters.discord import wire as w
from adapters.discord.events import (
    PLATFORM,
    Kind,
    Me,
    Place,
    address_of,
    answers_us,
    incoming,
    is_spoken,
    me_in,
    place_of,
    resolved_starter,
)
from adapters.discord.wire import Wire, translated
from bot import texts
from bot.domain import Address, Answer, ConversationKey, Incoming
from bot.errors import PlatformError, StoreUnavailable
from bot.ports import Inbox

log = structlog.stdlib.get_logger(__name__)

BACKLOG = 100  # messages: what one request gives


class Listener:
    """Takes messages of one client to `inbox`; `say` answers where a message was written."""

    def __init__(
        self,
        *,
        wire: Wire,
        inbox: Inbox,
        say: Callable[[Incoming, Answer], Awaitable[None]],
    ) -> None:
        self._wire, self._inbox, self._say = wire, inbox, say
        self._at_work: set[asyncio.Task[object]] = set()

    async def connected(self) -> None:
        """A new session has begun."""
        await self._inbox.connected(PLATFORM)

    async def message(self, message: discord.Message, user: int) -> None:
        """Take in one message; `user` is the bot's own id."""
        task = asyncio.current_task()
        if task is not None:
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)
        if not is_spoken(message):
            return
        place = await self._place(message.channel)
        if place is None:
            return
        me = me_in(message, user)
        address = address_of(message, place, me)
        if address is not None:
            key = await self._chain(message, place, me)
            await self._receive(incoming(message, place, me, address, key))

    async def done_within(self, seconds: float) -> None:
        """Wait for the messages that are being taken in."""
        others = self._at_work - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=seconds)

    async def _receive(self, message: Incoming) -> None:
        try:
            await self._inbox.receive(message)
        except StoreUnavailable as error:
            log.error("a message could not be stored", source=message.source, error=str(error))
            if message.address.begins:
                await self._apologise(message)

    async def _apologise(self, message: Incoming) -> None:
        try:
            await self._say(message, Answer(texts.STORE_DOWN))
        except PlatformError as error:
            log.warning("the failure could not be told", error=repr(error))

    async def _place(self, channel: object) -> Place | None:
        """Where a message was written; a thread that is not in the cache is fetched."""
        place = place_of(channel)
        if place is not None or not isinstance(channel, discord.PartialMessageable):
            return place
        await self._wire.grants.spend(w.GLOBAL)
        client = await self._wire.client()
        try:
            return place_of(await translated(client.fetch_channel(channel.id)))
        except PlatformError as error:
            log.warning("a message's channel is not known", channel=channel.id, error=repr(error))
            return None

    async def _chain(
        self, message: discord.Message, place: Place, me: Me
    ) -> ConversationKey | None:
        """The conversation that a reply to one of our messages in a channel goes on with."""
        answered = answers_us(message, me)
        if answered is None or place.kind in (Kind.THREAD, Kind.DIRECT):
            return None
        return await self._inbox.conversation_of(place.source(answered))

    # ── what was said before ──────────────────────────────────────────────────────────────────
    async def backlog(self, question: Incoming) -> Sequence[Incoming]:
        """Up to a hundred messages before `question` in its thread, oldest first; one request."""
        await self._wire.grants.spend(w.GLOBAL)
        client = await self._wire.client()
        channel = client.get_channel(int(question.channel)) or await translated(
            client.fetch_channel(int(question.channel))
        )
        place = place_of(channel)
        if place is None or not isinstance(channel, discord.Thread) or client.user is None:
            return ()
        before = discord.Object(int(question.message_id))
        newest_first = await translated(_listed(channel, before))
        user = client.user.id
        found = (_said_before(message, place, user) for message in reversed(newest_first))
        return [entry for entry in found if entry is not None]


async def _listed(thread: discord.Thread, before: discord.Object) -> list[discord.Message]:
    return [message async for message in thread.history(limit=BACKLOG, before=before)]


def _said_before(message: discord.Message, place: Place, user: int) -> Incoming | None:
    """A person's message of an old thread; the message that the thread was started on is one."""
    starter = resolved_starter(message)
    if starter is not None:
        message = starter
    if not is_spoken(message):
        return None
    entry = incoming(message, place, me_in(message, user), Address.FOLLOW_UP)
    if starter is None:
        return entry
    return replace(entry, channel=place.channel)
