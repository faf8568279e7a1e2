"""The last questions of conversations, looked at after a gap: were they edited, or deleted?

Discord sends no edit and no deletion again, and one look costs a request. So only the few
conversations are looked at in which somebody may still care, and when all that was missed is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import discord

from adapters.discord import wire as w
from adapters.discord.changes import Changes
from adapters.discord.events import DIRECT_MESSAGES, PLATFORM
from adapters.discord.wire import Wire, code_of, translated
from bot.domain import Asked
from bot.errors import Gone
from bot.frames import Priority
from bot.marks import Marks, Spot
from bot.ports import Inbox
from bot.recovery import Reads

LAST = (3.0,)  # the rank of what is looked at when all is read


class LastQuestions:
    """Brings what became of them to `changes`."""

    def __init__(self, *, wire: Wire, inbox: Inbox, marks: Marks, changes: Changes) -> None:
        self._wire, self._inbox, self._marks, self._changes = wire, inbox, marks, changes

    async def questions(self, workspace: str, reads: Reads) -> list[Asked]:
        """Those that were asked before the gap."""
        found = await reads.get("questions", (-1,), lambda: self._inbox.last_questions(PLATFORM))
        return [
            asked
            for asked in found or ()
            if asked.key.workspace == workspace
            and asked.position <= self._marks.of(Spot(workspace, asked.channel))
        ]

    async def look_at(self, before: Sequence[Asked], reads: Reads) -> None:
        """Look at those that are the last still: the others were followed by what was missed."""
        if not before:
            return
        found = await reads.get("questions", (-1,), lambda: self._inbox.last_questions(PLATFORM))
        still = set(found or ())
        for asked in before:
            if asked in still:
                reads.add(f"question {asked.source}", LAST, partial(self._look_at, asked))

    async def _look_at(self, asked: Asked) -> bool:
        """Bring it as it is now, or that it is not there any more."""
        guild = None if asked.key.workspace == DIRECT_MESSAGES else int(asked.key.workspace)
        channel, message = int(asked.channel), int(asked.message_id)
        await self._wire.grants.spend(w.GLOBAL, priority=Priority.BACKGROUND)
        place = await self._place(channel, guild)
        try:
            found = await translated(place.fetch_message(message))
        except Gone as error:
            if code_of(error) != w.UNKNOWN_MESSAGE:
                raise
            await self._changes.deleted(guild, channel, [message])
        else:
            await self._changes.edited(found)
        return False

    async def _place(self, channel: int, guild: int | None) -> discord.abc.Messageable:
        """From the cache where it is there: what is said about it needs no request then."""
        client = await self._wire.client()
        known = client.get_channel(channel)
        if isinstance(known, discord.abc.Messageable):
            return known
        return client.get_partial_messageable(channel, guild_id=guild)
