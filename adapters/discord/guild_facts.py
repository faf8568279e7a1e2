"""Roles, channels and categories of a guild, from the gateway's cache or otherwise from REST.

Invariant: facts are at most `FACTS_SECONDS` old. If part of a response is unreadable, whatever is
missing from it counts as unknown rather than absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import discord
from cachetools import TTLCache

from adapters.discord.guild_snapshots import fetch_guild
from adapters.discord.members import Member
from adapters.discord.payload_validation import (
    REQUIRED,
    Field,
    InvalidPayload,
    Schema,
    list_of,
    nullable,
    number,
    object_of,
    permissions,
    snowflake,
    text,
    validate,
)
from adapters.discord.payloads import read_id
from adapters.discord.rest import RestApi, request_scopes
from adapters.discord.shared_requests import SharedRequests
from bot.config.policy_references import fold
from bot.domain.errors import Unsettled

T = TypeVar("T")

FACTS_SECONDS, MAX_GUILDS = 60.0, 1_000
MAX_SNAPSHOTS = 100  # whole guilds, each up to a megabyte
CATEGORY = 4  # documented channel type

ROLE: Schema = {
    "id": Field(snowflake, REQUIRED),
    "name": Field(text, REQUIRED),
    "permissions": Field(permissions, REQUIRED),
}
CHANNEL: Schema = {
    "id": Field(snowflake, REQUIRED),
    "type": Field(number, REQUIRED),
    "name": Field(text, REQUIRED),
    "parent_id": Field(nullable(snowflake), REQUIRED),
}


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """A role; `permissions` are Discord's bits."""

    name: str
    permissions: int


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """A channel or category; `category` is the id of the category it is in."""

    name: str
    is_category: bool
    category: int | None


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """A guild's roles or channels by id.

    `at` is the time of the request, in monotonic seconds; `complete` means that the whole response
    was readable.
    """

    items: Mapping[int, T]
    complete: bool
    at: float
    owner: int | None = None


