"""Finds the conversation for a reply to one of the bot's messages in a channel.

The store knows the pages of answers. A command's reply is only remembered; after a restart, the bot
finds its conversation through the command it replies to, which may itself reply to a page.
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
    """The message to which the bot's message replies; this message in turn replies to the bot's."""
    replied = message.reference.resolved if message.reference is not None else None
    inner = replied.reference if isinstance(replied, discord.Message) else None
    return inner.message_id if inner is not None else None


async def _find_replied(message: int, channel: int, rest: RestApi) -> int | None:
    """The message to which a person's message replies; None also if it cannot be read."""
    try:
        raw = await read_raw_message(rest, channel, message)
    except PlatformError:
        return None
    return read_id(get_object(raw, "message_reference"), "message_id")
