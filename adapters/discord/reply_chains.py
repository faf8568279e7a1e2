"""Finds the conversation that a reply to one of the bot's messages in a channel continues.

A page of an answer is in the store. A command's reply is not: it is remembered, and after a restart
found through the command that it replies to, which may itself reply to a page.
"""

from __future__ import annotations

import discord

from adapters.discord.channels import ChannelContext
from adapters.discord.history import read_raw_message
from adapters.discord.payloads import get_object, read_id
from adapters.discord.rest import RestApi
from bot.domain.conversations import ConversationKey
from bot.domain.errors import PlatformError
from bot.ports.inbox import ConversationLookup


async def find_conversation(
    message: discord.Message,
    context: ChannelContext,
    replied: int,
    *,
    rest: RestApi,
    inbox: ConversationLookup,
) -> ConversationKey | None:
    """The conversation of the bot's message `replied`; costs a request only after a restart."""
    found = await inbox.conversation_of(context.source(replied))
    found = found or rest.command_replies.get(str(replied))
    command = None if found is not None else _answered_by(message)
    if command is None:
        return found
    page = await _find_replied(command, message.channel.id, rest)
    continued = None if page is None else await inbox.conversation_of(context.source(page))
    return continued or context.key(str(command))


def _answered_by(message: discord.Message) -> int | None:
    """The message that the bot's message, to which this one replies, is a reply to."""
    replied = message.reference.resolved if message.reference is not None else None
    inner = replied.reference if isinstance(replied, discord.Message) else None
    return inner.message_id if inner is not None else None


async def _find_replied(message: int, channel: int, rest: RestApi) -> int | None:
    """The message that a person's message replies to; None also if it cannot be read."""
    try:
        raw = await read_raw_message(rest, channel, message)
    except PlatformError:
        return None
    return read_id(get_object(raw, "message_reference"), "message_id")
