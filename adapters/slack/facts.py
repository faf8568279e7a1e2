"""Facts about people, groups and channels from Slack, at most a minute old.

Events about renamed channels, changed user groups and memberships expire a fact immediately.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

from adapters.slack import payloads, people
from adapters.slack import text as slack_text
from adapters.slack.api import WebApi
from adapters.slack.events import DIRECT, Identity
from adapters.slack.fact_cache import FactCache
from adapters.slack.organization import OrganizationTeams
from adapters.slack.payloads import Payload, ident, mapping
from adapters.slack.people import Person, is_stranger, parse_person
from adapters.slack.user_groups import UserGroups, parse_groups
from bot.config.policy_references import fold
from bot.domain.errors import Gone, PlatformError, Unsettled
from bot.ports.clock import Clock

MAX_PEOPLE, MAX_CHANNELS = 10_000, 10_000
MAX_MEMBER_LISTS = 100
"""How many channels' member lists to cache, up to a megabyte each."""

MAX_HOMES = 20_000
"""How many people's home workspaces to remember; a person's id never moves to another workspace."""

MAX_MEMBERS, MAX_PAGES = 1_000, 10
"""How many members one request lists, and the most requests: in a larger channel, membership may
stay unknown."""

CHANNELS_A_PAGE, MAX_CHANNEL_PAGES = 1_000, 30
NAME_SECONDS = 120.0
"""How long searching for a channel by name may take: conversations.list is Tier 2."""

ALL_GROUPS = ""
NO_GROUPS = frozenset({"plan_upgrade_required", "paid_teams_only"})
"""Errors from workspaces whose plan has no user groups:
https://docs.slack.dev/reference/methods/usergroups.list"""

