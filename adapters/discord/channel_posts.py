"""Remembers other bots' posts in channels, as context for a mention below them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import discord
import structlog

from adapters.discord.channels import ChannelContext, channel_context
from adapters.discord.events import (
    bot_identity,
    is_blank,
    is_from_other_bot,
    is_from_person,
    to_incoming,
)
from adapters.discord.history import read_page
from adapters.discord.rest import RestApi
from bot.domain.inbox import Address, Incoming
from bot.inbox.posts_above import MAX_READ, RecentPosts, Seen

log = structlog.stdlib.get_logger(__name__)


class ChannelPosts:
    """The newest posts in a client's channels; threads are read from Discord instead."""

    def __init__(self, rest: RestApi) -> None:
        self._rest = rest
        self._recent: RecentPosts[discord.Message] = RecentPosts(rest.clock)

    def restart(self) -> None:
        """Forget everything when a new session begins."""
        self._recent.restart()

    def note(self, message: discord.Message, user: int) -> None:
        """Remember a new message, or that it was posted on a person's behalf; `user` is the bot's
        id."""
        if message.guild is None or isinstance(message.channel, discord.Thread):
            return
        seen = _seen(message, user)
        if seen is not None:
            self._recent.add(str(message.channel.id), seen)

    def edited(self, message: discord.Message) -> None:
        """Remember the new version of a post."""
        self._recent.change(str(message.channel.id), message.id, message)

    def deleted(self, channel: int, messages: Iterable[int]) -> None:
        """Forget deleted messages."""
        for message in messages:
            self._recent.drop(str(channel), message)

    async def above(self, question: Incoming) -> Sequence[Incoming]:
        """The posts above a mention, oldest first. Raises a PlatformError."""
        client, channel = await self._rest.client(), int(question.channel)
        where, user = client.get_channel(channel), client.user
        context = channel_context(where)
        if context is None or user is None:
            return ()

        async def read() -> Sequence[Seen[discord.Message]]:
            if not _may_read(where) or not isinstance(where, discord.abc.Messageable):
                return ()
            before = question.position
            page = await read_page(self._rest, where, channel, before=before, limit=MAX_READ)
            found = (_seen(message, user.id) for message in page.messages)
            return [one for one in found if one is not None]

        posts = await self._recent.above(
            question.channel, question.position, question.sent_at, read
        )
        translated = (_translate_safely(post, context, user.id, question) for post in posts)
        return [one for one in translated if one is not None]


def _seen(message: discord.Message, user: int) -> Seen[discord.Message] | None:
    """How a message counts for a mention below it; None for Discord's system messages."""
    is_post = is_from_other_bot(message, user)
    if not is_post and not is_from_person(message) and message.author.id != user:
        return None
    sent_at = discord.utils.snowflake_time(message.id).timestamp()
    return Seen(message.id, sent_at, message if is_post else None)


def _may_read(channel: object) -> bool:
    """Whether Discord allows reading the channel: it bans clients with too many refused
    requests."""
    if not isinstance(channel, discord.abc.GuildChannel) or channel.guild.me is None:
        return True
    return channel.permissions_for(channel.guild.me).read_message_history


def _translate_safely(
    post: discord.Message, context: ChannelContext, user: int, question: Incoming
) -> Incoming | None:
    try:
        return _translate(post, context, user, question)
    except Exception as error:  # noqa: BLE001 - the boundary of each post
        log.error("a bot's post cannot be translated", id=post.id, error=repr(error))
        return None


def _translate(
    post: discord.Message, context: ChannelContext, user: int, question: Incoming
) -> Incoming | None:
    """Translate a post into history under the question's id, because several mentions may include
    it."""
    entry = to_incoming(post, context, bot_identity(post, user), Address.FOLLOW_UP)
    if is_blank(entry):
        return None
    own_id = f"{post.id}-{question.message_id}"
    return replace(entry, key=question.key, message_id=own_id, route=question.route)
