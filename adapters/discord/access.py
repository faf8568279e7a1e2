"""Access control: which guilds may use the bot, and who can read which conversation.

Discord is asked every time; access that cannot be confirmed is denied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import discord
import structlog
from cachetools import TTLCache

from adapters.discord.channels import DIRECT_MESSAGES
from adapters.discord.rest import UNKNOWN_CHANNEL, RestApi, request_scopes
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone, PlatformError

log = structlog.stdlib.get_logger(__name__)

# How long a membership (or its absence) is cached, in seconds, and how many are: about 1 MB.
MEMBER_SECONDS, MAX_CACHED_MEMBERS = 600.0, 10_000
PUBLIC_THREADS, PRIVATE_THREAD = (10, 11), 12  # documented channel types


class AllowedGuilds:
    """The guilds that may use the bot: those in `ids`, or all if `ids` is empty."""

    def __init__(self, *, rest: RestApi, ids: frozenset[str] = frozenset()) -> None:
        self._rest, self._ids = rest, ids
        # By user id: whether the user is a member of an allowed guild.
        self._members: TTLCache[str, bool] = TTLCache(
            MAX_CACHED_MEMBERS, MEMBER_SECONDS, rest.clock.monotonic
        )

    def allows(self, guild: object) -> bool:
        """Whether the members of this guild may use the bot."""
        return not self._ids or str(guild) in self._ids

    async def allows_user(self, guild: object, user: int) -> bool:
        """Whether a user may use the bot in `guild`; in a direct message, any allowed guild counts.

        Raises a PlatformError if Discord cannot say so now.
        """
        if not self._ids or guild not in (None, DIRECT_MESSAGES):
            return self.allows(guild)
        known = self._members.get(str(user))
        if known is None:
            memberships = [await self._is_member(int(id_), user) for id_ in sorted(self._ids)]
            known = self._members[str(user)] = any(memberships)
        return known

    async def _is_member(self, guild: int, user: int) -> bool:
        try:
            await self._rest.request(
                request_scopes("member", guild),
                lambda client: client.http.get_member(guild, user),
            )
        except Gone:
            return False
        return True


async def can_read(
    rest: RestApi, interaction: discord.Interaction[Any], key: ConversationKey
) -> bool:
    """Whether the user of an interaction can read a conversation now."""
    if key.workspace == DIRECT_MESSAGES:
        return str(interaction.channel_id) == key.channel
    try:
        return await _can_read_in_guild(rest, interaction.user, key)
    except PlatformError as error:
        log.warning("access to a conversation is unknown", key=str(key), error=str(error))
        return False


async def _can_read_in_guild(
    rest: RestApi, user: discord.Member | discord.User, key: ConversationKey
) -> bool:
    guild = (await rest.client()).get_guild(int(key.workspace))
    channel = guild.get_channel(int(key.channel)) if guild is not None else None
    if channel is None or not isinstance(user, discord.Member) or user.guild != guild:
        return False
    granted = channel.permissions_for(user)
    if not granted.view_channel:
        return False
    if not key.thread:
        return True
    thread_type = await _thread_type(rest, channel.guild, int(key.thread))
    if thread_type is None:  # a reply chain: its key is the id of the first message
        return await _message_exists(rest, channel.id, int(key.thread))
    if thread_type in PUBLIC_THREADS:
        return True
    return thread_type == PRIVATE_THREAD and (
        granted.manage_threads or await _is_thread_member(rest, int(key.thread), user.id)
    )


async def _thread_type(rest: RestApi, guild: discord.Guild, thread: int) -> int | None:
    """Discord's channel type of a thread, -1 if the response has none; None without a thread."""
    cached = guild.get_thread(thread)
    if cached is not None:
        return int(cached.type.value)
    try:
        response: Any = await rest.request(
            request_scopes("get-channel", thread), lambda client: client.http.get_channel(thread)
        )
    except Gone as error:
        if error.code == UNKNOWN_CHANNEL:
            return None
        raise
    found = response.get("type") if isinstance(response, Mapping) else None
    return found if isinstance(found, int) else -1


async def _message_exists(rest: RestApi, channel: int, message: int) -> bool:
    """Whether the channel has this message: the id of a deleted private thread is no message."""
    scopes = request_scopes("message", channel)
    return await _exists(rest, scopes, lambda c: c.http.get_message(channel, message))


async def _is_thread_member(rest: RestApi, thread: int, user: int) -> bool:
    scopes = request_scopes("member", thread)
    return await _exists(rest, scopes, lambda c: c.http.get_thread_member(thread, user))


async def _exists(
    rest: RestApi, scopes: tuple[str, ...], fetch: Callable[[discord.Client], Awaitable[object]]
) -> bool:
    try:
        await rest.request(scopes, fetch)
    except Gone:
        return False
    return True
