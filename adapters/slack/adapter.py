"""The Slack adapter: passes one workspace's events to the core and shows the core's replies.

A turn's data is in its conversation key and route, so the adapter has no state to persist.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from functools import partial

import structlog
from cachetools import TTLCache
from slack_bolt.async_app import AsyncApp
from starlette.types import ASGIApp

from adapters.slack import doctor, handshake, permalinks
from adapters.slack.api import (
    REQUEST_SECONDS,
    SLACK_API,
    WebApi,
    web_client,
)
from adapters.slack.backfill import LAG, SlackBackfill
from adapters.slack.blocks import MessageBuilder
from adapters.slack.bolt import create_app
from adapters.slack.connector import Connection, SlackConnector, Tokens
from adapters.slack.directory import SlackDirectory
from adapters.slack.downloads import (
    DOWNLOAD_SECONDS,
    RETRY_SECONDS,
    SlackFiles,
    new_download_session,
)
from adapters.slack.events import PLATFORM
from adapters.slack.files import MAX_BYTES
from adapters.slack.http import PATH, HttpEvents
from adapters.slack.interactions import SlackInteractionHandler
from adapters.slack.linked_messages import LinkedMessages
from adapters.slack.listeners import ConnectionProblem, Listeners
from adapters.slack.mrkdwn import Mrkdwn
from adapters.slack.private_files import deliver_directly
from adapters.slack.socket import SocketMode
from adapters.slack.status import StatusRegistry
from adapters.slack.surface import SlackSurface
from adapters.slack.workspace import Workspace
from bot.catchup.watermark_saver import WatermarkSaver
from bot.common import proxies
from bot.domain import privacy_texts
from bot.domain.attachments import Download, Omission
from bot.domain.conversations import ConversationKey
from bot.domain.errors import AttachmentError, CannotStart, Unsettled
from bot.domain.health import Finding, Health, Verdict
from bot.domain.inbox import CommandReply, Incoming
from bot.domain.operation import RateReport
from bot.domain.replies import FileRules
from bot.domain.turns import Claim
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox
from bot.ports.model import ModelCatalog
from bot.ports.policy import Directory
from bot.replies.ratelimit.limiter import AccountRateLimiter

log = structlog.stdlib.get_logger(__name__)

# How long a channel gets no files after Slack refused one there, in seconds.
NO_FILES_SECONDS = 600.0
MAX_CHANNELS = 10_000


class SlackAdapter:
    """`bot.ports.platform.Adapter` for one workspace.

    With `app_token`, events arrive through Socket Mode; with `signing_secret`, they arrive through
    the ASGI apps in `http_apps`, which the caller must serve. `api_url` is the base URL of the Web
    API. Code blocks that need `file_from_messages` messages or more are uploaded as files (0:
    never). `request_seconds` and `download_seconds` are the timeouts of a request and a download.
    `members` returns how many processes share the workspace's limits; within `alone` no other one
    is inside with the same name.
    """

    def __init__(
        self,
        *,
        bot_token: str,
        app_token: str | None = None,
        signing_secret: str | None = None,
        api_url: str | None = None,
        command_prefix: str = "",
        models: ModelCatalog,
        clock: Clock,
        file_from_messages: int = 0,
        request_seconds: float = REQUEST_SECONDS,
        download_seconds: float = DOWNLOAD_SECONDS,
        members: Callable[[], int] = lambda: 1,
        alone: Callable[[str], AbstractAsyncContextManager[object]] = lambda _name: nullcontext(),
    ) -> None:
        self._alone = alone
        self._download_seconds, self._request_seconds = download_seconds, request_seconds
        self._files = FileRules.from_setting(file_from_messages, MAX_BYTES)
        self._channels_without_files: TTLCache[str, bool] = TTLCache(
            MAX_CHANNELS, NO_FILES_SECONDS, clock.monotonic
        )
        tokens = Tokens(bot_token, app_token, signing_secret, api_url)
        self._connector = SlackConnector(tokens, clock, request_seconds, members)
        self._prefix, self._models, self._clock = command_prefix, models, clock
        self._http = HttpEvents(signing_secret) if signing_secret and not app_token else None
        self._socket: SocketMode | None = None
        self._builder = MessageBuilder(Mrkdwn())
        self._directory = SlackDirectory(
            connected=lambda: self._workspace, open=self._open_workspace, builder=self._builder
        )
        self._problem = ConnectionProblem()
        self._connection: Connection | None = None

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
        """The ASGI apps to serve, by exact path; none in Socket Mode."""
        return {PATH: self._http} if self._http is not None else {}

    # ── running ───────────────────────────────────────────────────────────────────────────────
    async def run(self, inbox: Inbox) -> None:
        """Serve events until cancelled. Raises CannotStart if Slack refuses a token."""
        tokens = self._connector.tokens
        if not (tokens.app or tokens.signing_secret):
            raise CannotStart("Set SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP).")
        async with AsyncExitStack() as closing:
            api = await self._connector.open_api(closing)
            me = await handshake.fetch_identity(api, self._clock)
            session = await closing.enter_async_context(new_download_session())
            files = SlackFiles(api=api, session=session, seconds=self._download_seconds)
            workspace = Workspace(me=me, api=api, clock=self._clock, listens=inbox.listens)
            closing.push_async_callback(workspace.aclose)
            saver = WatermarkSaver(platform=PLATFORM, lag=LAG, inbox=inbox, clock=self._clock)
            closing.push_async_callback(saver.aclose)
            statuses = StatusRegistry(api=api, clock=self._clock)
            closing.push_async_callback(statuses.aclose)
            self._connection = Connection(workspace, statuses, files)
            closing.callback(self._connection.stop_downloads)
            backfill = SlackBackfill(
                workspace=workspace,
                inbox=inbox,
                saver=saver,
                clock=self._clock,
                on_conversations=partial(statuses.sweep, is_busy=inbox.is_busy),
                alone=partial(self._alone, f"slack catch-up {me.team}"),
            )
            closing.push_async_callback(backfill.aclose)
            listeners = self._listeners(inbox, workspace, saver)
            closing.push_async_callback(listeners.aclose)
            app = create_app(
                me=me,
                bot_token=tokens.bot,
                signing_secret=tokens.signing_secret,
                client=web_client("", tokens.api_url, api.session),
            )
            listeners.register(app)
            await self._serve(inbox, app, api, backfill)

    def _listeners(self, inbox: Inbox, workspace: Workspace, saver: WatermarkSaver) -> Listeners:
        return Listeners(
            workspace=workspace,
            inbox=inbox,
            saver=saver,
            builder=self._builder,
            interactions=SlackInteractionHandler(
                inbox=inbox, workspace=workspace, models=self._models
            ),
            prefix=self._prefix,
            problem=self._problem,
        )

    async def _serve(
        self, inbox: Inbox, app: AsyncApp, api: WebApi, backfill: SlackBackfill
    ) -> None:
        async def connected() -> None:
            await backfill.connected()
            await inbox.connected(PLATFORM)

        app_token = self._connector.tokens.app
        if app_token is not None:
            self._socket = SocketMode(
                app=app,
                app_token=app_token,
                url=await self._connector.fetch_socket_url(api),
                new_url=lambda: self._connector.fetch_new_url(api),
                on_hello=connected,
                on_lost=backfill.connection_lost,
                connect_seconds=self._request_seconds,
            )
            await self._socket.serve()
        elif self._http is not None:
            self._http.app = app
            try:
                await connected()
                await asyncio.Event().wait()
            finally:
                self._http.app = None

    @contextlib.asynccontextmanager
    async def _open_workspace(self) -> AsyncIterator[Workspace]:
        """The connected workspace, or one for a few questions of `doctor`."""
        if self._connection is not None:
            yield self._connection.workspace
            return
        async with self._connector.open_workspace() as workspace:
            yield workspace

    # ── requests of the core ──────────────────────────────────────────────────────────────────
    @property
    def _connected(self) -> Connection:
        if self._connection is None:
            raise Unsettled("Slack is not connected yet")
        return self._connection

    @property
    def _workspace(self) -> Workspace:
        return self._connected.workspace

    def surface(self, claim: Claim) -> SlackSurface:
        """The surface of a turn's reply."""
        workspace, key = self._workspace, claim.conversation.key
        return SlackSurface(
            claim=claim,
            me=workspace.me,
            api=workspace.api,
            builder=self._builder,
            status=self._connected.statuses.status(
                (key.channel, key.thread), left_over=claim.fence.attempt > 1
            ),
            clock=self._clock,
            rules=self._files,
            channels_without_files=self._channels_without_files,
        )

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """Earlier messages of people in the thread. Raises a PlatformError."""
        return await self._workspace.backlog(incoming)

    def is_own_link(self, url: str) -> bool:
        """See `Adapter.is_own_link`."""
        return permalinks.is_permalink(url)

    async def download(
        self, key: ConversationKey, locator: Mapping[str, str], *, limit: int
    ) -> Download:
        """A file of a person's message, or a message that it links to. Raises AttachmentError."""
        connection = self._connection
        if connection is None or connection.files is None:
            raise AttachmentError(Omission.UNREACHABLE, retry_after=RETRY_SECONDS)
        if "message" in locator:
            return await LinkedMessages(connection.workspace).download(locator)
        return await connection.files.download(locator, limit)

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Show a command's reply to its author alone, and its file in their direct messages.
        Raises a PlatformError.

        It appears in the thread only if the thread has replies: otherwise Slack shows no private
        messages there.
        """
        user, is_direct = incoming.author.id, incoming.channel.startswith("D")
        sent = "" if is_direct else privacy_texts.EXPORT_IN_DM
        answer = await deliver_directly(
            self._workspace.api, answer, channel=incoming.channel, user=user, sent=sent
        )
        if not answer.text:
            return
        thread = incoming.key.thread if incoming.key.thread != incoming.message_id else None
        await self._workspace.post_ephemeral(
            channel=incoming.channel,
            user=user,
            thread=thread,
            body=self._builder.command_reply(answer),
        )

    # ── health ────────────────────────────────────────────────────────────────────────────────
    def health(self) -> Health:
        """Whether events can arrive."""
        by_socket = self._connector.tokens.app is not None
        connected = (
            self._socket is not None and self._socket.connected
            if by_socket
            else self._http is not None and self._http.app is not None
        )
        details = {
            "mode": "socket" if by_socket else "http",
            "connected": "yes" if connected else "no",
        }
        problem = (
            self._problem.text or self._connector.app_token_problem or self._bot_token_problem()
        )
        if problem:
            details["trouble"] = problem
        return Health(ok=connected and not problem, details=details)

    def rate_reports(self) -> Sequence[RateReport]:
        """The state of the workspace's rate limiter, for metrics."""
        connection = self._connection
        if connection is None:
            return ()
        limiter = connection.workspace.api.rate_limiter
        return (limiter.report(),) if isinstance(limiter, AccountRateLimiter) else ()

    def _bot_token_problem(self) -> str:
        workspace = self._connection.workspace if self._connection is not None else None
        refusal = workspace.api.token.refusal if workspace and workspace.api.token else ""
        return f"Slack refuses SLACK_BOT_TOKEN ({refusal})" if refusal else ""

    async def check(self) -> Sequence[Finding]:
        """Check the tokens and scopes with real calls, for `doctor`."""
        proxy = proxies.check_route("Slack", self._connector.tokens.api_url or SLACK_API)
        async with AsyncExitStack() as closing:
            try:
                api = await self._connector.open_api(closing)
            except CannotStart as error:
                return [Finding("Slack", Verdict.FAILED, str(error)), proxy]
            findings = await doctor.check(
                api=api,
                app_token=self._connector.tokens.app,
                signing_secret=self._connector.tokens.signing_secret,
                prefix=self._prefix,
            )
            return [*findings, proxy]
