"""From discord.py's objects to `Incoming` values: who is addressed, where, and what was said.

Pure. Discord's own rule of who is mentioned is not ours: a mention is the bot's user, its managed
role, or a reply to one of its messages, and never @everyone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import discord
from discord import MessageType

from adapters.discord.text import Names, for_model, quoted, title
from bot.domain import Address, Author, ConversationKey, Incoming, Visibility

PLATFORM = "discord"
DIRECT_MESSAGES = "@me"  # Discord's own word where other places have a guild
# Everything else is the platform speaking: joins, pins, a thread's empty first message.
SPOKEN = (MessageType.default, MessageType.reply)


class Kind(Enum):
    """What replies can be made of in a place."""

    DIRECT = "direct"
    CHANNEL = "channel"  # threads can be made
    CHAT = "chat"  # they cannot: voice and stage chats, or no permission
    THREAD = "thread"  # forum posts too


class Mode(Enum):
    """Where a reply goes; stored in a question's route."""

    THREAD = "thread"  # in the thread on the mention, which is made for it
    HERE = "here"  # in the thread or direct message where the question was asked
    CHAIN = "chain"  # below the question, as a reply to it


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written. `channel` is a thread's parent; `title` is a forum post's."""

    kind: Kind
    guild: str
    channel: str
    thread: str = ""
    title: str = ""
    visibility: Visibility = Visibility.PRIVATE

    @property
    def own(self) -> str:
        """The id of the channel or thread itself, as Discord counts: a thread is a channel."""
        return self.thread or self.channel

    def key(self, message: str = "") -> ConversationKey:
        """The conversation here; in a channel, the one that `message` begins."""
        thread = message if self.kind in (Kind.CHANNEL, Kind.CHAT) else self.thread
        return ConversationKey(PLATFORM, self.guild, self.channel, thread)

    def source(self, message: int) -> str:
        """A message here, as `Incoming.source` says it."""
        return f"{PLATFORM}/{self.guild}/{self.own}/{message}"


@dataclass(frozen=True, slots=True)
class Me:
    """The bot: its user's id, and in a guild its managed role's."""

    user: int
    role: int | None = None

    @property
    def ids(self) -> frozenset[int]:
        """All that mentions it."""
        return frozenset(i for i in (self.user, self.role) if i is not None)


# ── places ────────────────────────────────────────────────────────────────────────────────────
def place_of(channel: object) -> Place | None:
    """The place that a channel is; None when it must be fetched first, or is no place to talk."""
    if isinstance(channel, discord.DMChannel):
        return Place(Kind.DIRECT, DIRECT_MESSAGES, str(channel.id))
    if isinstance(channel, discord.Thread):
        return _thread(channel)
    if isinstance(channel, discord.TextChannel | discord.VoiceChannel | discord.StageChannel):
        kind = Kind.CHANNEL if _takes_threads(channel) else Kind.CHAT
        return Place(kind, str(channel.guild.id), str(channel.id), visibility=_seen_by(channel))
    return None


def _thread(thread: discord.Thread) -> Place:
    parent = thread.parent
    private = thread.is_private() or parent is None
    return Place(
        Kind.THREAD,
        str(thread.guild.id),
        str(thread.parent_id),
        str(thread.id),
        title=thread.name if isinstance(parent, discord.ForumChannel) else "",
        visibility=Visibility.PRIVATE if private or parent is None else _seen_by(parent),
    )


def _takes_threads(
    channel: discord.TextChannel | discord.VoiceChannel | discord.StageChannel,
) -> bool:
    """Only text channels; announcement threads would be another kind, made by those who publish.

    A permission that is missing costs no request: Discord bans who is refused too often.
    """
    if not isinstance(channel, discord.TextChannel) or channel.is_news():
        return False
    if channel.guild.me is None:
        return True
    may = channel.permissions_for(channel.guild.me)
    return may.create_public_threads and may.send_messages_in_threads


def _seen_by(channel: discord.abc.GuildChannel) -> Visibility:
    everyone = channel.guild.get_role(channel.guild.id)
    if everyone is None or not channel.permissions_for(everyone).view_channel:
        return Visibility.PRIVATE
    return Visibility.PUBLIC


# ── who is addressed ──────────────────────────────────────────────────────────────────────────
def me_in(message: discord.Message, user: int) -> Me:
    """The bot, as the message's guild knows it."""
    role = message.guild.self_role if message.guild is not None else None
    return Me(user, role.id if role is not None else None)


def is_spoken(message: discord.Message) -> bool:
    """Whether a person said something: bots, webhooks and the platform itself do not count."""
    return message.type in SPOKEN and not message.author.bot and message.webhook_id is None


def answers_us(message: discord.Message, me: Me) -> int | None:
    """The message of ours that this one is a reply to."""
    referenced = _referenced(message)
    if message.type is not MessageType.reply or referenced is None:
        return None
    return referenced.id if referenced.author.id == me.user else None


def address_of(message: discord.Message, place: Place, me: Me) -> Address | None:
    """How a person's message addresses the bot; None when it is none of our business."""
    if place.kind is Kind.DIRECT:
        return Address.DIRECT
    named = {user.id for user in message.mentions} | {role.id for role in message.role_mentions}
    if named & me.ids or answers_us(message, me) is not None:
        return Address.MENTION
    if place.kind is not Kind.THREAD:
        return None
    others = named - {message.author.id}
    return Address.ASIDE if others or message.mention_everyone else Address.FOLLOW_UP


