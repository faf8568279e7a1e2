"""Reads a question again, because Discord resends neither edits nor deletions."""

from __future__ import annotations

from typing import Any

from adapters.discord.channels import DIRECT_MESSAGES
from adapters.discord.edits import DiscordEditListener
from adapters.discord.errors import UNKNOWN_MESSAGE
from adapters.discord.history import parse_message, read_raw_message
from adapters.discord.rest import RestApi
from bot.domain.errors import Gone
from bot.domain.inbox import Asked
from bot.domain.replies import Priority


async def report_changes(rest: RestApi, edits: DiscordEditListener, question: Asked) -> None:
    """`bot.ports.history.ReportChanges` for Discord."""
    workspace = question.key.workspace
    guild = None if workspace == DIRECT_MESSAGES else int(workspace)
    channel, message = int(question.channel), int(question.message_id)
    client = await rest.client()
    try:
        raw = await read_raw_message(rest, channel, message, priority=Priority.BACKGROUND)
    except Gone as error:
        if error.code != UNKNOWN_MESSAGE:
            raise
        await edits.deleted(guild, channel, [message])
        return
    # A cached channel saves the request for its type.
    where: Any = client.get_channel(channel) or client.get_partial_messageable(
        channel, guild_id=guild
    )
    found = parse_message(client, where, raw)
    if found is not None:
        await edits.edited(found)
