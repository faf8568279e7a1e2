"""Who belongs to which guild, with which roles: from events, otherwise from REST.

Invariant: an entry is at most `MEMBER_SECONDS` old and never replaces a newer one. Every guild
message carries its author's roles. With the members intent, Discord also reports changes; without
it, a change takes effect within a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import discord
from cachetools import LRUCache

from adapters.discord.errors import UNKNOWN_MEMBER, UNKNOWN_USER
from adapters.discord.payload_validation import (
    REQUIRED,
    Field,
    InvalidPayload,
    Schema,
    snowflake,
    strict_list_of,
    validate,
)
from adapters.discord.payloads import get_object, read_id
from adapters.discord.rest import RestApi, request_scopes
from adapters.discord.shared_requests import SharedRequests
from adapters.discord.state import raw_of
from bot.domain.errors import Gone, Unsettled

MEMBER_SECONDS, MAX_MEMBERS = 60.0, 10_000  # about 3 MB

# Without one of their roles, a member could seem to have more rights.
ROLES: Schema = {"roles": Field(strict_list_of(snowflake), REQUIRED)}


@dataclass(frozen=True, slots=True)
class Member:
    """A user in a guild: the ids of their roles, or None if they are not a member.

    `seen` is when Discord reported this, in seconds of the monotonic clock.
    """

    roles: frozenset[int] | None
    seen: float


class Members:
    """Caches members, from events and from requests."""

    def __init__(self, rest: RestApi) -> None:
        self._rest, self._requests = rest, SharedRequests()
        self._known: LRUCache[tuple[int, int], Member] = LRUCache(MAX_MEMBERS)

    async def roles(self, guild: int, user: int) -> Member:
        """A member with roles. Raises Gone if the user is not a member, otherwise a
        PlatformError."""
        known = self._known.get((guild, user))
        if known is None or self._rest.clock.monotonic() - known.seen >= MEMBER_SECONDS:
            known = await self._requests.run((guild, user), lambda: self._fetch(guild, user))
        if known.roles is None:
            raise Gone("not a member of the guild")
        return known

    async def _fetch(self, guild: int, user: int) -> Member:
        began = self._rest.clock.monotonic()
        try:
            response: Any = await self._rest.request(
                request_scopes("member", guild),
                lambda client: client.http.get_member(guild, user),
                within=self._rest.timeouts.lookup,
            )
        except Gone as error:
            if error.code not in (UNKNOWN_MEMBER, UNKNOWN_USER):
                raise Unsettled("the guild's members cannot be read") from error
            return self._note(guild, user, Member(None, began))
        if read_id(get_object(response, "user"), "id") != user:
            raise Unsettled("the answer is not about that member")
        try:
            return self._note(guild, user, Member(_roles_in(response), began))
        except InvalidPayload as error:
            raise Unsettled("a member's roles cannot be read") from error

    def _note(self, guild: int, user: int, found: Member) -> Member:
        known = self._known.get((guild, user))
        if known is None or known.seen <= found.seen:
            self._known[guild, user] = known = found
        return known

    # ── events ────────────────────────────────────────────────────────────────────────────────
    def message(self, message: discord.Message) -> None:
        """Learn the author's roles from a new message, which may have been replayed."""
        raw, clock = raw_of(message), self._rest.clock
        guild = read_id(raw, "guild_id")
        if guild is None or message.webhook_id is not None:
            return
        try:
            roles = _roles_in(raw.get("member"))
        except InvalidPayload:
            return
        sent_at = discord.utils.snowflake_time(message.id).timestamp()
        age = max(0.0, clock.time() - sent_at)
        self._note(guild, message.author.id, Member(roles, clock.monotonic() - age))

    def updated(self, data: Any) -> None:
        """Learn a member's roles from GUILD_MEMBER_ADD or _UPDATE; forget the member if the event
        has none."""
        guild, user = read_id(data, "guild_id"), read_id(get_object(data, "user"), "id")
        if guild is None or user is None:
            self._known.clear()  # it may have been anyone
            return
        try:
            self._note(guild, user, Member(_roles_in(data), self._rest.clock.monotonic()))
        except InvalidPayload:
            self._known.pop((guild, user), None)

    def removed(self, data: Any) -> None:
        """Learn from GUILD_MEMBER_REMOVE that someone has left the guild."""
        guild, user = read_id(data, "guild_id"), read_id(get_object(data, "user"), "id")
        if guild is None or user is None:
            self._known.clear()
            return
        self._note(guild, user, Member(None, self._rest.clock.monotonic()))

    def forget_guild(self, guild: int) -> None:
        """Forget a guild's members, because a role that some had no longer exists."""
        for key in [key for key in self._known if key[0] == guild]:
            self._known.pop(key, None)

    async def aclose(self) -> None:
        """End all requests."""
        await self._requests.aclose()


def _roles_in(raw: Any) -> frozenset[int]:
    """The ids of a member's roles. Raises InvalidPayload unless all are valid."""
    return frozenset(int(role) for role in validate(raw, ROLES)["roles"])
