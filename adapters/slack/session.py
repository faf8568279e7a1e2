"""Everything needed to serve one active workspace."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import aiohttp
from cachetools import TTLCache

from adapters.slack.api import WebApi, web_client
from adapters.slack.backfill import SlackBackfill
from adapters.slack.blocks import MessageBuilder
from adapters.slack.budgets import workspace_limiter
from adapters.slack.downloads import SlackFiles
from adapters.slack.events import Identity
from adapters.slack.interactions import SlackInteractionHandler
from adapters.slack.listeners import Listeners
from adapters.slack.mrkdwn import Mrkdwn
from adapters.slack.payloads import Payload
from adapters.slack.removals import SlackRemovals, send_removal
from adapters.slack.status_registry import StatusRegistry
from adapters.slack.surface import SlackSurface
from adapters.slack.token import TokenSource
from adapters.slack.workspace import Workspace
from bot.catchup.leftovers import Leftovers
from bot.catchup.watermark_saver import WatermarkSaver
from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.replies import FileRules
from bot.domain.turns import Claim
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster
from bot.ports.inbox import Inbox
from bot.ports.model import ModelCatalog
from bot.replies.ratelimit.limiter import AccountRateLimiter

# How long a channel gets no files after Slack refused one there, in seconds.
NO_FILES_SECONDS = 600.0
MAX_CHANNELS = 10_000


@dataclass(slots=True)
class Session:
    """One workspace's parts. `files` is None once the session has ended."""

    workspace: Workspace
    builder: MessageBuilder
    statuses: StatusRegistry
    backfill: SlackBackfill
    listeners: Listeners
    tokens: TokenSource
    files: SlackFiles | None
    limiter: AccountRateLimiter
    channels_without_files: TTLCache[str, bool]
    clock: Clock
    used_at: float
    _handling: int = 0
    _surfaces: weakref.WeakSet[SlackSurface] = field(default_factory=weakref.WeakSet)

    @property
    def api(self) -> WebApi:
        """The Web API with the workspace's token."""
        return self.workspace.api

    @property
    def busy(self) -> bool:
        """Whether any of its work is under way."""
        return bool(
            self._handling
            or self._surfaces
            or self.limiter.busy
            or self.backfill.busy
            or self.statuses.busy
            or self.listeners.busy
            or self.tokens.busy
        )

    @contextlib.contextmanager
    def handling(self) -> Iterator[None]:
        """Keeps the session open while a delivery is handled."""
        self._handling += 1
        try:
            yield
        finally:
            self._handling -= 1
            self.used_at = self.clock.monotonic()

    def surface(self, claim: Claim, rules: FileRules | None) -> SlackSurface:
        """The surface for a turn's reply."""
        key = claim.conversation.key
        made = SlackSurface(
            claim=claim,
            me=self.workspace.me,
            api=self.api,
            builder=self.builder,
            status=self.statuses.status(
                (key.channel, key.thread),
                claim.conversation.id,
                left_over=claim.fence.attempt > 1,
            ),
            removals=SlackRemovals(self.api, self.statuses.leftovers, claim.conversation),
            clock=self.clock,
            rules=rules,
            channels_without_files=self.channels_without_files,
        )
        self._surfaces.add(made)
        return made

    async def remove(self, leftover: Leftover) -> None:
        """See `bot.catchup.leftovers`."""
        with self.handling():
            if leftover.kind is LeftoverKind.STATUS:
                await self.statuses.remove(leftover)
            else:
                await send_removal(self.api, leftover)

    def end(self, reason: str) -> None:
        """Stop sending with the workspace's token."""
        self.api.close(reason)
        self.files = None

    async def aclose(self) -> None:
        """Stop all work; running replies keep the parts that they use."""
        self.files = None
        await self.listeners.aclose()
        await self.backfill.aclose()
        await self.statuses.aclose()
        await self.workspace.aclose()
        await self.tokens.aclose()


@dataclass(frozen=True, slots=True)
class SessionMaker:
    """Creates sessions on shared connections; the app's commands begin with `prefix`.

    `download_seconds` is a download's timeout, and the processes of `cluster` share the budgets.
    Sessions record in `leftovers` what they could not remove.
    """

    http: aiohttp.ClientSession
    downloads: aiohttp.ClientSession
    api_url: str | None
    inbox: Inbox
    saver: WatermarkSaver
    mrkdwn: Mrkdwn
    models: ModelCatalog
    clock: Clock
    prefix: str
    download_seconds: float
    leftovers: Leftovers
    cluster: Cluster

    def api(self, tokens: TokenSource, limiter: AccountRateLimiter | None = None) -> WebApi:
        """The Web API with the token of one workspace."""
        return WebApi(
            client=web_client("", self.api_url, self.http),
            session=self.http,
            rate_limiter=limiter or workspace_limiter(self.clock),
            clock=self.clock,
            tokens=tokens,
        )

    def make(
        self, me: Identity, tokens: TokenSource, removed: Callable[[Payload], Awaitable[None]]
    ) -> Session:
        """Create a session without sending anything; for `removed`, see `Listeners`."""
        limiter = workspace_limiter(self.clock, self._members)
        api = self.api(tokens, limiter)
        workspace = Workspace(me=me, api=api, clock=self.clock, listens=self.inbox.listens)
        builder = MessageBuilder(self.mrkdwn, self.clock)
        statuses = StatusRegistry(api=api, clock=self.clock, leftovers=self.leftovers)
        return Session(
            workspace=workspace,
            builder=builder,
            statuses=statuses,
            backfill=SlackBackfill(
                workspace=workspace,
                inbox=self.inbox,
                saver=self.saver,
                clock=self.clock,
                alone=lambda: self.cluster.exclusively(f"slack catch-up {me.team}"),
                members=self._members,
            ),
            listeners=self._listeners(workspace, builder, removed),
            tokens=tokens,
            files=SlackFiles(api=api, session=self.downloads, seconds=self.download_seconds),
            limiter=limiter,
            channels_without_files=TTLCache(MAX_CHANNELS, NO_FILES_SECONDS, self.clock.monotonic),
            clock=self.clock,
            used_at=self.clock.monotonic(),
        )

    def _members(self) -> int:
        return self.cluster.members

    def _listeners(
        self,
        workspace: Workspace,
        builder: MessageBuilder,
        removed: Callable[[Payload], Awaitable[None]],
    ) -> Listeners:
        return Listeners(
            workspace=workspace,
            inbox=self.inbox,
            saver=self.saver,
            builder=builder,
            interactions=SlackInteractionHandler(
                inbox=self.inbox, workspace=workspace, models=self.models
            ),
            prefix=self.prefix,
            clock=self.clock,
            removed=removed,
        )