ABSENT = frozenset({"user_not_found", "user_not_visible", "users_not_found"})
NO_CHANNEL = frozenset({"channel_not_found", "method_not_supported_for_channel_type"})


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """A channel's kind, as in `channel_type`, and its name; "" if unknown."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Members:
    """The people in a channel; `is_complete` unless there are too many to list."""

    ids: frozenset[str]
    is_complete: bool


class WorkspaceFacts:
    """One workspace's facts. Lookups raise a PlatformError."""

    def __init__(self, *, me: Identity, api: WebApi, clock: Clock) -> None:
        self._me, self._api, self._teams = me, api, OrganizationTeams(me=me, api=api, clock=clock)
        self._homes: LRUCache[str, str] = LRUCache(MAX_HOMES)
        self.people = FactCache(fetch=self._fetch_person, clock=clock, size=MAX_PEOPLE)
        self.groups = FactCache(fetch=self._fetch_groups, clock=clock, size=1)
        self.channels = FactCache(fetch=self._fetch_channel, clock=clock, size=MAX_CHANNELS)
        self.members = FactCache(fetch=self._fetch_members, clock=clock, size=MAX_MEMBER_LISTS)
        self._ids = FactCache(
            fetch=self._find_channel, clock=clock, size=MAX_CHANNELS, patience=NAME_SECONDS
        )

    async def aclose(self) -> None:
        """Cancel the lookups in flight."""
        for cache in (self.people, self.groups, self.channels, self.members, self._ids):
            await cache.aclose()

    @property
    def teams(self) -> OrganizationTeams:
        """The workspaces that requests about channels and groups must name."""
        return self._teams

    async def channel_id(self, name: str) -> str:
        """The id of the channel with a folded name; "" if the bot can see no such channel."""
        return await self._ids.get(name)

    # ── events ────────────────────────────────────────────────────────────────────────────────
    def note_home(self, user: str, home: str) -> None:
        """Record a person's home workspace, which an event named."""
        if user and home:
            self._homes[user] = home

    def is_stranger(self, user: str) -> bool | None:
        """Whether the person is known to belong to another organization; None if unknown."""
        return people.is_elsewhere(self._homes.get(user, ""), self._me)

    def channel_renamed(self, channel: str, name: str) -> None:
        """Record a channel's new name."""
        self.channels.forget(channel)
        self._ids.forget_where(lambda known, id_: id_ == channel or known == fold(name))

    def membership_changed(self, channel: str) -> None:
        """Forget a channel's members: a person joined or left, or it was archived."""
        self.members.forget(channel)
        self.channels.forget(channel)
        self._ids.forget_where(lambda _name, id_: id_ in (channel, ""))

    def groups_changed(self) -> None:
        """Forget the user groups: one of them or its members changed."""
        self.groups.forget(ALL_GROUPS)

    # ── requests ──────────────────────────────────────────────────────────────────────────────
    async def _fetch_person(self, user: str) -> Person:
        try:
            response = await self._api.read_paced("users.info", user=user)
        except PlatformError as error:
            if error.code in ABSENT:
                raise Gone(code=error.code) from error
            raise
        described = response.mapping("user")
        person, home = parse_person(described, self._me), ident(described, "team_id")
        if person.standing is not None and is_stranger(person) is not (home == self._me.team):
            self.note_home(user, home)
        return person

    async def _fetch_groups(self, _all: str) -> UserGroups:
        found: list[Any] = []
        for team in await self._teams.arguments():
            try:
                response = await self._api.read_paced(
                    "usergroups.list", include_users="true", include_count="true", **team
                )
            except PlatformError as error:
                if error.code not in NO_GROUPS:
                    raise
            else:
                found.extend(response.values("usergroups"))
        return parse_groups(found)

    async def _fetch_channel(self, channel: str) -> ChannelFacts:
        response = await self._api.read_paced("conversations.info", channel=channel)
        described = response.mapping("channel")
        return ChannelFacts(kind_of(described), name_of(described))

    async def _fetch_members(self, channel: str) -> Members:
        found: set[str] = set()
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            response = await self._api.read_paced(
                "conversations.members", channel=channel, limit=MAX_MEMBERS, cursor=cursor
            )
            found.update(response.strings("members"))
            if (cursor := response.next_cursor) is None:
                return Members(frozenset(found), is_complete=True)
        return Members(frozenset(found), is_complete=False)

    async def _find_channel(self, name: str) -> str:
        """Search the bot's channels, then all public ones."""
        for method in ("users.conversations", "conversations.list"):
            for team in await self._teams.arguments():
                if found := await self._find_listed(method, name, team):
                    return found
        return ""

    async def _find_listed(self, method: str, name: str, team: Mapping[str, Any]) -> str:
        """Search one list. Raises Unsettled if the channel may be an entry without a name."""
        cursor: str | None = None
        is_readable = True
        for _ in range(MAX_CHANNEL_PAGES):
            response = await self._api.read_paced(
                method,
                types="public_channel,private_channel",
                exclude_archived="true",
                limit=CHANNELS_A_PAGE,
                cursor=cursor,
                **team,
            )
            listed = response.values("channels")
            for channel in payloads.objects(listed):
                if ident(channel, "id") and fold(name_of(channel)) == name:
                    return ident(channel, "id")
            is_readable &= all(isinstance(one, Mapping) and name_of(one) for one in listed)
            if (cursor := response.next_cursor) is None:
                break
        if not is_readable:
            raise Unsettled("Slack's list has channels without a name")
        return ""


def kind_of(channel: Payload) -> str:
    """A channel's kind, as in `channel_type`; "" if `channel` does not reveal it.

    A channel counts as public only if Slack says so, because everyone may read public
    conversations.
    """
    if channel.get("is_im"):
        return DIRECT
    if channel.get("is_mpim"):
        return "mpim"
    if channel.get("is_private") or channel.get("is_group"):
        return "group"
    return "channel" if channel.get("is_private") is False else ""


def name_of(channel: Payload) -> str:
    """A channel's name without the #; "" for a direct message."""
    return slack_text.name(payloads.text(channel, "name"))


def renamed_channel(event: Payload) -> tuple[str, str]:
    """The id and new name from `channel_rename` or `group_rename`."""
    channel = mapping(event, "channel")
    return ident(channel, "id"), payloads.text(channel, "name")
