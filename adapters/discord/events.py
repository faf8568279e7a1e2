"""Translates discord.py's messages to `Incoming` values: whether they address the bot, and what
they say.

Pure. A mention of the bot's user or managed role, or a reply to one of its messages, addresses the
bot; @everyone never does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import discord
from discord import MessageType

from adapters.discord.attachments import files_of
from adapters.discord.channels import ChannelContext, ChannelKind
from adapters.discord.content import full_text, visible_parts
from adapters.discord.mention_names import names_in
from adapters.discord.state import persona_of, raw_of
from adapters.discord.text import shorten_thread_name, thread_title, to_model_text
from bot.domain.attachments import IncomingAttachment
from bot.domain.conversations import Author, ConversationKey
from bot.domain.excerpts import excerpt, join_excerpts
from bot.domain.inbox import Address, Incoming
from bot.domain.names import one_line
from bot.inbox import commands

# All other types are system messages: joins, pins, a thread's empty first message.
USER_MESSAGE_TYPES = (MessageType.default, MessageType.reply)
# The first two of these are responses to commands.
BOT_MESSAGE_TYPES = (
    *(MessageType.chat_input_command, MessageType.context_menu_command),
    *USER_MESSAGE_TYPES,
)
# How much of a referenced message is quoted if the conversation already contains it.
REFERENCE_CHARACTERS = 300


class ReplyMode(Enum):
    """Where a reply goes; stored in a question's route."""

    THREAD = "thread"  # in the thread on the mention, created for the reply
    HERE = "here"  # in the thread or direct message of the question
    CHAIN = "chain"  # in the channel, as a reply to the question


@dataclass(frozen=True, slots=True)
class BotIdentity:
    """The bot's user id and, in a guild, the id of its managed role."""

    user: int
    role: int | None = None

    @property
    def ids(self) -> frozenset[int]:
        """Every id whose mention addresses the bot."""
        return frozenset(i for i in (self.user, self.role) if i is not None)


# ── who is addressed ──────────────────────────────────────────────────────────────────────────
def bot_identity(message: discord.Message, user: int) -> BotIdentity:
    """The bot's ids in the message's guild; `user` is its user id."""
    role = message.guild.self_role if message.guild is not None else None
    return BotIdentity(user, role.id if role is not None else None)


def is_from_person(message: discord.Message) -> bool:
    """Whether a person wrote this, not a bot, a webhook or Discord itself.

    A webhook's message with a persona counts as that person's.
    """
    if persona_of(message) is not None:
        return True
    return (
        message.type in USER_MESSAGE_TYPES and not message.author.bot and message.webhook_id is None
    )


def is_from_other_bot(message: discord.Message, user: int) -> bool:
    """Whether another bot or a webhook wrote this: part of a thread, but never a question.

    `user` is this bot's user id.
    """
    by_program = message.author.bot or message.webhook_id is not None
    is_other = message.author.id != user and persona_of(message) is None
    return by_program and is_other and message.type in BOT_MESSAGE_TYPES


def is_blank(incoming: Incoming) -> bool:
    """Whether a message has no content, like a bot's response that is still being prepared."""
    return not incoming.text and not incoming.attachments


def replied_bot_message(message: discord.Message, bot: BotIdentity) -> int | None:
    """The id of the bot's message that this one replies to."""
    referenced = _referenced(message)
    if message.type is not MessageType.reply or referenced is None:
        return None
    return referenced.id if referenced.author.id == bot.user else None


def address_of(
    message: discord.Message, context: ChannelContext, bot: BotIdentity
) -> Address | None:
    """How a person's message addresses the bot; None if it is not for the bot."""
    if context.kind is ChannelKind.DIRECT:
        return Address.DIRECT
    named = {user.id for user in message.mentions} | {role.id for role in message.role_mentions}
    if named & bot.ids or replied_bot_message(message, bot) is not None:
        return Address.MENTION
    if context.kind is not ChannelKind.THREAD:
        return None
    others = named - {message.author.id, int(author_of(message).id)}
    return Address.ASIDE if others or message.mention_everyone else Address.FOLLOW_UP


def is_to_no_one(message: discord.Message, context: ChannelContext, bot: BotIdentity) -> bool:
    """Whether a channel message, or a forum post's first message, addresses no one in particular.

    A reply to another bot's post or to the author's own message also addresses no one. If the
    author of the replied-to message is unknown, the reply counts as addressed to another person.
    """
    if not (context.starts_conversations or _opens_post(message, context)):
        return False
    if address_of(message, context, bot) not in (None, Address.FOLLOW_UP):
        return False
    own = {message.author.id, int(author_of(message).id)}
    if message.type is MessageType.reply:
        replied = _replied(message)
        if replied is None or (is_from_person(replied) and replied.author.id not in own):
            return False
        own.add(replied.author.id)  # a reply mentions the author, if they are pinged
    named = {user.id for user in message.mentions} | {role.id for role in message.role_mentions}
    return not named - own and not message.mention_everyone


def _opens_post(message: discord.Message, context: ChannelContext) -> bool:
    """Whether this is the first message of a forum post."""
    return bool(context.title) and str(message.id) == context.thread


# ── what was said ─────────────────────────────────────────────────────────────────────────────
def to_incoming(
    message: discord.Message,
    context: ChannelContext,
    bot: BotIdentity,
    address: Address,
    key: ConversationKey | None = None,
) -> Incoming:
    """A person's message for the core; `key` is the conversation that its reply chain continues."""
    return Incoming(
        key=key or context.key(str(message.id)),
        channel=context.id,
        message_id=str(message.id),
        position=message.id,
        author=author_of(message),
        text=_question_text(message, context, bot, key),
        address=address,
        sent_at=discord.utils.snowflake_time(message.id).timestamp(),
        visibility=context.visibility,
        route=_route(context, key, message, bot),
        attachments=_files(message, bot),
        in_old_thread=context.kind is ChannelKind.THREAD and address is Address.MENTION,
        stands_alone=_stands_alone(message, context, address, key),
        edited_at=message.edited_at.timestamp() if message.edited_at is not None else None,
        from_bot=is_from_other_bot(message, bot.user),
    )