class GuildFacts:
    """Finds the roles and channels of guilds."""

    def __init__(self, rest: RestApi) -> None:
        self._rest, self._requests = rest, SharedRequests()
        now = rest.clock.monotonic
        self._roles: TTLCache[int, Listed[RoleFacts]] = TTLCache(MAX_GUILDS, FACTS_SECONDS, now)
        self._channels: TTLCache[int, Listed[ChannelFacts]] = TTLCache(
            MAX_GUILDS, FACTS_SECONDS, now
        )
        self._snapshots: TTLCache[int, discord.Guild] = TTLCache(MAX_SNAPSHOTS, FACTS_SECONDS, now)

    async def aclose(self) -> None:
        """End all requests."""
        await self._requests.aclose()

    async def find_cached(self, guild: int) -> discord.Guild | None:
        """The guild as the gateway describes it; None if it is missing or older than a minute."""
        found = (await self._rest.client()).get_guild(guild)
        lost = self._rest.events_lost(guild)
        is_old = lost is not None and self._rest.clock.monotonic() - lost >= FACTS_SECONDS
        return None if found is None or found.unavailable or is_old else found

    async def find_whole(self, guild: int) -> discord.Guild | None:
        """A guild with everything needed to compute permissions.

        Comes from the gateway's cache or, if another process holds its shard, from REST. Raises a
        PlatformError.
        """
        if self._rest.holds(guild):
            return await self.find_cached(guild)
        known = self._snapshots.get(guild)
        if known is None:
            known = self._snapshots[guild] = await self._requests.run(
                ("guild", guild), lambda: fetch_guild(self._rest, guild)
            )
        return known

    # ── roles ─────────────────────────────────────────────────────────────────────────────────
    async def roles_of(self, guild: int, member: Member) -> tuple[list[RoleFacts], int | None]:
        """A member's roles, including @everyone, and the guild's owner. Raises a PlatformError."""
        wanted = {*(member.roles or ()), guild}
        cached = await self.find_cached(guild)
        if cached is not None and cached.owner_id is not None:
            found = [cached.get_role(role) for role in wanted]
            named = [_role_of(role) for role in found if role is not None and role.name]
            if len(named) == len(wanted):
                return named, cached.owner_id
        listed = await self.list_roles(guild)
        if not wanted <= listed.items.keys() and listed.at < member.seen:
            listed = await self._fetch_roles(guild)  # the member got a role since
        is_newer = listed.at >= member.seen  # the request may have been another caller's
        if not wanted <= listed.items.keys() and not (listed.complete and is_newer):
            raise Unsettled("a member's roles cannot be read")
        known = wanted & listed.items.keys()  # the others were deleted
        return [listed.items[role] for role in known], listed.owner

    async def list_roles(self, guild: int) -> Listed[RoleFacts]:
        """Fetch all roles and the owner from REST. Raises a PlatformError."""
        known = self._roles.get(guild)
        return known if known is not None else await self._fetch_roles(guild)

    async def _fetch_roles(self, guild: int) -> Listed[RoleFacts]:
        return await self._requests.run(("roles", guild), lambda: self._request_roles(guild))

    async def _request_roles(self, guild: int) -> Listed[RoleFacts]:
        began = self._rest.clock.monotonic()
        raw: Any = await self._rest.request(
            request_scopes("guild", guild),
            lambda client: client.http.get_guild(guild, with_counts=False),
            within=self._rest.timeouts.lookup,
        )
        owner = read_id(raw, "owner_id")
        if read_id(raw, "id") != guild or owner is None:
            raise Unsettled("the answer does not describe the guild")
        found, complete = _read_list(raw.get("roles"), ROLE)
        roles = {int(x["id"]): RoleFacts(x["name"], int(x["permissions"])) for x in found}
        listed = Listed(roles, complete, began, owner)
        if complete:
            self._roles[guild] = listed
        return listed

    # ── channels ──────────────────────────────────────────────────────────────────────────────
    async def channel(self, guild: int, channel: int) -> ChannelFacts | None:
        """A channel or category; None if it does not exist or is a thread.

        Raises a PlatformError.
        """
        cached = await self.find_cached(guild)
        found = cached.get_channel(channel) if cached is not None else None
        if found is not None and found.name:
            return _channel_of(found)
        listed = await self.list_channels(guild)
        if channel not in listed.items and not listed.complete:
            raise Unsettled("the guild's channels cannot be read")
        return listed.items.get(channel)

    async def find_channels(self, guild: int, name: str, *, categories: bool) -> list[int]:
        """The ids of the channels or categories with a folded name. Raises a PlatformError."""
        cached = await self.find_cached(guild)
        if cached is not None:
            found = [
                channel.id
                for channel in cached.channels
                if fold(channel.name) == name
                and isinstance(channel, discord.CategoryChannel) is categories
            ]
            if found:
                return found
        listed = await self.list_channels(guild)
        found = [
            id_
            for id_, facts in listed.items.items()
            if fold(facts.name) == name and facts.is_category is categories
        ]
        if not found and not listed.complete:
            raise Unsettled("the guild's channels cannot be read")
        return found

    async def list_channels(self, guild: int) -> Listed[ChannelFacts]:
        """Fetch all channels and categories, without threads, from REST. Raises a PlatformError."""
        known = self._channels.get(guild)
        if known is not None:
            return known
        return await self._requests.run(("channels", guild), lambda: self._request_channels(guild))

    async def _request_channels(self, guild: int) -> Listed[ChannelFacts]:
        began = self._rest.clock.monotonic()
        raw: Any = await self._rest.request(
            request_scopes("guild-channels", guild),
            lambda client: client.http.get_all_guild_channels(guild),
            within=self._rest.timeouts.lookup,
        )
        found, complete = _read_list(raw, CHANNEL)
        channels = {
            int(x["id"]): ChannelFacts(
                x["name"],
                is_category=x["type"] == CATEGORY,
                category=None if x["parent_id"] is None else int(x["parent_id"]),
            )
            for x in found
        }
        listed = Listed(channels, complete, began)
        if complete:
            self._channels[guild] = listed
        return listed


def _read_list(raw: Any, schema: Schema) -> tuple[list[Any], bool]:
    """The valid objects of a list, and whether all are valid. Raises Unsettled if it is not a
    list."""
    try:
        found = validate({"items": raw}, {"items": Field(list_of(object_of(schema)), REQUIRED)})
    except InvalidPayload as error:
        raise Unsettled("the answer is not a list") from error
    return found["items"], len(found["items"]) == len(raw)


def _role_of(role: discord.Role) -> RoleFacts:
    return RoleFacts(role.name, role.permissions.value)


def _channel_of(channel: discord.abc.GuildChannel) -> ChannelFacts:
    is_category = isinstance(channel, discord.CategoryChannel)
    return ChannelFacts(channel.name, is_category=is_category, category=channel.category_id)
