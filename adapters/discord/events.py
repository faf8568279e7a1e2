"""From discord.py's objects to `Incoming` values: who is addressed, where, and what was said.

Pure. Discord's own rule of who is mentioned is not ours: a mention is the bot's user, its managed
role, or a reply to one of its messages, and never @everyone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import discord
from discord import MessageType

from adapters.discord.content import bare_files, kinds, shown, whole_text
from adapters.discord.mention_names import names_in
from adapters.discord.state import persona_of, raw_of
from adapters.discord.text import for_model, title
from bot.domain.conversations import Author, ConversationKey, Visibility
from bot.domain.excerpts import excerpt, joined
from bot.domain.inbox import Address, Incoming
from bot.domain.names import one_line
from bot.inbox import commands

PLATFORM = "discord"
DIRECT_MESSAGES = "@me"  # Discord's own word where other places have a guild
# Everything else is the platform speaking: joins, pins, a thread's empty first message.
SPOKEN = (MessageType.default, MessageType.reply)
# So much of a message that is in the conversation already says which one is meant.
REFERENCE_CHARACTERS = 300


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
class ChannelContext:
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
def place_of(channel: object) -> ChannelContext | None:
    """The place that a channel is; None when it must be fetched first, or is no place to talk."""
    if isinstance(channel, discord.DMChannel):
        return ChannelContext(Kind.DIRECT, DIRECT_MESSAGES, str(channel.id))
    if isinstance(channel, discord.Thread):
        return _thread(channel)
    if isinstance(channel, discord.TextChannel | discord.VoiceChannel | discord.StageChannel):
        kind = Kind.CHANNEL if _takes_threads(channel) else Kind.CHAT
        return ChannelContext(
            kind, str(channel.guild.id), str(channel.id), visibility=_seen_by(channel)
        )
    return None


def _thread(thread: discord.Thread) -> ChannelContext:
    parent = thread.parent
    private = thread.is_private() or parent is None
    return ChannelContext(
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
    if persona_of(message) is not None:
        return True
    return message.type in SPOKEN and not message.author.bot and message.webhook_id is None


def answers_us(message: discord.Message, me: Me) -> int | None:
    """The message of ours that this one is a reply to."""
    referenced = _referenced(message)
    if message.type is not MessageType.reply or referenced is None:
        return None
    return referenced.id if referenced.author.id == me.user else None


def address_of(message: discord.Message, place: ChannelContext, me: Me) -> Address | None:
    """How a person's message addresses the bot; None when it is none of our business."""
    if place.kind is Kind.DIRECT:
        return Address.DIRECT
    named = {user.id for user in message.mentions} | {role.id for role in message.role_mentions}
    if named & me.ids or answers_us(message, me) is not None:
        return Address.MENTION
    if place.kind is not Kind.THREAD:
        return None
    others = named - {message.author.id, int(author_of(message).id)}
    return Address.ASIDE if others or message.mention_everyone else Address.FOLLOW_UP


# ── what was said ─────────────────────────────────────────────────────────────────────────────
def incoming(
    message: discord.Message,
    place: ChannelContext,
    me: Me,
    address: Address,
    key: ConversationKey | None = None,
) -> Incoming:
    """The value of a person's message; `key` is the conversation that its reply chain began."""
    text, unusable = _asked(message, place, me, key)
    return Incoming(
        key=key or place.key(str(message.id)),
        channel=place.own,
        message_id=str(message.id),
        position=message.id,
        author=author_of(message),
        text=text,
        address=address,
        sent_at=discord.utils.snowflake_time(message.id).timestamp(),
        visibility=place.visibility,
        route=_route(place, key, message, me),
        unusable=unusable,
        in_old_thread=place.kind is Kind.THREAD and address is Address.MENTION,
        edited_at=message.edited_at.timestamp() if message.edited_at is not None else None,
    )


def author_of(message: discord.Message) -> Author:
    """Who speaks in a message: a webhook's may stand for a person."""
    persona = persona_of(message)
    if persona is not None:
        return persona
    return Author(str(message.author.id), name_of(message))


