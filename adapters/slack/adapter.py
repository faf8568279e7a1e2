"""The Slack adapter: one workspace's events to the core, and the core's replies to it.

What a turn needs later is in the conversation's key, so nothing here must survive a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog
from cachetools import TTLCache
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from starlette.types import ASGIApp

from adapters.slack import doctor, handshake
from adapters.slack.api import (
    REQUEST_SECONDS,
    SLACK_API,
    WebApi,
    limits,
    new_session,
    quiet_log,
    web_client,
)
from adapters.slack.backfill import LAG, Gap
from adapters.slack.blocks import MessageBuilder
from adapters.slack.events import PLATFORM, Identity
from adapters.slack.files import MOST_BYTES
from adapters.slack.http import PATH, HttpEvents
from adapters.slack.interactions import Commands
from adapters.slack.listeners import ConnectionProblem, Listeners
from adapters.slack.mrkdwn import Mrkdwn
from adapters.slack.socket import SocketMode
from adapters.slack.status import Statuses
from adapters.slack.surface import SlackSurface
from adapters.slack.workspace import Workspace
from bot.catchup.backfill import WatermarkSaver
from bot.common import proxies
from bot.domain.errors import CannotStart, Unsettled
from bot.domain.health import Finding, Health, Verdict
from bot.domain.inbox import CommandReply, Incoming
from bot.domain.replies import FileRules
from bot.domain.turns import Claim
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox
from bot.replies.ratelimit.limiter import AccountRateLimiter

log = structlog.stdlib.get_logger(__name__)

# Between attempts to connect while Slack refuses the app-level token, in seconds.
REFUSED_SECONDS = 60.0
# How long a channel in which a file was refused is not tried again, in seconds.
FILES_AGAIN = 600.0
MOST_CHANNELS = 10_000


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """How the adapter presents itself; one of `app` and `signing_secret` decides the mode.

    Without a repr, so that no log shows them.
    """

    bot: str
    app: str | None
    signing_secret: str | None
    api_url: str | None


class SlackAdapter:
    """`bot.ports.Adapter` for a workspace.

    With `app_token` events come by Socket Mode; with `signing_secret` they come by HTTP, to the
    ASGI apps in `http_apps`, which whoever owns the port serves. `api_url` is the Web API's base.
    Code that takes `file_from_messages` messages or more goes up as a file (0: never). A request
    is given up after `request_seconds`.
    """

    def __init__(
        self,
        *,
        bot_token: str,
        app_token: str | None = None,
        signing_secret: str | None = None,
        api_url: str | None = None,
        command_prefix: str = "",
        models: Sequence[str] = (),
        clock: Clock,
        file_from_messages: int = 0,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._files = FileRules.from_setting(file_from_messages, MOST_BYTES)
        self._without_files: TTLCache[str, bool] = TTLCache(
            MOST_CHANNELS, FILES_AGAIN, clock.monotonic
        )
        self._tokens = Tokens(bot_token, app_token, signing_secret, api_url)
        self._prefix, self._models, self._clock = command_prefix, tuple(models), clock
        self._http = HttpEvents(signing_secret) if signing_secret and not app_token else None
        self._socket: SocketMode | None = None
        self._bodies = MessageBuilder(Mrkdwn())
        self._trouble = ConnectionProblem()
        self._app_trouble = ""  # what Slack says against the app-level token
        self._request_seconds = request_seconds
        self._here: Workspace | None = None
        self._board: Statuses | None = None

    @property
    def name(self) -> str:
        """The platform's word in conversation keys."""
        return PLATFORM

    @property
    def http_apps(self) -> Mapping[str, ASGIApp]:
        """What is to be served over HTTP, by exact path; nothing in Socket Mode."""
        return {PATH: self._http} if self._http is not None else {}

    # ── running ───────────────────────────────────────────────────────────────────────────────
    async def run(self, inbox: Inbox) -> None:
        """Serve events until cancelled; raises CannotStart when Slack refuses a token."""
        if not (self._tokens.app or self._tokens.signing_secret):
            raise CannotStart("Set SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP).")
        async with AsyncExitStack() as closing:
            api = await self._open_api(closing)
            me = await handshake.identity(api, self._clock)
            self._here = Workspace(me=me, api=api, clock=self._clock)
            closing.push_async_callback(self._here.aclose)
            keeper = WatermarkSaver(platform=PLATFORM, lag=LAG, inbox=inbox, clock=self._clock)
            closing.push_async_callback(keeper.aclose)
            self._board = Statuses(api=api, clock=self._clock)
            closing.push_async_callback(self._board.aclose)
            gap = Gap(
                workspace=self._here,
                inbox=inbox,
                keeper=keeper,
                clock=self._clock,
                on_active=self._board.sweep,
            )
            closing.push_async_callback(gap.aclose)
            listeners = self._listeners(inbox, self._here, keeper)
            closing.push_async_callback(listeners.aclose)
            await self._serve(inbox, self._app(me, api, listeners), api, gap)

    async def _open_api(self, closing: AsyncExitStack) -> WebApi:
        session = await closing.enter_async_context(new_session(self._request_seconds))
        client = web_client(self._tokens.bot, self._tokens.api_url, session)
        rate_limiter = AccountRateLimiter(limits, self._clock)
        return WebApi(client=client, session=session, rate_limiter=rate_limiter, clock=self._clock)

    def _listeners(self, inbox: Inbox, workspace: Workspace, keeper: WatermarkSaver) -> Listeners:
        return Listeners(
            workspace=workspace,
            inbox=inbox,
            keeper=keeper,
            bodies=self._bodies,
            commands=Commands(inbox=inbox, workspace=workspace, models=self._models),
            prefix=self._prefix,
            trouble=self._trouble,
        )

    def _app(self, me: Identity, api: WebApi, listeners: Listeners) -> AsyncApp:
        """Bolt's app, without the habits that lose events (see `listeners`).

        It asks Slack nothing about an event's token, which would lose the event when Slack fails,
        and its filter of the bot's own events would drop a person's deletion of our message.
        """
        result = AuthorizeResult(
            enterprise_id=None,
            team_id=me.team,
            bot_id=me.bot,
            bot_user_id=me.user,
            bot_token=self._tokens.bot,
        )

        async def authorize() -> AuthorizeResult:
            return result

        app = AsyncApp(
            name="threadline",
            client=web_client("", self._tokens.api_url, api.session),
            authorize=authorize,
            signing_secret=self._tokens.signing_secret or "",
            process_before_response=True,
            ignoring_self_events_enabled=False,
            attaching_function_token_enabled=False,
            attaching_conversation_kwargs_enabled=False,
            logger=quiet_log(),
        )
        listeners.register(app)
        return app

    async def _serve(self, inbox: Inbox, app: AsyncApp, api: WebApi, gap: Gap) -> None:
        async def connected() -> None:
            await gap.connected()
            await inbox.connected(PLATFORM)

        if self._tokens.app is not None:
            url = await handshake.socket_url(self._tokens.app, api, self._clock)
            self._socket = SocketMode(
                app=app,
                app_token=self._tokens.app,
                url=url,
                new_url=lambda: self._new_url(api),
                on_hello=connected,
                on_lost=gap.lost,
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

    async def _new_url(self, api: WebApi) -> str:
        """Another address for Socket Mode: a refusal while the bot runs is no reason to end it."""
        while True:
            try:
                url = await handshake.socket_url(self._tokens.app or "", api, self._clock)
            except CannotStart as error:
                if not self._app_trouble:
                    log.error("no socket mode connection", reason=str(error))
                self._app_trouble = str(error)
                await self._clock.sleep(REFUSED_SECONDS)
            else:
                self._app_trouble = ""
                return url

    # ── what the core asks for ────────────────────────────────────────────────────────────────
    @property
    def _workspace(self) -> Workspace:
        if self._here is None:
            raise Unsettled("Slack is not connected yet")
        return self._here

    @property
    def _statuses(self) -> Statuses:
        if self._board is None:
            raise Unsettled("Slack is not connected yet")
        return self._board

    def surface(self, claim: Claim) -> SlackSurface:
        """The surface of a turn's reply."""
        here, key = self._workspace, claim.conversation.key
        return SlackSurface(
            claim=claim,
            me=here.me,
            api=here.api,
            bodies=self._bodies,
            status=self._statuses.of((key.channel, key.thread), left_over=claim.fence.attempt > 1),
            clock=self._clock,
            rules=self._files,
            without_files=self._without_files,
        )

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """What people said in the thread before; raises a PlatformError."""
        return await self._workspace.backlog(incoming)

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Show a command's answer to the person who wrote it; raises a PlatformError.

        In the thread where they did, if it has replies: Slack shows nothing private in one without.
        """
        if not answer.text:
            return
        thread = incoming.key.thread if incoming.key.thread != incoming.message_id else None
        await self._workspace.whisper(
            channel=incoming.channel,
            user=incoming.author.id,
            thread=thread,
            body=self._bodies.answer(answer),
        )

    # ── how it is ─────────────────────────────────────────────────────────────────────────────
    def health(self) -> Health:
        """Whether events can arrive."""
        by_socket = self._tokens.app is not None
        connected = (
            self._socket is not None and self._socket.connected
            if by_socket
            else self._http is not None and self._http.app is not None
        )
        details = {
            "mode": "socket" if by_socket else "http",
            "connected": "yes" if connected else "no",
        }
        trouble = self._trouble.text or self._app_trouble or self._token_trouble()
        if trouble:
            details["trouble"] = trouble
        return Health(ok=connected and not trouble, details=details)

    def _token_trouble(self) -> str:
        watch = self._here.api.token if self._here is not None else None
        return f"Slack refuses SLACK_BOT_TOKEN ({watch.dead})" if watch and watch.dead else ""

    async def check(self) -> Sequence[Finding]:
        """Try the tokens and scopes with real calls, for `doctor`."""
        way = proxies.finding("Slack", self._tokens.api_url or SLACK_API)
        async with AsyncExitStack() as closing:
            try:
                api = await self._open_api(closing)
            except CannotStart as error:
                return [Finding("Slack", Verdict.FAILED, str(error)), way]
            found = await doctor.check(
                api=api,
                app_token=self._tokens.app,
                signing_secret=self._tokens.signing_secret,
                prefix=self._prefix,
            )
            return [*found, way]
