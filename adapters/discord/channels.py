"""Describes channels for the core: what conversations each can hold, and who can see it.

A channel missing from discord.py's cache is fetched; one that cannot be parsed counts as private.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import discord
import structlog

from adapters.discord import payloads
from adapters.discord.payload_schemas import CHANNEL, DIRECT_TYPE, THREAD, THREAD_TYPES
from adapters.discord.payload_validation import InvalidPayload, number, outline, validate
from adapters.discord.rest import RestApi, request_scopes
from bot.domain.conversations import ConversationKey, Visibility
from bot.domain.errors import Unsettled
from bot.domain.replies import Priority

log = structlog.stdlib.get_logger(__name__)

PLATFORM = "discord"
DIRECT_MESSAGES = "@me"  # stands where other channels have a guild id, as in Discord's URLs
MESSAGE_TYPES = (0, 2, 5, 13)  # documented channel types: text, voice, announcement and stage


class ChannelKind(Enum):
    """How a channel can hold replies."""

    DIRECT = "direct"
    CHANNEL = "channel"  # the bot can create threads
    CHAT = "chat"  # no threads: voice and stage chats, or the permission is missing
    THREAD = "thread"  # includes forum posts


@dataclass(frozen=True, slots=True)
class ChannelContext:
    """Where a message was sent. `channel` is a thread's parent; `title` is a forum post's."""

    kind: ChannelKind
    guild: str
    channel: str
    thread: str = ""
    title: str = ""
    visibility: Visibility = Visibility.PRIVATE
    category: str = ""  # its id

    @property
    def id(self) -> str:
        """The id of the channel or thread itself; to Discord, a thread is a channel."""
        return self.thread or self.channel

    @property
    def starts_conversations(self) -> bool:
        """Whether each question here starts a conversation; in threads and DMs, questions continue
        one."""
        return self.kind in (ChannelKind.CHANNEL, ChannelKind.CHAT)

    def key(self, message: str = "") -> ConversationKey:
        """The conversation here; in a guild channel, the one that `message` begins."""
        thread = message if self.starts_conversations else self.thread
        return ConversationKey(PLATFORM, self.guild, self.channel, thread)

    def source(self, message: int) -> str:
        """The `Incoming.source` of a message here."""
        return f"{PLATFORM}/{self.guild}/{self.id}/{message}"


# ── from the cache ────────────────────────────────────────────────────────────────────────────
def channel_context(channel: object) -> ChannelContext | None:
    """The context of a cached channel; None if it must be fetched first or has no messages."""
    if isinstance(channel, discord.DMChannel):
        return ChannelContext(ChannelKind.DIRECT, DIRECT_MESSAGES, str(channel.id))
    if isinstance(channel, discord.Thread):
        return _thread_context(channel)
    if isinstance(channel, discord.TextChannel | discord.VoiceChannel | discord.StageChannel):
        kind = ChannelKind.CHANNEL if _can_create_threads(channel) else ChannelKind.CHAT
        return ChannelContext(
            kind,
            str(channel.guild.id),
            str(channel.id),
            visibility=_visibility(channel),
            category=str(channel.category_id or ""),
        )
    return None


def _thread_context(thread: discord.Thread) -> ChannelContext:
    parent = thread.parent
    private = thread.is_private() or parent is None
    return ChannelContext(
        ChannelKind.THREAD,
        str(thread.guild.id),
        str(thread.parent_id),
        str(thread.id),
        title=thread.name if isinstance(parent, discord.ForumChannel) else "",
        visibility=Visibility.PRIVATE if private or parent is None else _visibility(parent),
        category="" if parent is None else str(parent.category_id or ""),
    )


def _can_create_threads(
    channel: discord.TextChannel | discord.VoiceChannel | discord.StageChannel,
) -> bool:
    """True only in text channels: announcement channels have threads of another type.

    Checks the cached permissions because Discord bans clients with too many refused requests.
    """
    if not isinstance(channel, discord.TextChannel) or channel.is_news():
        return False
    if channel.guild.me is None:
        return True
    granted = channel.permissions_for(channel.guild.me)
    return granted.create_public_threads and granted.send_messages_in_threads


def _visibility(channel: discord.abc.GuildChannel) -> Visibility:
    everyone = channel.guild.get_role(channel.guild.id)
    if everyone is None or not channel.permissions_for(everyone).view_channel:
        return Visibility.PRIVATE
    return Visibility.PUBLIC


# ── from REST ─────────────────────────────────────────────────────────────────────────────────
async def fetch_channel_context(
    rest: RestApi,
    channel: int,
    *,
    priority: Priority = Priority.CONTROL,
    within: float | None = None,
) -> ChannelContext | None:
    """The context of a channel that is not cached; None if it cannot hold a conversation.

    `within` limits the request, in seconds. Raises a PlatformError.
    """
    raw: Any = await rest.request(
        request_scopes("get-channel", channel),
        lambda client: client.http.get_channel(channel),
        priority=priority,
        within=within,
    )
    if payloads.read_id(raw, "id") not in (None, channel):
        raise Unsettled("the response describes another channel")
    client = await rest.client()
    guild = client.get_guild(payloads.read_id(raw, "guild_id") or 0)
    if guild is None or _type_of(raw) is None:
        return _uncached_context(raw)
    try:
        return channel_context(_parse(client, guild, raw))
    except InvalidPayload as error:
        log.warning("a channel cannot be parsed", error=str(error), structure=outline(raw))
        return _uncached_context(raw)


def _parse(client: discord.Client, guild: discord.Guild, raw: Any) -> Any:
    state: Any = client._connection
    type_ = _type_of(raw)
    if type_ in THREAD_TYPES:
        data: Any = validate(raw, THREAD)
        return discord.Thread(guild=guild, state=state, data=data)
    if type_ not in MESSAGE_TYPES:
        return None
    classes: dict[int, Any] = {2: discord.VoiceChannel, 13: discord.StageChannel}
    class_ = classes.get(type_, discord.TextChannel)
    return class_(guild=guild, state=state, data=validate(raw, CHANNEL))


def _uncached_context(raw: Any) -> ChannelContext | None:
    """The context of a direct message, or of a channel in an unknown guild, which counts as
    private.

    Raises Unsettled if the response lacks the channel's type: a later request may succeed.
    """
    id_, guild = payloads.read_id(raw, "id"), payloads.read_id(raw, "guild_id")
    parent, type_ = payloads.read_id(raw, "parent_id"), _type_of(raw)
    if id_ is not None and type_ == DIRECT_TYPE:
        return ChannelContext(ChannelKind.DIRECT, DIRECT_MESSAGES, str(id_))
    if type_ is not None and type_ not in (*THREAD_TYPES, *MESSAGE_TYPES):
        return None
    orphan = type_ in THREAD_TYPES and parent is None
    if id_ is None or type_ is None or guild is None or orphan:
        raise Unsettled("Discord's response does not say what the channel is")
    if type_ in THREAD_TYPES:
        return ChannelContext(ChannelKind.THREAD, str(guild), str(parent), str(id_))
    return ChannelContext(ChannelKind.CHAT, str(guild), str(id_))


def _type_of(raw: Any) -> int | None:
    """A channel's type; None if the response has none."""
    try:
        return number(raw["type"])
    except (InvalidPayload, KeyError, TypeError):
        return None
