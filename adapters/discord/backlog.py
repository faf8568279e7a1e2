"""Reads the messages in a thread that precede the bot's mention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import discord
import structlog

from adapters.discord.channels import (
    ChannelContext,
    ChannelKind,
    channel_context,
    fetch_channel_context,
)
from adapters.discord.events import (
    bot_identity,
    is_blank,
    is_from_other_bot,
    is_from_person,
    message_text,
    thread_starter,
    to_incoming,
)
from adapters.discord.history import read_page
from adapters.discord.rest import RestApi
from bot.domain.inbox import Address, Incoming

log = structlog.stdlib.get_logger(__name__)


async def read_backlog(rest: RestApi, question: Incoming) -> Sequence[Incoming]:
    """Up to a hundred messages before `question` in its thread, oldest first; one request."""
    client, thread = await rest.client(), int(question.channel)
    cached = channel_context(client.get_channel(thread))
    context = cached or await fetch_channel_context(rest, thread)
    if context is None or context.kind is not ChannelKind.THREAD or client.user is None:
        return ()
    channel = client.get_partial_messageable(thread, guild_id=int(question.key.workspace))
    page = await read_page(rest, channel, thread, before=int(question.message_id))
    user = client.user.id
    found = (_translate_safely(message, context, user) for message in page.messages)
    return [entry for entry in found if entry is not None]


def _translate_safely(
    message: discord.Message, context: ChannelContext, user: int
) -> Incoming | None:
    try:
        return _translate(message, context, user)
    except Exception as error:  # noqa: BLE001 - the boundary of each message of a page
        log.error("an old message cannot be translated", id=message.id, error=repr(error))
        return None


def _translate(message: discord.Message, context: ChannelContext, user: int) -> Incoming | None:
    """Translate a message from a person or another bot, or the thread's starter message."""
    bot, starter = bot_identity(message, user), thread_starter(message)
    if starter is not None:
        entry = to_incoming(starter, context, bot, Address.FOLLOW_UP)
        text = message_text(starter, context, bot)
        return replace(entry, channel=context.channel, text=text)
    if not is_from_person(message) and not is_from_other_bot(message, user):
        return None
    entry = to_incoming(message, context, bot, Address.FOLLOW_UP)
    return None if is_blank(entry) else entry