def _stands_alone(
    message: discord.Message,
    context: ChannelContext,
    address: Address,
    key: ConversationKey | None,
) -> bool:
    """Whether a mention refers to no other message, so posts above it may be its subject."""
    begins = context.starts_conversations and key is None and address is Address.MENTION
    return begins and message.reference is None


def author_of(message: discord.Message) -> Author:
    """A message's author; for a webhook's message with a persona, that person."""
    persona = persona_of(message)
    if persona is not None:
        return persona
    return Author(str(message.author.id), name_of(message))


def name_of(message: discord.Message) -> str:
    """The author's display name, on one line."""
    return one_line(message.author.display_name)


def message_text(message: discord.Message, context: ChannelContext, bot: BotIdentity) -> str:
    """A message for the model: a forum post's title, the text, and everything else it shows."""
    convert = _converter(message, bot)
    heading = f"# {one_line(context.title)}" if _opens_post(message, context) else ""
    parts = visible_parts(raw_of(message), convert)
    return join_excerpts([heading, convert(message.content), *parts])


def _question_text(
    message: discord.Message, context: ChannelContext, bot: BotIdentity, key: ConversationKey | None
) -> str:
    """A question with the message it refers to; for a command, only the command's text.

    Files add nothing to the text except their descriptions.
    """
    words = _converter(message, bot)(message.content)
    if is_command(words):
        return words
    quote = _quote_referenced(message, context, bot, key)
    return join_excerpts([quote, message_text(message, context, bot)])


def _files(message: discord.Message, bot: BotIdentity) -> tuple[IncomingAttachment, ...]:
    """A message's files, then those of the message it replies to unless the bot wrote that message.

    People reply to a file to show it again, so the files are included even if the conversation
    already has them.
    """
    is_own = is_from_person(message)
    files = files_of(raw_of(message), message.channel.id, is_own=is_own)
    replied = _replied(message)
    if replied is None or replied.author.id == bot.user:
        return files
    return (*files, *files_of(raw_of(replied), replied.channel.id, is_own=False))


def _converter(message: discord.Message, bot: BotIdentity) -> Callable[[str], str]:
    names = names_in(message, bot.ids)
    return lambda content: to_model_text(content, names)


def thread_starter(message: discord.Message) -> discord.Message | None:
    """The thread's starter message, whose placeholder inside the thread is empty."""
    if message.type is not MessageType.thread_starter_message:
        return None
    return _referenced(message)


def _route(
    context: ChannelContext, key: ConversationKey | None, message: discord.Message, bot: BotIdentity
) -> dict[str, str]:
    mode = _reply_mode(context, key)
    if mode is not ReplyMode.THREAD:
        return {"mode": mode.value}
    return {"mode": mode.value, "title": _title(message, bot)}


def _title(message: discord.Message, bot: BotIdentity) -> str:
    """A thread's name: from the text, otherwise from the first file with a name that a person
    chose."""
    title = thread_title(_converter(message, bot)(message.content))
    files = files_of(raw_of(message), message.channel.id, is_own=True)
    named = (file.name for file in files if not (file.is_paste or file.is_voice))
    return title or shorten_thread_name(next(named, ""))


def _reply_mode(context: ChannelContext, key: ConversationKey | None) -> ReplyMode:
    if not context.starts_conversations:
        return ReplyMode.HERE
    chained = context.kind is ChannelKind.CHAT or key is not None
    return ReplyMode.CHAIN if chained else ReplyMode.THREAD


def _replied(message: discord.Message) -> discord.Message | None:
    """The message to which a person replies."""
    return _referenced(message) if message.type is MessageType.reply else None


def _referenced(message: discord.Message) -> discord.Message | None:
    found = message.reference.resolved if message.reference is not None else None
    return found if isinstance(found, discord.Message) else None


# ── references ────────────────────────────────────────────────────────────────────────────────
def _quote_referenced(
    message: discord.Message, context: ChannelContext, bot: BotIdentity, key: ConversationKey | None
) -> str:
    """Quote the message to which a person replies.

    A message already in the conversation is quoted by its beginning, which is enough to identify
    it. Any other message, including another bot's, is not in the history and is quoted in full.
    """
    referenced = _replied(message)
    if referenced is None:
        return ""
    by_bot = referenced.author.id == bot.user
    inside = not context.starts_conversations
    if by_bot and not inside and key is not None:
        return ""  # the reply chain continues
    convert = _converter(referenced, bot)
    text = full_text({**raw_of(referenced), "content": referenced.content}, convert)
    if by_bot or (inside and is_from_person(referenced)):
        return excerpt(f"In reply to {name_of(referenced)}", _first_words(text))
    return excerpt(f"{name_of(referenced)} wrote", text)


def _first_words(text: str) -> str:
    if len(text) <= REFERENCE_CHARACTERS:
        return text
    words, _, _ = text[:REFERENCE_CHARACTERS].rpartition(" ")
    return (words or text[:REFERENCE_CHARACTERS]).rstrip() + " …"


def is_command(text: str) -> bool:
    """Whether a message is a command: see `bot.inbox.commands.parse`."""
    word, _, argument = text.partition(" ")
    name = word.removeprefix("/").lower()
    return name in commands.NAMES and (not argument.strip() or name == commands.MODEL)
