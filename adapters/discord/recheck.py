"""Reads a question again, because Discord resends neither edits nor deletions."""

from __future__ import annotations

import discord

from adapters.discord.edits import EditListener
from adapters.discord.events import DIRECT_MESSAGES
from adapters.discord.history import read_message
from adapters.discord.rest import UNKNOWN_MESSAGE, RestApi, code_of
from bot.domain.errors import Gone
from bot.domain.inbox import Asked
from bot.domain.replies import Priority


class DiscordQuestions:
    """`bot.ports.history.QuestionReader` for Discord; reports changes to `edits`."""

    def __init__(self, *, rest: RestApi, edits: EditListener) -> None:
        self._rest, self._edits = rest, edits

    async def report_changes(self, question: Asked) -> None:
        """Report the question as edited or deleted, if it is."""
        workspace = question.key.workspace
        guild = None if workspace == DIRECT_MESSAGES else int(workspace)
        channel, message = int(question.channel), int(question.message_id)
        client = await self._rest.client()
        where: object = client.get_channel(channel)  # cached, it need not be requested for an edit
        if not isinstance(where, discord.abc.Messageable):
            where = client.get_partial_messageable(channel, guild_id=guild)
        try:
            found = await read_message(
                self._rest, where, channel, message, priority=Priority.BACKGROUND
            )
        except Gone as error:
            if code_of(error) != UNKNOWN_MESSAGE:
                raise
            await self._edits.deleted(guild, channel, [message])
        else:
            if found is not None:
                await self._edits.edited(found)
