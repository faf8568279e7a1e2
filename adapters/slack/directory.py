"""Describes people and places for policy, as Slack knows them.

Invariant: a failed request to Slack never allows anything. An unknown fact is an error; unknown
user groups are only marked as unknown, because a rule may not need them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager

import structlog

from adapters.slack.blocks import MessageBuilder
from adapters.slack.events import PLATFORM
from adapters.slack.fact_cache import MISSING_SCOPE
from adapters.slack.facts import ABSENT, ALL_GROUPS, NO_CHANNEL
from adapters.slack.rate_limits import POSTS
from adapters.slack.user_groups import UserGroups
from adapters.slack.workspace import Workspace
from bot.config.policy_references import fold
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, PlatformError, Refused, Unsettled
from bot.domain.inbox import CommandReply
from bot.domain.policy import (
    PersonFacts,
    PersonKind,
    PersonRef,
    PlaceFacts,
    PlaceLevel,
    PlaceRef,
    Standing,
)

log = structlog.stdlib.get_logger(__name__)

GROUPS_SECONDS = 1.0
"""How long a person's facts wait for the user groups.

Most rules do not need the groups, and a decision waits two seconds in all.
"""


class SlackDirectory:
    """Implements `bot.ports.policy.Directory`.

    `connected` returns the workspace with this id or raises a PlatformError. `open` yields the
    workspaces with these ids ("" is any), and connects for `doctor` if the bot is not running.
    """

    def __init__(
        self,
        *,
        connected: Callable[[str], Workspace],
        open: Callable[[Collection[str]], AbstractAsyncContextManager[Sequence[Workspace]]],
        builder: MessageBuilder,
    ) -> None:
        self._connected, self._open, self._builder = connected, open, builder

    @property
    def has_strangers(self) -> bool:
        """See the port: Slack Connect."""
        return True

    async def place(self, key: ConversationKey) -> PlaceFacts:
        """See the port; direct messages have no name."""
        workspace = self._connected(key.workspace)
        if key.channel.startswith("D"):
            return PlaceFacts(key)
        found = await workspace.facts.channels.get(key.channel)
        return PlaceFacts(key, channel_name=found.name)

    async def person(self, key: ConversationKey, author: Author) -> PersonFacts:
        """See the port; a person whom an event already showed to be a stranger costs no request."""
        workspace = self._connected(key.workspace)
        standing, is_admin = Standing.STRANGER, False
        groups = asyncio.create_task(self._groups(workspace))
        try:
            if not workspace.facts.is_stranger(author.id):
                standing, is_admin = await self._standing(workspace, author.id)
            known = await groups
        finally:
            groups.cancel()
        return PersonFacts(
            author,
            standing,
            groups=known.of(author.id),
            group_names=known.handles_of(author.id),
            is_workspace_admin=is_admin,
            groups_are_known=known.is_complete,
        )

    async def is_stranger(self, key: ConversationKey, author: Author) -> bool:
        """See the port."""
        workspace = self._connected(key.workspace)
        known = workspace.facts.is_stranger(author.id)
        if known is not None:
            return known
        standing, _ = await self._standing(workspace, author.id)
        return standing is Standing.STRANGER

    async def _standing(self, workspace: Workspace, user: str) -> tuple[Standing, bool]:
        """A person's role, and whether they administer the workspace.

        Raises Gone only if the person does not exist there: Slack's other refusals, such as a
        missing scope, say nothing about them.
        """
        try:
            found = await workspace.facts.people.get(user)
        except Gone as error:
            if error.code in ABSENT:
                raise
            raise Unsettled(f"Slack does not describe people: {error}", code=error.code) from error
        if found.is_deleted:
            raise Gone(code="user_deleted")
        if found.standing is None:
            raise Unsettled("Slack's answer does not tell who a person is")
        return found.standing, found.is_admin

    async def _groups(self, workspace: Workspace) -> UserGroups:
        """The user groups; marked incomplete if Slack does not list them in time."""
        try:
            async with asyncio.timeout(GROUPS_SECONDS):
                return await workspace.facts.groups.get(ALL_GROUPS)
        except (PlatformError, TimeoutError) as error:
            log.debug("the user groups are unknown", error=repr(error))
            return UserGroups(is_complete=False)

    async def can_read(self, channel: ConversationKey, user: str) -> bool:
        """See the port. Full members can read public channels; everyone else only those they are
        in."""
        workspace = self._connected(channel.workspace)
        if channel.workspace != workspace.me.team:
            return False
        try:
            channel_id = await _channel_id(workspace, channel.channel)
            return bool(channel_id) and await self._reads(workspace, channel_id, user)
        except PlatformError as error:
            if error.code in NO_CHANNEL:
                return False
            raise

    async def _reads(self, workspace: Workspace, channel: str, user: str) -> bool:
        facts = workspace.facts
        is_public = (await facts.channels.get(channel)).kind == "channel"
        # In an organization, only the members of a channel's own workspaces can open it.
        if is_public and not workspace.me.is_org and not facts.is_stranger(user):
            try:
                standing, _ = await self._standing(workspace, user)
            except Gone:
                return False
            if standing is Standing.MEMBER:
                return True
        members = await facts.members.get(channel)
        if user not in members.ids and not members.is_complete:
            raise Unsettled("the channel has too many members to list")
        return user in members.ids

    async def unknown(self, refs: Sequence[PlaceRef | PersonRef]) -> Sequence[str]:
        """See the port. Ignores references to other platforms."""
        ours = [ref for ref in refs if ref.platform in ("", PLATFORM)]
        async with self._open({ref.workspace for ref in ours}) as workspaces:
            return [ref.text for ref in ours if not await _is_known_in_any(workspaces, ref)]

    async def tell(self, key: ConversationKey, author: Author, text: str) -> None:
        """See the port. Slack shows no private messages in a thread without replies."""
        workspace, body = (
            self._connected(key.workspace),
            self._builder.command_reply(CommandReply(text)),
        )
        try:
            await workspace.post_ephemeral(
                channel=key.channel,
                user=author.id,
                thread=key.thread if workspace.has_replies(key.channel, key.thread) else None,
                body=body,
            )
        except (Gone, Refused):
            if key.channel.startswith("D"):
                raise
            await workspace.api.write_paced(POSTS, channel=author.id, **body)


async def _is_known_in_any(workspaces: Sequence[Workspace], ref: PlaceRef | PersonRef) -> bool:
    """Whether any workspace knows `ref`: a reference without a workspace may mean any of them.

    One workspace's failure does not hide another's answer; its PlatformError is raised only if no
    other one knows `ref`.
    """
    failure: PlatformError | None = None
    for workspace in workspaces:
        try:
            if await _is_known(workspace, ref):
                return True
        except PlatformError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return False


async def _is_known(workspace: Workspace, ref: PlaceRef | PersonRef) -> bool:
    if ref.workspace not in ("", workspace.me.team):
        return False
    try:
        known = _knows_place if isinstance(ref, PlaceRef) else _knows_people
        return await known(workspace, ref)  # type: ignore[arg-type]  # chosen by its type
    except PlatformError as error:
        if error.code in NO_CHANNEL | ABSENT:
            return False
        if error.code == MISSING_SCOPE:
            scopes = " and ".join(_scopes_for(ref))
            raise Gone(f"{ref.text!r} needs the scope {scopes}", code=error.code) from error
        raise


def _scopes_for(ref: PlaceRef | PersonRef) -> Sequence[str]:
    """The scopes needed to look a reference up."""
    if isinstance(ref, PersonRef) and ref.kind in (PersonKind.NAME, PersonKind.GROUP):
        return ("usergroups:read",)
    if isinstance(ref, PersonRef) and ref.kind is PersonKind.USER:
        return ("users:read",)
    return ("channels:read", "groups:read")


async def _knows_place(workspace: Workspace, ref: PlaceRef) -> bool:
    if ref.level in (PlaceLevel.ANYWHERE, PlaceLevel.PLATFORM, PlaceLevel.WORKSPACE):
        return True
    if ref.level is PlaceLevel.CATEGORY:
        return False
    channel = f"#{ref.value}" if ref.is_name else ref.value.partition("/")[0]
    return await _knows_channel(workspace, channel)


async def _knows_people(workspace: Workspace, ref: PersonRef) -> bool:
    match ref.kind:
        case PersonKind.USER:
            return not (await workspace.facts.people.get(ref.value)).is_deleted
        case PersonKind.GROUP:
            return ref.value in (await workspace.facts.groups.get(ALL_GROUPS)).handles
        case PersonKind.NAME:
            groups = await workspace.facts.groups.get(ALL_GROUPS)
            return ref.value in groups.handles.values()
        case PersonKind.CHANNEL:
            return await _knows_channel(workspace, ref.value)
        case _:
            return True


async def _knows_channel(workspace: Workspace, channel: str) -> bool:
    channel_id = await _channel_id(workspace, channel)
    return bool(channel_id) and bool((await workspace.facts.channels.get(channel_id)).kind)


async def _channel_id(workspace: Workspace, channel: str) -> str:
    """A channel's id, from the id itself or from a name with #; "" if there is no such channel."""
    if not channel.startswith("#"):
        return channel
    return await workspace.facts.channel_id(fold(channel))
