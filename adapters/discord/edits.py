"""Passes edits and deletions from the gateway's raw events to the core's inbox.

Discord also sends MESSAGE_UPDATE for previews, pins and threads. Here, an edit is an update with an
edit time to another user's message; the store decides whether the message changed. The bot
recognizes events that it caused without a request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import discord
import structlog

from adapters.discord.channel_posts import ChannelPosts
from adapters.discord.channels import (
    DIRECT_MESSAGES,
    PLATFORM,
    ChannelContext,
    channel_context,
)
from adapters.discord.errors import NO_ACCESS, NO_PERMISSION
from adapters.discord.events import (
    BOT_MESSAGE_TYPES,
    USER_MESSAGE_TYPES,
    is_from_person,
    name_of,
)
from adapters.discord.history import read_page
from adapters.discord.proxied_messages import Original, ProxiedMessages
from adapters.discord.rest import RestApi, request_scopes
from adapters.discord.state import RawMessage
from bot.common.retry import retry_while_unavailable
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, PlatformError
from bot.domain.inbox import Address, Incoming
from bot.ports.inbox import MessageInbox

log = structlog.stdlib.get_logger(__name__)

# Changes that may wait for the database, each a few kilobytes; a busy guild sends one a second.
MAX_WAITING = 1_000
# Removing a reply takes a second or two, longer while the account is busy.
ARCHIVE_CHECKS, ARCHIVE_CHECK_SECONDS = 15, 1.0


class DiscordEditListener:
    """Passes one client's edits and deletions to `inbox`.

    `find_context` returns the context of a channel, `translate` a message as the core knows it;
    `posts` remembers other bots' posts.
    """

    def __init__(
        self,
        *,
        rest: RestApi,
        inbox: MessageInbox,
        find_context: Callable[[object], Awaitable[ChannelContext | None]],
        translate: Callable[
            [discord.Message, ChannelContext, Address | None], Awaitable[Incoming | None]
        ],
        proxied: ProxiedMessages,
        posts: ChannelPosts,
    ) -> None:
        self._proxied, self._posts = proxied, posts
        self._rest, self._inbox = rest, inbox
        self._find_context, self._translate = find_context, translate
        self._waiting = 0

    async def edited(self, message: discord.Message) -> None:
        """Handle an updated message."""
        self._posts.edited(message)
        me = (await self._rest.client()).user
        is_own = me is None or message.author.id == me.id  # a streamed reply has many edits
        if message.edited_at is None or is_own or message.type not in BOT_MESSAGE_TYPES:
            return
        if message.author.bot and message.webhook_id is None and _is_uncached(message):
            return  # a bot may edit every second: no request for each
        try:
            await self._accept_edit(message)
        except PlatformError as error:  # Discord sends the event only once
            log.warning("an edit will be stored later", id=message.id, error=repr(error))
            self._rest.background.add(
                f"an edit of {message.id}", partial(self._accept_edit, message)
            )

    async def _accept_edit(self, message: discord.Message) -> None:
        context = await self._find_context(message.channel)
        if context is not None:
            await self._store(partial(self._store_edit, message, context))

    async def _store_edit(self, message: discord.Message, context: ChannelContext) -> None:
        incoming = await self._translate_edit(message, context)
        if incoming is not None and message.edited_at is not None:
            await self._inbox.edited(incoming, message.edited_at.timestamp())

    async def _store(self, change: Callable[[], Awaitable[None]]) -> None:
        """Retry `change` while the database fails; drop it if too many changes wait already."""
        if self._waiting >= MAX_WAITING:
            log.error("dropped a change: too many are waiting for the database")
            return
        self._waiting += 1
        try:
            await retry_while_unavailable(change, self._rest.clock.sleep)
        finally:
            self._waiting -= 1

    async def _translate_edit(
        self, message: discord.Message, context: ChannelContext
    ) -> Incoming | None:
        """The message's new version, even if the edit removed the mention of the bot."""
        known = await self._inbox.conversation_of(context.source(message.id))
        if known is None:
            return await self._translate(message, context, None)
        if is_from_person(message) or not isinstance(message, RawMessage):
            return await self._translate(message, context, Address.FOLLOW_UP)
        # A webhook's or bot's stored message may stand for a person, whom the store knows.
        message.persona = Author(str(message.author.id), name_of(message))
        incoming = await self._translate(message, context, Address.FOLLOW_UP)
        return None if incoming is None else replace(incoming, from_bot=True)

    async def deleted(self, guild: int | None, channel: int, messages: Iterable[int]) -> None:
        """Handle messages deleted by anyone."""
        messages = tuple(messages)
        self._posts.deleted(channel, messages)
        for message in messages:
            if str(message) in self._rest.own_deletions:
                continue
            if self._proxied.mark_deleted(message):
                continue  # a webhook's message replaces it: see `replaced`
            source = f"{PLATFORM}/{_workspace(guild)}/{channel}/{message}"
            await self._store(partial(self._inbox.deleted, source))

    async def replaced(self, guild: int | None, original: Original) -> None:
        """Handle a webhook's copy of a user's message: remove the reply to it and its thread."""
        source = f"{PLATFORM}/{_workspace(guild)}/{original.channel}/{original.id}"
        await self._store(partial(self._inbox.replaced, source))
        try:
            await self._remove_thread(original.id)
        except PlatformError as error:
            log.warning("a thread was not removed", id=original.id, error=repr(error))

    async def _remove_thread(self, thread: int) -> None:
        """Delete or archive a deleted message's thread, unless people wrote in it."""
        client = await self._rest.client()
        found, me = client.get_channel(thread), client.user
        if me is None or not isinstance(found, discord.Thread) or found.owner_id != me.id:
            return
        if any(is_from_person(message) for message in await self._messages_in(client, thread)):
            return
        try:
            await self._rest.request(
                request_scopes("delete-channel", thread), lambda c: c.http.delete_channel(thread)
            )
        except Gone as error:
            if error.code in (NO_PERMISSION, NO_ACCESS):
                await self._archive(client, thread, me.id)

    async def _messages_in(self, client: discord.Client, thread: int) -> Sequence[discord.Message]:
        channel = client.get_partial_messageable(thread)
        return (await read_page(self._rest, channel, thread)).messages

    async def _archive(self, client: discord.Client, thread: int, me: int) -> None:
        """Archive the thread, which hides it, once the bot's reply has been removed from it."""
        for _ in range(ARCHIVE_CHECKS):
            messages = await self._messages_in(client, thread)
            if not any(m.author.id == me and m.type in USER_MESSAGE_TYPES for m in messages):
                break
            await self._rest.clock.sleep(ARCHIVE_CHECK_SECONDS)
        await self._rest.request(
            request_scopes("edit-channel", thread),
            lambda c: c.http.edit_channel(thread, archived=True),
        )

    async def location_removed(
        self, guild: int, channel: int | None = None, thread: int | None = None
    ) -> None:
        """Handle a deleted thread or channel, or the bot's removal from a guild."""
        key = ConversationKey(PLATFORM, str(guild), str(channel or ""), str(thread or ""))
        await self._inbox.gone(key)


def _is_uncached(message: discord.Message) -> bool:
    return channel_context(message.channel) is None


def _workspace(guild: int | None) -> str:
    return DIRECT_MESSAGES if guild is None else str(guild)