def name_of(message: discord.Message) -> str:
    """The name that people see above a message."""
    return one_line(message.author.display_name)


def said(message: discord.Message, place: ChannelContext, me: Me) -> str:
    """A message's text for the model: a forum post's title, the text, what else people see."""
    opens_post = place.title and str(message.id) == place.thread
    say = _saying(message, me)
    heading = f"# {one_line(place.title)}" if opens_post else ""
    return joined([heading, say(message.content), *shown(raw_of(message), say)])


def _asked(
    message: discord.Message, place: ChannelContext, me: Me, key: ConversationKey | None
) -> tuple[str, tuple[str, ...]]:
    """What a person asks, with what it refers to; and what of it cannot be read.

    A command stands alone, and so do files: without a word about them there is nothing to ask.
    """
    raw, unusable = raw_of(message), tuple(kinds(raw_of(message)))
    words = _saying(message, me)(message.content)
    if is_command(words):
        return words, unusable
    about, more = _asked_about(message, place, me, key)
    text = said(message, place, me)
    if not words and unusable and bare_files(raw) and not about and not place.title:
        text = ""
    return joined([about, text]), unusable + more


def _saying(message: discord.Message, me: Me) -> Callable[[str], str]:
    names = names_in(message, me.ids)
    return lambda content: for_model(content, names)


def resolved_starter(message: discord.Message) -> discord.Message | None:
    """The message that a thread was started on: what stands in the thread for it is empty."""
    if message.type is not MessageType.thread_starter_message:
        return None
    return _referenced(message)


def _route(
    place: ChannelContext, key: ConversationKey | None, message: discord.Message, me: Me
) -> dict[str, str]:
    mode = _mode(place, key)
    if mode is not Mode.THREAD:
        return {"mode": mode.value}
    return {"mode": mode.value, "title": title(_saying(message, me)(message.content))}


def _mode(place: ChannelContext, key: ConversationKey | None) -> Mode:
    if place.kind in (Kind.DIRECT, Kind.THREAD):
        return Mode.HERE
    return Mode.CHAIN if place.kind is Kind.CHAT or key is not None else Mode.THREAD


def _referenced(message: discord.Message) -> discord.Message | None:
    found = message.reference.resolved if message.reference is not None else None
    return found if isinstance(found, discord.Message) else None


# ── references ────────────────────────────────────────────────────────────────────────────────
def _asked_about(
    message: discord.Message, place: ChannelContext, me: Me, key: ConversationKey | None
) -> tuple[str, tuple[str, ...]]:
    """The message that a person replies to, as far as the model needs it; and its unread files.

    A message of the conversation is quoted by its beginning, so that the model knows which one is
    meant. Other messages are quoted whole: bots' messages are not part of the history.
    """
    referenced = _referenced(message)
    if referenced is None or message.type is not MessageType.reply:
        return "", ()
    own = referenced.author.id == me.user
    inside = place.kind in (Kind.DIRECT, Kind.THREAD)
    if own and not inside and key is not None:
        return "", ()  # the reply chain goes on
    say = _saying(referenced, me)
    text = whole_text({**raw_of(referenced), "content": referenced.content}, say)
    if own or (inside and is_spoken(referenced)):
        return excerpt(f"In reply to {name_of(referenced)}", beginning(text)), ()
    return excerpt(f"{name_of(referenced)} wrote", text), tuple(kinds(raw_of(referenced)))


def beginning(text: str) -> str:
    """The first words of a message, enough to know it by."""
    if len(text) <= REFERENCE_CHARACTERS:
        return text
    words, _, _ = text[:REFERENCE_CHARACTERS].rpartition(" ")
    return (words or text[:REFERENCE_CHARACTERS]).rstrip() + " …"


def is_command(text: str) -> bool:
    """Whether a message is a command's word: see `bot.inbox.commands.parse`."""
    word, _, argument = text.partition(" ")
    name = word.removeprefix("/").lower()
    return name in commands.NAMES and (not argument.strip() or name == commands.MODEL)