# ── what was said ─────────────────────────────────────────────────────────────────────────────
def incoming(
    message: discord.Message,
    place: Place,
    me: Me,
    address: Address,
    key: ConversationKey | None = None,
) -> Incoming:
    """The value of a person's message; `key` is the conversation that its reply chain began."""
    unusable, text = list(_unusable(message)), said(message, place, me)
    asked_about = _asked_about(message, place, me)
    if asked_about is not None:
        unusable.extend(_unusable(asked_about))
        text = f"{_quotation(asked_about, me)}\n\n{text}".strip()
    return Incoming(
        key=key or place.key(str(message.id)),
        channel=place.own,
        message_id=str(message.id),
        position=message.id,
        author=Author(str(message.author.id), message.author.display_name),
        text=text,
        address=address,
        sent_at=discord.utils.snowflake_time(message.id).timestamp(),
        visibility=place.visibility,
        route=_route(place, key, message, me),
        unusable=tuple(unusable),
        in_old_thread=place.kind is Kind.THREAD and address is Address.MENTION,
        edited_at=message.edited_at.timestamp() if message.edited_at is not None else None,
    )


def said(message: discord.Message, place: Place, me: Me) -> str:
    """A message's text for the model: a forum post's title, the text, a poll, what it forwards."""
    opens_post = place.title and str(message.id) == place.thread
    names = names_in(message, me)
    parts = [f"# {place.title}"] if opens_post else []
    parts += [for_model(message.content, names), *_poll(message), *_forwarded(message, names)]
    return "\n\n".join(part for part in parts if part)


def resolved_starter(message: discord.Message) -> discord.Message | None:
    """The message that a thread was started on: what stands in the thread for it is empty."""
    if message.type is not MessageType.thread_starter_message:
        return None
    return _referenced(message)


def names_in(message: discord.Message, me: Me) -> Names:
    """What the ids in a message are called."""
    guild = message.guild
    users = {user.id: user.display_name for user in message.mentions}
    if guild is None:
        return Names(users=users, own=me.ids)
    roles = {i: guild.get_role(i) for i in message.raw_role_mentions}
    channels = {i: guild.get_channel_or_thread(i) for i in message.raw_channel_mentions}
    return Names(
        users=users,
        roles={i: role.name for i, role in roles.items() if role is not None},
        channels={i: channel.name for i, channel in channels.items() if channel is not None},
        own=me.ids,
    )


def _route(
    place: Place, key: ConversationKey | None, message: discord.Message, me: Me
) -> dict[str, str]:
    mode = _mode(place, key)
    if mode is not Mode.THREAD:
        return {"mode": mode.value}
    return {"mode": mode.value, "title": title(for_model(message.content, names_in(message, me)))}


def _mode(place: Place, key: ConversationKey | None) -> Mode:
    if place.kind in (Kind.DIRECT, Kind.THREAD):
        return Mode.HERE
    return Mode.CHAIN if place.kind is Kind.CHAT or key is not None else Mode.THREAD


def _referenced(message: discord.Message) -> discord.Message | None:
    found = message.reference.resolved if message.reference is not None else None
    return found if isinstance(found, discord.Message) else None


def _asked_about(message: discord.Message, place: Place, me: Me) -> discord.Message | None:
    """The message of somebody else that a mention in a channel replies to.

    Nothing else would bring it to the model; in threads it is part of the history.
    """
    referenced = _referenced(message)
    if place.kind in (Kind.DIRECT, Kind.THREAD) or message.type is not MessageType.reply:
        return None
    return referenced if referenced is not None and referenced.author.id != me.user else None


def _quotation(message: discord.Message, me: Me) -> str:
    names = names_in(message, me)
    parts = (for_model(message.content, names), *_forwarded(message, names))
    text = "\n\n".join(part for part in parts if part)
    return f"{message.author.display_name} wrote:\n{quoted(text)}" if text else ""


def _poll(message: discord.Message) -> Iterator[str]:
    if message.poll is not None:
        answers = "\n".join(f"- {answer.text}" for answer in message.poll.answers)
        yield f"Poll: {message.poll.question}\n{answers}"


def _forwarded(message: discord.Message, names: Names) -> Iterator[str]:
    for snapshot in message.message_snapshots:
        texts = [for_model(snapshot.content, names)]
        if not texts[0]:  # what applications post is often in embeds alone
            texts = [text for e in snapshot.embeds for text in (e.title, e.description) if text]
        if any(texts):
            yield "Forwarded message:\n" + quoted("\n\n".join(texts))


def _unusable(message: discord.Message) -> Iterator[str]:
    parts: tuple[discord.Message | discord.MessageSnapshot, ...]
    parts = (message, *message.message_snapshots)
    for part in parts:
        yield from (_kind_of(attachment) for attachment in part.attachments)
        yield from ("sticker" for _ in part.stickers)


def _kind_of(attachment: discord.Attachment) -> str:
    if attachment.is_voice_message():
        return "voice message"
    kind = (attachment.content_type or "").partition("/")[0]
    return {"image": "image", "video": "video", "audio": "audio file"}.get(kind, "file")
