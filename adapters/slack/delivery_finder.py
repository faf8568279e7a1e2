"""Finds the installation for a delivery.

Slack usually names it. In a channel that several organizations share, Slack may name either side:
then the mentioned bot decides, and otherwise the workspace that has the thread's conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from cachetools import LRUCache

from adapters.slack import routing
from adapters.slack.events import PLATFORM
from adapters.slack.installation_index import FIND_SECONDS, InstallationIndex
from adapters.slack.payloads import Payload
from bot.domain.errors import Gone, PlatformError, Refused, StoreUnavailable, Unsettled
from bot.ports.installations import InstallationStore

log = structlog.stdlib.get_logger(__name__)

MAX_THREADS = 20_000

LookUp = Callable[[str, str], Awaitable[object]]
"""Looks up a channel with a workspace's token. Raises a PlatformError."""


class DeliveryFinder:
    """Finds installations in `index`."""

    def __init__(
        self, *, index: InstallationIndex, records: InstallationStore, look_up: LookUp
    ) -> None:
        self._index, self._records, self._look_up = index, records, look_up
        self._homes: LRUCache[tuple[str, str], str] = LRUCache(MAX_THREADS)

    async def find(self, body: Payload) -> str | None:
        """The workspace for a delivery; None if the app is not installed there.

        Raises Unsettled if that cannot be determined now: Slack delivers the event again.
        """
        named = routing.workspaces_in(body)
        if not any(each in self._index for each in named):
            if not named or all(map(self._index.is_absent, named)):
                return None
            await self._index.look_for(named)
        first = next((each for each in named if each in self._index), None)
        return await self._choose(body, first)

    async def _choose(self, body: Payload, first: str | None) -> str | None:
        """Choose the intended workspace when Slack names `first`."""
        if len(self._index) < 2 or routing.kind_of_event(body) in routing.REMOVALS:
            return first
        if author := routing.author_of_pressed(body):
            return self._of_bot(author, first) or first
        if not routing.is_shared(body):
            return first
        channel, thread = routing.thread_in(body)
        meant = await self._find_mentioned(body, first, channel)
        if meant is not None and thread:
            self._homes[channel, thread] = meant
        return meant or await self._home_of(channel, thread) or first

    def _of_bot(self, user: str, first: str | None) -> str | None:
        """The workspace of a bot.

        If both an organization and one of its workspaces installed the app, the two may share a bot
        user.
        """
        if first is not None and self._index.bot_of(first) == user:
            return first
        return self._index.workspace_of(user)

    async def _find_mentioned(self, body: Payload, first: str | None, channel: str) -> str | None:
        for bot in routing.mentioned_in(body):
            meant = self._of_bot(bot, first)
            if meant is not None and (meant == first or await self._is_in(meant, channel)):
                return meant
        return None

    async def _is_in(self, workspace: str, channel: str) -> bool:
        """Whether an installation sees a channel: anyone can write the id of any bot.

        Raises Unsettled if Slack does not say: neither workspace may get another one's question.
        """
        try:
            async with asyncio.timeout(FIND_SECONDS):
                await self._look_up(workspace, channel)
        except (Gone, Refused) as error:
            log.info("a bot was mentioned elsewhere", workspace=workspace, error=repr(error))
            return False
        except (PlatformError, TimeoutError) as error:
            raise Unsettled(f"the channel of a mentioned bot is unknown: {error!r}") from error
        return True

    async def _home_of(self, channel: str, thread: str) -> str | None:
        """The workspace that has a thread's conversation in a shared channel."""
        if not channel or not thread:
            return None
        home = self._homes.get((channel, thread))
        if home is None or home not in self._index:
            home = await self._read_home(channel, thread)
            if home is not None:
                self._homes[channel, thread] = home
        return home

    async def _read_home(self, channel: str, thread: str) -> str | None:
        try:
            async with asyncio.timeout(FIND_SECONDS):
                found = await self._records.workspaces_of(PLATFORM, channel, thread)
        except (StoreUnavailable, TimeoutError) as error:
            raise Unsettled(f"the thread's workspace cannot be read: {error!r}") from error
        return next((each for each in found if each in self._index), None)
