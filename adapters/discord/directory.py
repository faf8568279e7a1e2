"""Discord's facts about people and places: see `bot.ports.policy.Directory`.

Invariant: a fact that Discord does not confirm is an error, never a guess. Direct messages have no
roles of their own, so a person has there the roles from all guilds shared with the bot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import discord

from adapters.discord.access import AllowedGuilds, can_member_read
from adapters.discord.channels import DIRECT_MESSAGES, PLATFORM
from adapters.discord.errors import UNKNOWN_CHANNEL
from adapters.discord.guild_facts import GuildFacts
from adapters.discord.members import Members
from adapters.discord.payload_schemas import GUILD_MEMBER, UNNAMED
from adapters.discord.payload_validation import validate
from adapters.discord.private_notices import PrivateNotices
from adapters.discord.rest import RestApi, request_scopes
from adapters.discord.shared_requests import answers_of
from bot.config.policy_references import fold
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, Unsettled
from bot.domain.policy import PersonFacts, PersonKind, PersonRef, PlaceFacts, PlaceLevel, PlaceRef

MAX_SHARED_GUILDS = 10
"""The most guilds to ask about the author of a direct message; each costs one request."""

ADMINS = discord.Permissions(administrator=True, manage_guild=True).value

Connect = Callable[[], AbstractAsyncContextManager[None]]
"""Logs in without the gateway for the duration of the context."""


class DiscordDirectory:
    """Implements `Directory`; `connect` lets `doctor` ask without a running adapter."""

    def __init__(
        self,
        *,
        rest: RestApi,
        guilds: AllowedGuilds,
        members: Members,
        notices: PrivateNotices,
        connect: Connect,
    ) -> None:
        self._rest, self._guilds, self._members = rest, guilds, members
        self._facts = GuildFacts(rest)
        self._notices, self._connect = notices, connect

    @property
    def has_strangers(self) -> bool:
        """Discord knows members only."""
        return False

    async def aclose(self) -> None:
        """End all requests."""
        await self._facts.aclose()
        await self._members.aclose()

    # ── places ────────────────────────────────────────────────────────────────────────────────
    async def place(self, key: ConversationKey) -> PlaceFacts:
        """See the port. A thread counts as part of its parent channel."""
        if key.workspace == DIRECT_MESSAGES:
            return PlaceFacts(key)
        self._require_running()
        guild = _id(key.workspace)
        found = await self._facts.channel(guild, _id(key.channel))
        if found is None:
            raise Gone("the guild has no such channel", code=UNKNOWN_CHANNEL)
        if found.category is None:
            return PlaceFacts(key, found.name)
        category = await self._facts.channel(guild, found.category)
        if category is None:
            raise Unsettled("the channel's category is unknown")
        return PlaceFacts(key, found.name, str(found.category), category.name)

    async def is_stranger(self, _key: ConversationKey, _author: Author) -> bool:
        """Discord knows members only."""
        return False

    async def can_read(self, channel: ConversationKey, user: str) -> bool:
        """See the port. In a direct message, any guild shared with the person counts."""
        self._require_running()
        if not user.isdecimal():
            return False
        shared = await self._guilds_of(channel)
        found, error = await answers_of(
            self._can_read_in(guild, channel.channel, int(user)) for guild in shared
        )
        if not any(found) and error is not None:
            raise error
        return any(found)

    async def _can_read_in(self, guild: int, channel: str, user: int) -> bool:
        cached = await self._facts.find_whole(guild)
        if cached is None:
            raise Unsettled("the guild's permissions are unknown")
        try:
            member = await self._member(cached, user)
        except Gone:
            return False
        ids = await self._channels_named(guild, channel)
        return any([await self._can_member_read(member, id_) for id_ in ids])

    async def _can_member_read(self, member: discord.Member, channel: int) -> bool:
        guild = member.guild
        is_channel = await self._facts.channel(guild.id, channel) is not None
        if is_channel and guild.get_channel(channel) is None:
            raise Unsettled("the channel's permissions are unknown")
        try:
            return await can_member_read(self._rest, member, channel)
        except Gone as error:
            if error.code == UNKNOWN_CHANNEL:
                return False
            raise

    async def _member(self, guild: discord.Guild, user: int) -> discord.Member:
        """A member whose permissions can be computed. Raises Gone, or another PlatformError."""
        roles = (await self._members.roles(guild.id, user)).roles or frozenset()
        if not all(guild.get_role(role) for role in roles):
            raise Unsettled("the permissions of a member's role are unknown")
        about = {"id": str(user), "username": UNNAMED}
        raw = {"roles": [str(role) for role in roles], "user": about}
        data: Any = validate(raw, GUILD_MEMBER)
        return discord.Member(data=data, guild=guild, state=guild._state)

    async def _channels_named(self, guild: int, channel: str) -> Sequence[int]:
        """Channels with a name (`#ops`), or the channel or thread with an id."""
        if channel.startswith("#"):
            return await self._facts.find_channels(guild, fold(channel), categories=False)
        return [int(channel)] if channel.isdecimal() else []

    # ── people ────────────────────────────────────────────────────────────────────────────────
    async def person(self, key: ConversationKey, author: Author) -> PersonFacts:
        """See the port. Members with the Manage Server permission count as administrators."""
        self._require_running()
        if not author.id.isdecimal():
            raise Gone("not a user's id")
        shared = await self._guilds_of(key)
        found, error = await answers_of(self._facts_in(guild, author) for guild in shared)
        facts = [each for each in found if each is not None]
        if not facts:
            raise error or Gone("not a member")
        if key.workspace != DIRECT_MESSAGES:
            return facts[0]
        return PersonFacts(
            author,
            groups=frozenset().union(*(each.groups for each in facts)),
            group_names=frozenset().union(*(each.group_names for each in facts)),
            groups_are_known=error is None,
        )

    async def _facts_in(self, guild: int, author: Author) -> PersonFacts | None:
        """Facts about a person in a guild; None if they are not a member."""
        user = int(author.id)
        try:
            member = await self._members.roles(guild, user)
        except Gone:
            return None
        try:
            roles, owner = await self._facts.roles_of(guild, member)
        except Gone as error:  # the person is there, and what their roles mean is unknown
            raise Unsettled("the guild's roles cannot be read") from error
        granted = 0
        for role in roles:
            granted |= role.permissions
        return PersonFacts(
            author,
            groups=frozenset(str(role) for role in (*(member.roles or ()), guild)),
            group_names=frozenset(fold(role.name) for role in roles),
            is_workspace_admin=owner == user or bool(granted & ADMINS),
        )

    async def _guilds_of(self, key: ConversationKey) -> Sequence[int]:
        """The key's guild, or every guild for direct messages. Raises a PlatformError."""
        if key.workspace != DIRECT_MESSAGES:
            return [_id(key.workspace)]
        served = await self._guilds.list_served()
        if len(served) > MAX_SHARED_GUILDS:
            raise Unsettled("the bot is in too many servers to ask each about a person")
        return served

    # ── references ────────────────────────────────────────────────────────────────────────────
    async def unknown(self, refs: Sequence[PlaceRef | PersonRef]) -> Sequence[str]:
        """See the port. Raises a PlatformError."""
        own = [ref for ref in refs if ref.platform in ("", PLATFORM)]
        async with self._use_connection():
            return [ref.text for ref in own if not await self._is_known(ref)]

    @asynccontextmanager
    async def _use_connection(self) -> AsyncIterator[None]:
        if self._rest.inbox is not None:
            yield
            return
        async with self._connect():
            yield

    async def _is_known(self, ref: PlaceRef | PersonRef) -> bool:
        if isinstance(ref, PlaceRef):
            return await self._is_known_place(ref)
        if ref.kind not in _NAMED:
            return True
        key = ConversationKey(PLATFORM, ref.workspace or DIRECT_MESSAGES, "", "")
        for guild in await self._guilds_of(key):
            with suppress(Gone):  # no such person, or the bot is not in that guild
                if await self._is_known_in(guild, ref):
                    return True
        return False

    async def _is_known_in(self, guild: int, ref: PersonRef) -> bool:
        """Whether a guild has the person, role or channel of a reference. Raises Gone if it has no
        such person."""
        if ref.kind is PersonKind.USER:
            if not ref.value.isdecimal():
                return False
            await self._members.roles(guild, int(ref.value))
            return True
        if ref.kind is PersonKind.CHANNEL:
            return await self._has_channel(guild, ref.value)
        return await self._has_role(guild, ref)

    async def _has_role(self, guild: int, ref: PersonRef) -> bool:
        by_name = ref.kind is PersonKind.NAME

        def is_meant(id_: int, name: str) -> bool:
            return fold(name) == ref.value if by_name else str(id_) == ref.value

        cached = await self._facts.find_cached(guild)
        if cached is not None and any(is_meant(role.id, role.name) for role in cached.roles):
            return True
        listed = await self._facts.list_roles(guild)
        if any(is_meant(id_, role.name) for id_, role in listed.items.items()):
            return True
        if not listed.complete:
            raise Unsettled("the guild's roles cannot be read")
        return False

    async def _is_known_place(self, ref: PlaceRef) -> bool:
        try:
            return await self._is_place(ref)
        except Gone:
            return False

    async def _is_place(self, ref: PlaceRef) -> bool:
        if ref.level is PlaceLevel.PLATFORM or ref.workspace == DIRECT_MESSAGES:
            return True
        guild = _id(ref.workspace)
        if ref.level is PlaceLevel.WORKSPACE:
            return await self._is_in(guild)
        if ref.level is not PlaceLevel.CATEGORY:
            channel = ref.value.partition("/")[0]
            return await self._has_channel(guild, f"#{channel}" if ref.is_name else channel)
        if ref.is_name:
            return bool(await self._facts.find_channels(guild, ref.value, categories=True))
        found = await self._facts.channel(guild, _id(ref.value))
        return found is not None and found.is_category

    async def _is_in(self, guild: int) -> bool:
        """Whether the bot is in a guild that it serves."""
        if not self._guilds.allows(guild):
            return False
        try:
            await self._facts.list_roles(guild)
        except Gone:
            return False
        return True

    async def _has_channel(self, guild: int, channel: str) -> bool:
        """Whether a guild has a channel or thread."""
        found = await self._channels_named(guild, channel)
        if not found or channel.startswith("#"):
            return bool(found)
        if await self._facts.channel(guild, found[0]) is not None:
            return True
        try:
            await self._rest.request(
                request_scopes("get-channel", channel),
                lambda client: client.http.get_channel(int(channel)),
            )
        except Gone:
            return False
        return True

    # ── notices ───────────────────────────────────────────────────────────────────────────────
    async def tell(self, key: ConversationKey, author: Author, text: str) -> None:
        """See the port."""
        await self._notices.tell(key, author, text)

    def _require_running(self) -> None:
        if self._rest.inbox is None:
            raise Unsettled("the adapter is not running")


_NAMED = (PersonKind.USER, PersonKind.GROUP, PersonKind.NAME, PersonKind.CHANNEL)


def _id(value: str) -> int:
    """Parse a snowflake. Raises Gone for anything else, since that cannot name anything on
    Discord."""
    if not value.isdecimal():
        raise Gone("not an id")
    return int(value)
