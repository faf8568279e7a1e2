"""The Slack adapter: passes events from one or many workspaces to the core and shows its replies.

A turn's conversation key and route contain all its data, so the adapter persists nothing except the
installations.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack

import aiohttp
from slack_bolt.async_app import AsyncApp
from starlette.types import ASGIApp

from adapters.slack import doctor, permalinks
from adapters.slack.api import REQUEST_SECONDS, SLACK_API, WebApi, new_session, web_client
from adapters.slack.backfill import LAG
from adapters.slack.backlog import BacklogReader
from adapters.slack.blocks import MessageBuilder
from adapters.slack.bolt import create_app
from adapters.slack.connector import AppTokens, SlackConnector
from adapters.slack.directory import SlackDirectory
from adapters.slack.distribution import DistributedApp, Distribution
from adapters.slack.downloads import DOWNLOAD_SECONDS, RETRY_SECONDS, new_download_session
from adapters.slack.events import PLATFORM
from adapters.slack.files import MAX_BYTES
from adapters.slack.http import PATH
from adapters.slack.linked_messages import LinkedMessages
from adapters.slack.mrkdwn import Mrkdwn
from adapters.slack.outages import Outages
from adapters.slack.private_files import deliver_directly
from adapters.slack.router import Router
from adapters.slack.session import Session, SessionMaker
from adapters.slack.surface import SlackSurface
from adapters.slack.workspace import Workspace
from adapters.slack.workspaces import OneWorkspace, Workspaces, choose, open_workspace
from bot.catchup.leftovers import Leftovers
from bot.catchup.watermark_saver import WatermarkSaver
from bot.common import proxies
from bot.common.local_cluster import LocalCluster
from bot.domain import privacy_texts
from bot.domain.attachments import Download, Omission
from bot.domain.conversations import ConversationKey
from bot.domain.errors import AttachmentError, CannotStart, Down, PlatformError
from bot.domain.health import Finding, Health, Verdict
from bot.domain.inbox import CommandReply, Incoming
from bot.domain.leftovers import Leftover
from bot.domain.operation import RateReport
from bot.domain.replies import FileRules
from bot.domain.turns import Claim
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster
from bot.ports.inbox import Inbox
from bot.ports.model import ModelCatalog
from bot.ports.policy import Directory


class SlackAdapter:
    """`bot.ports.platform.Adapter` for the workspace of `bot_token`, or for all workspaces that
    install the app of `distribution`.

    With `app_token`, events arrive through Socket Mode; with `signing_secret`, they arrive through
    the ASGI apps in `http_apps`, which the caller must serve. `api_url` is the base URL of the Web
    API. Code blocks that need `file_from_messages` messages or more are uploaded as files (0:
    never). `request_seconds` and `download_seconds` are timeouts. The processes of `cluster` share
    the workspace's limits.
    """

    def __init__(
        self,
        *,
        bot_token: str = "",
        distribution: Distribution | None = None,
        app_token: str | None = None,
        signing_secret: str | None = None,
        api_url: str | None = None,
        command_prefix: str = "",
        models: ModelCatalog,
        clock: Clock,
        file_from_messages: int = 0,
        request_seconds: float = REQUEST_SECONDS,
        download_seconds: float = DOWNLOAD_SECONDS,
        cluster: Cluster | None = None,
    ) -> None:
        self._cluster: Cluster = cluster or LocalCluster()
        self._download_seconds, self._request_seconds = download_seconds, request_seconds
        self._files = FileRules.from_setting(file_from_messages, MAX_BYTES)
        self._bot_token, self._tokens = bot_token, AppTokens(app_token, signing_secret, api_url)
        self._distributed = DistributedApp(distribution, clock) if distribution else None
        self._connector = SlackConnector(self._tokens, clock, connect_seconds=request_seconds)
        self._prefix, self._models, self._clock = command_prefix, models, clock
        self._mrkdwn = Mrkdwn()
        self._builder = MessageBuilder(self._mrkdwn, clock)
        self._directory = SlackDirectory(
            connected=lambda workspace: self._session(workspace).workspace,
            open=self._open_workspaces,
            builder=self._builder,
        )
        self._workspaces: Workspaces | None = None

    @property
    def name(self) -> str:
        """The platform's name in conversation keys."""
        return PLATFORM

    @property
    def directory(self) -> Directory:
        """What the platform knows about people and places."""
        return self._directory

    @property
    def http_apps(self) -> Mapping[str, ASGIApp]:
        """The ASGI apps to serve, by exact path; with Socket Mode, only the installation pages."""
        http = self._connector.http
        events: dict[str, ASGIApp] = {PATH: http} if http is not None else {}
        return {**events, **(self._distributed.apps if self._distributed is not None else {})}

    # ── running ───────────────────────────────────────────────────────────────────────────────
    async def run(self, inbox: Inbox) -> None:
        """Serve events until cancelled. Raises CannotStart if Slack refuses a token."""
        if not (self._tokens.app or self._tokens.signing_secret):
            raise CannotStart("Set SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP).")
        async with AsyncExitStack() as closing:
            http = await closing.enter_async_context(new_session(self._request_seconds))
            downloads = await closing.enter_async_context(new_download_session())
            saver = WatermarkSaver(platform=PLATFORM, lag=LAG, inbox=inbox, clock=self._clock)
            closing.push_async_callback(saver.aclose)
            leftovers = self._make_leftovers(inbox)
            make = SessionMaker(
                http=http,
                downloads=downloads,
                api_url=self._tokens.api_url,
                inbox=inbox,
                saver=saver,
                mrkdwn=self._mrkdwn,
                models=self._models,
                clock=self._clock,
                prefix=self._prefix,
                download_seconds=self._download_seconds,
                cluster=self._cluster,
                leftovers=leftovers,
            )
            workspaces = self._make_workspaces(make)
            await closing.enter_async_context(workspaces.running())
            self._workspaces = workspaces
            closing.callback(self._forget_workspaces)
            await closing.enter_async_context(leftovers.running())
            app = create_app(
                signing_secret=self._tokens.signing_secret,
                client=web_client("", self._tokens.api_url, http),
            )
            Router(workspaces.find, self._cluster.report_gap).register(app)
            await self._serve(inbox, app, self._connector.app_api(http), workspaces)

    def _make_leftovers(self, inbox: Inbox) -> Leftovers:
        async def remove(leftover: Leftover) -> None:
            await self._session(leftover.workspace).remove(leftover)

        return Leftovers(
            platform=PLATFORM,
            inbox=inbox,
            clock=self._clock,
            remove=remove,
            alone=lambda: self._cluster.exclusively(f"{PLATFORM} leftovers"),
        )

    def _forget_workspaces(self) -> None:
        """Forget the workspaces, so that nothing new begins on sessions about to close."""
        self._workspaces = None

    def _make_workspaces(self, make: SessionMaker) -> Workspaces:
        if self._distributed is not None:
            return self._distributed.workspaces(make)
        return OneWorkspace(make=make, token=self._bot_token)

    async def _serve(
        self, inbox: Inbox, app: AsyncApp, app_api: WebApi, workspaces: Workspaces
    ) -> None:
        outages = Outages(self._clock, self._cluster.report_gap)

        def connection_lost(seconds: float) -> None:
            outages.begin(seconds)
            workspaces.connection_lost(seconds)

        async def connected() -> None:
            outages.end()
            await workspaces.connected()
            await inbox.connected(PLATFORM)

        def events_lost(seconds: float, lasts: float) -> None:
            self._cluster.report_gap(seconds)
            workspaces.events_lost(seconds, lasts)

        await self._connector.serve(
            app,
            app_api,
            on_connected=connected,
            on_lost=connection_lost,
            on_dropped=events_lost,
        )

    @contextlib.asynccontextmanager
    async def _open_workspaces(self, wanted: Collection[str]) -> AsyncIterator[Sequence[Workspace]]:
        """The connected workspaces with these ids, or temporary ones for `doctor`."""
        if self._workspaces is not None:
            names = choose(self._workspaces.names(), wanted)
            yield [self._session(name).workspace for name in names]
        elif self._distributed is not None:
            async with self._distributed.open_workspaces(self._tokens.api_url, wanted) as found:
                yield found
        else:
            async with open_workspace(self._bot_token, self._tokens.api_url, self._clock) as one:
                yield [one]

    # ── requests of the core ──────────────────────────────────────────────────────────────────
    def _session(self, workspace: str) -> Session:
        """The session of a workspace. Raises Down or Gone."""
        if self._workspaces is None:
            raise Down(PLATFORM)
        return self._workspaces.session(workspace)

    def surface(self, claim: Claim) -> SlackSurface:
        """The surface of a turn's reply."""
        session = self._session(claim.conversation.key.workspace)
        return session.surface(claim, self._files)

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """Earlier messages from people in the thread. Raises a PlatformError."""
        workspace = self._session(incoming.key.workspace).workspace
        return await BacklogReader(workspace).read(incoming)

    def is_own_link(self, url: str) -> bool:
        """See `Adapter.is_own_link`."""
        return permalinks.is_permalink(url)

    async def download(
        self, key: ConversationKey, locator: Mapping[str, str], *, limit: int
    ) -> Download:
        """Download a file of a person's message, or a linked message. Raises AttachmentError."""
        try:
            session = self._session(key.workspace)
        except PlatformError as error:
            raise AttachmentError(Omission.UNREACHABLE, retry_after=RETRY_SECONDS) from error
        if session.files is None:
            raise AttachmentError(Omission.UNREACHABLE, retry_after=RETRY_SECONDS)
        with session.handling():
            if "message" in locator:
                return await LinkedMessages(session.workspace).download(locator)
            return await session.files.download(locator, limit)

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Show a command's reply to its author alone, and send its file as a direct message. Raises
        a PlatformError.

        The reply appears in the thread only if the thread has replies: otherwise Slack shows no
        private messages there.
        """
        user, is_direct = incoming.author.id, incoming.channel.startswith("D")
        sent = "" if is_direct else privacy_texts.EXPORT_IN_DM
        workspace = self._session(incoming.key.workspace).workspace
        answer = await deliver_directly(
            workspace.api, answer, channel=incoming.channel, user=user, sent=sent
        )
        if not answer.text:
            return
        thread = incoming.key.thread if incoming.key.thread != incoming.message_id else None
        await workspace.post_ephemeral(
            channel=incoming.channel,
            user=user,
            thread=thread,
            body=self._builder.command_reply(answer),
        )

    # ── health ────────────────────────────────────────────────────────────────────────────────
    def health(self) -> Health:
        """Whether events can arrive now."""
        connected = self._connector.connected
        details = {
            "mode": self._connector.mode,
            "connected": "yes" if connected else "no",
            **(self._workspaces.details() if self._workspaces is not None else {}),
        }
        of_workspace = self._workspaces.problem if self._workspaces is not None else ""
        problem = of_workspace or self._connector.app_token_problem
        if problem:
            details["trouble"] = problem
        return Health(ok=connected and not problem, details=details)

    def rate_reports(self) -> Sequence[RateReport]:
        """The state of each active workspace's rate limiter, for metrics."""
        limiters = self._workspaces.limiters() if self._workspaces is not None else ()
        return [limiter.report() for limiter in limiters]

    async def check(self) -> Sequence[Finding]:
        """Check the tokens and scopes with real calls, for `doctor`."""
        proxy = proxies.check_route("Slack", self._tokens.api_url or SLACK_API)
        async with AsyncExitStack() as closing:
            try:
                http = await closing.enter_async_context(new_session(self._request_seconds))
                app = self._app_check(http)
            except CannotStart as error:
                return [Finding("Slack", Verdict.FAILED, str(error)), proxy]
            if self._distributed is not None:
                findings = await self._distributed.check(http, self._tokens.api_url)
            else:
                findings = await app.check_token(self._bot_token, http, self._tokens.api_url)
            return [*findings, *await app.check(), proxy]

    def _app_check(self, http: aiohttp.ClientSession) -> doctor.AppCheck:
        return doctor.AppCheck(
            app_api=self._connector.app_api(http),
            by_socket=self._tokens.app is not None,
            signing_secret=self._tokens.signing_secret,
            prefix=self._prefix,
        )
