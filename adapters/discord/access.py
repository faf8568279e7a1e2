"""Access control: which guilds may use the bot, and who can read which conversation.

Discord is asked every time; access that cannot be confirmed is denied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import discord
import structlog
from cachetools import TTLCache

from adapters.discord.channels import DIRECT_MESSAGES, PLATFORM
from adapters.discord.errors import UNKNOWN_CHANNEL, UNKNOWN_MEMBER, UNKNOWN_USER
from adapters.discord.guild_snapshots import fetch_guild
from adapters.discord.payload_schemas import GUILD_MEMBER
from adapters.discord.payload_validation import (
    REQUIRED,
    Field,
    InvalidPayload,
    Schema,
    snowflake,
    strict_list_of,
    validate,
)
from adapters.discord.payloads import read_id
from adapters.discord.rest import RestApi, request_scopes
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone, PlatformError, Unsettled

log = structlog.stdlib.get_logger(__name__)

# How long a membership (or its absence) is cached, in seconds, and how many are: about 1 MB.
MEMBER_SECONDS, MAX_CACHED_MEMBERS = 600.0, 10_000
# Without one of their roles, a member could seem to have more rights.
STRICT_MEMBER: Schema = {**GUILD_MEMBER, "roles": Field(strict_list_of(snowflake), REQUIRED)}
MAX_GUILDS = 200  # documented: the most that one request returns
PUBLIC_THREADS, PRIVATE_THREAD = (10, 11), 12  # documented channel types


class AllowedGuilds:
    """The guilds that may use the bot: those in `ids`, or all if `ids` is empty."""

    def __init__(self, *, rest: RestApi, ids: frozenset[str] = frozenset()) -> None:
        self._rest, self._ids = rest, ids
        # By user id: whether the user is a member of an allowed guild.
        self._members: TTLCache[str, bool] = TTLCache(
            MAX_CACHED_MEMBERS, MEMBER_SECONDS, rest.clock.monotonic
        )

    async def list_served(self) -> Sequence[int]:
        """The guilds whose members may write direct messages. Raises a PlatformError."""
        client = await self._rest.client()
        inside = [guild.id for guild in client.guilds]  # READY names all of its shard
        if not inside or not self._rest.holds_all:
            response: Any = await self._rest.request(
                request_scopes("guilds"), lambda c: c.http.get_guilds(limit=MAX_GUILDS)
            )
            if not isinstance(response, list):
                raise Unsettled("the list of guilds cannot be read")
            found = [read_id(guild, "id") for guild in response]
            inside = [id_ for id_ in found if id_ is not None]
        return sorted(id_ for id_ in inside if self.allows(id_))

    def allows(self, guild: object) -> bool:
        """Whether the members of this guild may use the bot."""
        return not self._ids or str(guild) in self._ids

    async def allows_user(self, guild: object, user: int) -> bool:
        """Whether a user may use the bot in `guild`; in a direct message, membership of any
        allowed guild counts.

        Raises a PlatformError if Discord cannot answer now.
        """
        if not self._ids or guild not in (None, DIRECT_MESSAGES):
            return self.allows(guild)
        known = self._members.get(str(user))
        if known is None:
            memberships = [await self._is_member(int(id_), user) for id_ in sorted(self._ids)]
            known = any(memberships)
            if known or None not in memberships:  # otherwise the next answer may be another
                self._members[str(user)] = known
        return known

    async def _is_member(self, guild: int, user: int) -> bool | None:
        """Whether the user is a member; None if Discord refuses to say, for whatever reason."""
        try:
            await self._rest.request(
                request_scopes("member", guild),
                lambda client: client.http.get_member(guild, user),
            )
        except Gone as error:
            return False if error.code in (UNKNOWN_MEMBER, UNKNOWN_USER) else None
        return True


async def can_user_read(rest: RestApi, user: int, guild: int, channel: int) -> bool:
    """Whether a user can read a channel's or thread's messages now, in a guild that the bot is in.

    Also False if Discord's answers leave it open. Raises a PlatformError if Discord does not
    answer.
    """
    found = (await rest.client()).get_guild(guild)
    if found is None and not rest.holds(guild):
        found = await fetch_guild(rest, guild)
    member = await _fetch_member(rest, found, user) if found is not None else None
    if found is None or member is None:
        return False
    return await can_member_read(rest, member, channel)


async def can_member_read(rest: RestApi, member: discord.Member, channel: int) -> bool:
    """Whether a member can read a channel's or thread's messages in their guild now.

    Also False if Discord's answers leave it open. Raises a PlatformError if Discord does not
    answer.
    """
    parent, thread = await _place_of(rest, member.guild, channel)
    if parent is None or not _can_read_history(parent, member):
        return False
    key = ConversationKey(PLATFORM, str(member.guild.id), str(parent.id), thread)
    return await _can_read_in_guild(rest, member, key)


async def _fetch_member(rest: RestApi, guild: discord.Guild, user: int) -> discord.Member | None:
    """Fetch a member with their roles; None if the user is not a member or has an unknown role."""
    try:
        response: Any = await rest.request(
            request_scopes("member", guild.id),
            lambda client: client.http.get_member(guild.id, user),
        )
        data: Any = validate(response, STRICT_MEMBER)
    except Gone:
        return None
    except InvalidPayload as error:
        raise Unsettled("a member's roles cannot be read") from error
    roles = [guild.get_role(int(role)) for role in data["roles"]]
    if None in roles or int(data["user"]["id"]) != user:
        return None
    return discord.Member(data=data, guild=guild, state=guild._state)


async def _place_of(
    rest: RestApi, guild: discord.Guild, channel: int
) -> tuple[discord.abc.GuildChannel | None, str]:
    """Return a channel and "", or a thread's parent and the thread's id; no channel if it is
    unknown."""
    found = guild.get_channel(channel)
    if found is not None:
        return found, ""
    thread = guild.get_thread(channel)
    if thread is not None:
        return guild.get_channel(thread.parent_id), str(channel)
    raw: Any = await rest.request(
        request_scopes("get-channel", channel), lambda client: client.http.get_channel(channel)
    )
    if read_id(raw, "guild_id") != guild.id or read_id(raw, "id") != channel:
        return None, ""
    return guild.get_channel(read_id(raw, "parent_id") or 0), str(channel)


def _can_read_history(channel: discord.abc.GuildChannel, member: discord.Member) -> bool:
    granted = channel.permissions_for(member)
    is_voice = isinstance(channel, discord.VoiceChannel | discord.StageChannel)
    return granted.read_message_history and (granted.connect or not is_voice)


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
    if not isinstance(user, discord.Member) or str(user.guild.id) != key.workspace:
        return False
    channel = user.guild.get_channel(int(key.channel))
    if channel is None:
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
    """The thread's channel type, -1 if the response has none, or None if there is no thread."""
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
    """Whether the channel has this message; a deleted private thread's id does not name one."""
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
