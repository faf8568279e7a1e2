"""Who may use the bot, and who sees which conversation: asked of Discord each time.

What cannot be found out is not allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import discord
import structlog
from cachetools import TTLCache

from adapters.discord import rest as w
from adapters.discord.events import DIRECT_MESSAGES
from adapters.discord.rest import RestApi, code_of
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone, PlatformError

log = structlog.stdlib.get_logger(__name__)

# Seconds for which a membership, or its absence, is cached, and the most that are: about 1 MB.
MEMBER_SECONDS, MOST_KNOWN = 600.0, 10_000
PUBLIC_THREADS, PRIVATE_THREAD = (10, 11), 12  # documented types of channels


class Servers:
    """The servers that may use the bot; all may when `ids` is empty."""

    def __init__(self, *, wire: RestApi, ids: frozenset[str] = frozenset()) -> None:
        self._wire, self._ids = wire, ids
        # Whether a user is a member of an allowed server.
        self._members: TTLCache[str, bool] = TTLCache(
            MOST_KNOWN, MEMBER_SECONDS, wire.clock.monotonic
        )

    def serve(self, guild: object) -> bool:
        """Whether people of this server may use the bot."""
        return not self._ids or str(guild) in self._ids

    async def serve_person(self, guild: object, user: int) -> bool:
        """Whether a person may use the bot there; in a direct message, if they are in a server.

        Raises a PlatformError when that cannot be found out now.
        """
        if not self._ids or guild not in (None, DIRECT_MESSAGES):
            return self.serve(guild)
        known = self._members.get(str(user))
        if known is None:
            servers = [await self._is_member(int(server), user) for server in sorted(self._ids)]
            known = self._members[str(user)] = any(servers)
        return known

    async def _is_member(self, guild: int, user: int) -> bool:
        try:
            await self._wire.ask(
                w.at("member", guild), lambda client: client.http.get_member(guild, user)
            )
        except Gone:
            return False
        return True


async def sees(wire: RestApi, interaction: discord.Interaction[Any], key: ConversationKey) -> bool:
    """Whether the person of an interaction can read a conversation now."""
    if key.workspace == DIRECT_MESSAGES:
        return str(interaction.channel_id) == key.channel
    try:
        return await _sees(wire, interaction.user, key)
    except PlatformError as error:
        log.warning("access to a conversation is not known", key=str(key), error=str(error))
        return False


async def _sees(wire: RestApi, person: discord.Member | discord.User, key: ConversationKey) -> bool:
    guild = (await wire.client()).get_guild(int(key.workspace))
    channel = guild.get_channel(int(key.channel)) if guild is not None else None
    if channel is None or not isinstance(person, discord.Member) or person.guild != guild:
        return False
    may = channel.permissions_for(person)
    if not may.view_channel:
        return False
    if not key.thread:
        return True
    kind = await _kind_of_thread(wire, channel.guild, int(key.thread))
    if kind is None:
        return await _is_message(wire, channel.id, int(key.thread))
    if kind in PUBLIC_THREADS:
        return True
    return kind == PRIVATE_THREAD and (
        may.manage_threads or await _is_in(wire, int(key.thread), person.id)
    )


async def _kind_of_thread(wire: RestApi, guild: discord.Guild, thread: int) -> int | None:
    """Discord's number for the kind of a thread; None where no thread has this id."""
    known = guild.get_thread(thread)
    if known is not None:
        return int(known.type.value)
    try:
        answer: Any = await wire.ask(
            w.at("place", thread), lambda client: client.http.get_channel(thread)
        )
    except Gone as error:
        if code_of(error) == w.UNKNOWN_CHANNEL:
            return None
        raise
    kind = answer.get("type") if isinstance(answer, Mapping) else None
    return kind if isinstance(kind, int) else -1


async def _is_message(wire: RestApi, channel: int, message: int) -> bool:
    """Whether it is a message in the channel, below which a reply chain may be.

    A private thread that was deleted is none.
    """
    try:
        await wire.ask(
            w.at("message", channel), lambda client: client.http.get_message(channel, message)
        )
    except Gone:
        return False
    return True


async def _is_in(wire: RestApi, thread: int, user: int) -> bool:
    try:
        await wire.ask(
            w.at("member", thread), lambda client: client.http.get_thread_member(thread, user)
        )
    except Gone:
        return False
    return True
