"""A question as it is now: Discord sends no edit and no deletion again."""

from __future__ import annotations

import discord

from adapters.discord import rest as w
from adapters.discord.edits import EditListener
from adapters.discord.events import DIRECT_MESSAGES
from adapters.discord.history import read_message
from adapters.discord.rest import RestApi, code_of
from bot.domain.errors import Gone
from bot.domain.inbox import Asked
from bot.domain.replies import Priority


class Look:
    """Brings what became of a question to `changes`."""

    def __init__(self, *, wire: RestApi, changes: EditListener) -> None:
        self._wire, self._changes = wire, changes

    async def __call__(self, asked: Asked) -> None:
        """Bring it as it is now, or that it is not there any more."""
        guild = None if asked.key.workspace == DIRECT_MESSAGES else int(asked.key.workspace)
        channel, message = int(asked.channel), int(asked.message_id)
        place = await self._place(channel, guild)
        try:
            found = await read_message(
                self._wire, place, channel, message, priority=Priority.BACKGROUND
            )
        except Gone as error:
            if code_of(error) != w.UNKNOWN_MESSAGE:
                raise
            await self._changes.deleted(guild, channel, [message])
        else:
            if found is not None:
                await self._changes.edited(found)

    async def _place(self, channel: int, guild: int | None) -> discord.abc.Messageable:
        """From the cache where it is there: what is said about it needs no request then."""
        client = await self._wire.client()
        known = client.get_channel(channel)
        if isinstance(known, discord.abc.Messageable):
            return known
        return client.get_partial_messageable(channel, guild_id=guild)
