"""Passes the gateway's messages to the core's inbox.

A message is stored before anything else happens to it, and no watermark passes it earlier.
If it cannot be stored, its author may get a notice, and the backfill reads it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import discord
import structlog

from adapters.discord.access import AllowedGuilds
from adapters.discord.backfill import DiscordBackfill
from adapters.discord.channel_posts import ChannelPosts
from adapters.discord.channel_reader import ref_at, ref_of
from adapters.discord.channels import (
    PLATFORM,
    ChannelContext,
    channel_context,
)
from adapters.discord.edits import DiscordEditListener
from adapters.discord.errors import UNKNOWN_MESSAGE
from adapters.discord.events import (
    author_of,
    is_from_other_bot,
    is_from_person,
    name_of,
)
from adapters.discord.history import parse_message, read_raw_message
from adapters.discord.payloads import read_id
from adapters.discord.proxied_messages import Original, ProxiedMessages
from adapters.discord.rest import RestApi
from adapters.discord.shard_backfills import ShardBackfills
from adapters.discord.state import RawMessage
from adapters.discord.translation import MessageTranslator
from bot.catchup.watermark_saver import WatermarkSaver
from bot.domain import texts
from bot.domain.errors import Gone, PlatformError, StoreUnavailable
from bot.domain.inbox import CommandReply, Incoming
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)

CREATED = "MESSAGE_CREATE"
_IDS = ("guild_id", "channel_id", "id")


class MessageListener:
    """Passes one client's messages to `inbox`; `say` replies to a message in its channel."""

    def __init__(
        self,
        *,
        rest: RestApi,
        inbox: Inbox,
        say: Callable[[Incoming, CommandReply], Awaitable[None]],
        watermarks: WatermarkSaver,
        guilds: AllowedGuilds,
    ) -> None:
        self._rest, self._inbox, self._say = rest, inbox, say
        self._watermarks, self._guilds = watermarks, guilds
        self._translator = MessageTranslator(rest=rest, inbox=inbox, guilds=guilds)
        self._proxied = ProxiedMessages()
        self.posts = ChannelPosts(rest)
        self.edits = DiscordEditListener(
            rest=rest,
            inbox=inbox,
            find_context=self._translator.find_context,
            translate=self._translator.translate,
            proxied=self._proxied,
            posts=self.posts,
        )
        self.backfills = ShardBackfills(
            rest=rest,
            saver=watermarks,
            make=partial(
                DiscordBackfill,
                rest=rest,
                inbox=inbox,
                saver=watermarks,
                translate=self._translate_missed,
                edits=self.edits,
            ),
        )
        self._tasks: set[asyncio.Task[object]] = set()

    async def connected(self, shard: int) -> None:
        """Handle a shard's new session: read what was missed and resume unfinished turns."""
        self.posts.restart()
        await self.backfills.start_session(shard)
        await self._inbox.connected(PLATFORM)

    async def waiting(self) -> None:
        """Resume unfinished turns while other processes hold all shards: replying needs no
        shard."""
        await self._inbox.connected(PLATFORM)

    def guild(self, guild: discord.Guild) -> None:
        """Handle a guild that has become available: read what was missed if it may use the bot."""
        backfill = self.backfills.of(guild.id)
        if self._guilds.allows(guild.id):
            if backfill is not None:
                backfill.start_guild(guild)
        else:
            log.warning("ignored: not in DISCORD_GUILDS", guild=guild.id, name=guild.name)

    async def message(self, message: discord.Message) -> None:
        """Accept a message, or have it read again later."""
        self._track()
        ref = ref_of(message)
        self._watermarks.mark_seen(ref, message.id)
        if await self._accept(message):
            self._watermarks.mark_decided(ref, message.id)
        elif backfill := self.backfills.of(ref.workspace):
            backfill.retry(ref, message.id)

    def _track(self) -> None:
        """Make `drain` wait for the current task."""
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` for the messages that are being accepted."""
        others = self._tasks - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=seconds)

    # ── messages that cannot be parsed ────────────────────────────────────────────────────────
    async def unreadable(self, event: str, payload: object) -> None:
        """Handle an `event` that lacks decisive fields by reading its message from REST."""
        self._track()
        client = await self._rest.client()
        guild, channel, message = (read_id(payload, name) for name in _IDS)
        if channel is None or (message is None and event != CREATED):
            return  # the event has been logged
        ref = ref_at(guild, channel)
        try:
            if message is None:
                self._reread(client, guild, channel)
                return
            if event == CREATED:
                self._watermarks.mark_seen(ref, message)
            found = await self._read_again(client, guild, channel, message, payload)
        except Gone as error:
            log.info("a message no longer exists", id=message, error=repr(error))
            found = None
        except PlatformError as error:
            log.warning("a message could not be read again", id=message, error=repr(error))
            if event == CREATED and client.get_channel(channel) is not None:
                self._reread(client, guild, channel)
            return
        if found is None:
            self._watermarks.mark_decided(ref, message or 0)
        elif event == CREATED:
            await self.message(found)
        else:
            await self.edits.edited(found)

    def _reread(self, client: discord.Client, guild: int | None, channel: int) -> None:
        """Read a channel again, unless another process holds its shard and will read it."""
        if backfill := self.backfills.of(guild):
            backfill.reread(client, guild, channel)

    async def _read_again(
        self,
        client: discord.Client,
        guild: int | None,
        channel: int,
        message: int,
        payload: object,
    ) -> discord.Message | None:
        """The message from REST or, if that cannot be parsed either, whatever the event
        contains."""
        raw = await read_raw_message(self._rest, channel, message)
        cached = client.get_channel(channel)
        where: Any = cached or client.get_partial_messageable(channel, guild_id=guild)
        return parse_message(client, where, raw) or parse_message(client, where, payload)

    # ── accepting ─────────────────────────────────────────────────────────────────────────────
    async def _accept(self, message: discord.Message) -> bool:
        """Store a message if it concerns the bot; returns False if it must be read again."""
        await self._note(message)
        if message.webhook_id is not None:
            await self._adopt(message, await self._wait_for_original(message))
            if is_from_person(message):
                await self._note(message)
        if not is_from_person(message):
            return await self._accept_from_other_bot(message)
        self._proxied.remember(message, author_of(message))
        try:
            context = await self._translator.find_context(message.channel)
        except PlatformError as error:
            log.warning("a message's channel is unknown", id=message.id, error=repr(error))
            return isinstance(error, Gone)
        return context is None or await self._accept_in(message, context)

    async def _note(self, message: discord.Message) -> None:
        user = (await self._rest.client()).user
        if user is not None:
            self.posts.note(message, user.id)

    async def _accept_from_other_bot(self, message: discord.Message) -> bool:
        """Accept another bot's message only in a known thread: bots post too often for a request
        each time."""
        user, context = (await self._rest.client()).user, channel_context(message.channel)
        if user is None or context is None or not is_from_other_bot(message, user.id):
            return True
        return await self._accept_in(message, context)

    async def _accept_in(self, message: discord.Message, context: ChannelContext) -> bool:
        try:
            incoming = await self._translator.translate(message, context)
        except StoreUnavailable as error:
            log.error("cannot look up a message's conversation", id=message.id, error=str(error))
            return False
        except PlatformError as error:
            log.warning("cannot accept a message now", id=message.id, error=repr(error))
            return False
        return incoming is None or await self._receive(incoming)

    async def _receive(self, message: Incoming) -> bool:
        """Store a message; if that fails, return False and possibly apologize to its author."""
        try:
            await self._inbox.receive(message)
        except StoreUnavailable as error:
            log.error("a message could not be stored", source=message.source, error=str(error))
            if await self._inbox.apology_due(message):
                await self._apologize(message)
            return False
        return True

    async def _apologize(self, message: Incoming) -> None:
        try:
            await self._say(message, CommandReply(texts.NOT_STORED))
        except PlatformError as error:
            log.warning("could not apologize for a failure", error=repr(error))

    # ── proxied messages ──────────────────────────────────────────────────────────────────────
    async def _wait_for_original(self, message: discord.Message) -> Original | None:
        """Call `ProxiedMessages.wait_for_original`; `drain` does not wait for it."""
        task = asyncio.current_task()
        self._tasks -= {task}
        original = await self._proxied.wait_for_original(message)
        if task is not None:
            self._tasks.add(task)
        return original

    async def _adopt(self, message: discord.Message, original: Original | None) -> None:
        """Attribute a webhook's message to the original's author."""
        if original is None or not isinstance(message, RawMessage):
            return
        message.persona = replace(original.author, name=name_of(message))
        await self.edits.replaced(message.guild.id if message.guild else None, original)

    async def _translate_missed(
        self, message: discord.Message, context: ChannelContext
    ) -> Incoming | None:
        """Translate a missed message; the deletion of its original may have been missed too."""
        original = self._proxied.match(message) if message.webhook_id is not None else None
        if original is not None and await self._is_deleted(original):
            original.replaced = True
            await self._adopt(message, original)
        return await self._translator.translate(message, context)

    async def _is_deleted(self, original: Original) -> bool:
        try:
            await read_raw_message(self._rest, original.channel, original.id)
        except Gone as error:
            return error.code == UNKNOWN_MESSAGE
        return False
