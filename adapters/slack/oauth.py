"""Installs the app in workspaces through slack_bolt's OAuth flow.

Invariants: a state is valid once, for ten minutes, in the browser that began the flow. If a
workspace may not install the app, its token is given back to Slack and stored nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from logging import Logger
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog
from cachetools import TTLCache
from slack_bolt.adapter.starlette.async_handler import to_starlette_response
from slack_bolt.oauth.async_callback_options import (
    AsyncCallbackOptions,
    AsyncFailureArgs,
    AsyncSuccessArgs,
)
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.oauth import OAuthStateUtils
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore
from slack_sdk.web.async_client import AsyncWebClient
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.slack.api import quiet_logger
from adapters.slack.events import PLATFORM
from adapters.slack.oauth_client import OAuthApp, exchange_client, refusal_logger
from adapters.slack.oauth_pages import HEADERS, failure_page, install_page, installed_page
from adapters.slack.scopes import SCOPES
from adapters.slack.vault import InstallRefused, SlackInstallationStore
from bot.domain import install_texts
from bot.domain.errors import StoreUnavailable
from bot.ports.clock import Clock
from bot.ports.installations import InstallationStore

log = structlog.stdlib.get_logger(__name__)

INSTALL_PATH, REDIRECT_PATH = "/slack/install", "/slack/oauth_redirect"
AUTHORIZE = "https://slack.com/oauth/v2/authorize"
STATE_SECONDS = OAuthStateUtils.default_expiration_seconds
FLOW_SECONDS = 45.0
"""Time for three requests to Slack (the exchange, and two to give a token back) of ten seconds
each, and the database."""

MAX_REASON = 60
"""The most characters of an error code to log: it comes from the address, which anyone can
write."""

MAX_QUERY = 4_000
PAGES_A_MINUTE = 60
"""The limit on installation pages, which anyone can open: each first page writes a state, and
each last page looks one up."""


class StateStore(AsyncOAuthStateStore):
    """slack_sdk's interface to the states in the database, which stores only their digests."""

    def __init__(self, records: InstallationStore, clock: Clock) -> None:
        self._records, self._clock = records, clock

    @property
    def logger(self) -> Logger:
        """The logger for Slack's libraries."""
        return quiet_logger()

    async def async_issue(self, *args: object, **kwargs: object) -> str:
        """Create a state."""
        state = secrets.token_urlsafe(32)
        expires_at = self._clock.time() + STATE_SECONDS
        await self._records.issue_state(PLATFORM, _digest(state), expires_at=expires_at)
        return state

    async def async_consume(self, state: str) -> bool:
        """Use up a state; returns whether it was valid."""
        return await self._records.consume_state(PLATFORM, _digest(state))


def _digest(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()


class _Flow(AsyncOAuthFlow):
    """slack_bolt's flow with our page and headers."""

    async def build_install_page_html(self, url: str, request: AsyncBoltRequest) -> str:
        return install_page(url)

    async def append_set_cookie_headers(
        self,
        headers: dict,  # type: ignore[type-arg]  # as slack_bolt declares it
        set_cookie_value: str | None,
    ) -> dict:  # type: ignore[type-arg]
        return {**await super().append_set_cookie_headers(headers, set_cookie_value), **HEADERS}


class _Minute:
    """Allows PAGES_A_MINUTE pages in any minute."""

    def __init__(self, clock: Clock) -> None:
        self._opened: TTLCache[int, bool] = TTLCache(PAGES_A_MINUTE, 60.0, clock.monotonic)
        self._count = 0

    def allows_one(self) -> bool:
        """Whether another page may be opened; if so, counts it."""
        if len(self._opened) >= PAGES_A_MINUTE:
            return False
        self._count += 1
        self._opened[self._count] = True
        return True


class InstallPages:
    """The two installation pages. They answer 503 except while `serving`."""

    def __init__(self, app: OAuthApp, clock: Clock) -> None:
        self._app = app
        self._flow: AsyncOAuthFlow | None = None
        self._begun, self._ended = _Minute(clock), _Minute(clock)

    @property
    def apps(self) -> Mapping[str, ASGIApp]:
        """The ASGI apps by path."""
        return {INSTALL_PATH: _Page(self._install), REDIRECT_PATH: _Page(self._redirect)}

    @contextlib.contextmanager
    def serving(
        self, *, client: AsyncWebClient, store: SlackInstallationStore, states: StateStore
    ) -> Iterator[None]:
        """Serve installations inside this context. `client` has no token."""
        options = AsyncCallbackOptions(success=self._show_success, failure=self._show_failure)
        settings = AsyncOAuthSettings(
            client_id=self._app.client_id,
            client_secret=self._app.client_secret,
            scopes=sorted(SCOPES),
            user_scopes=[],
            redirect_uri=self._app.redirect_uri,
            install_path=INSTALL_PATH,
            redirect_uri_path=REDIRECT_PATH,
            callback_options=options,
            authorization_url=authorize_url(client.base_url),
            installation_store=store,
            state_store=states,
            state_expiration_seconds=STATE_SECONDS,
        )
        self._flow = _Flow(
            client=exchange_client(client), logger=refusal_logger(), settings=settings
        )
        try:
            yield
        finally:
            self._flow = None

    # ── pages ─────────────────────────────────────────────────────────────────────────────────
    async def _install(self, flow_request: AsyncBoltRequest) -> BoltResponse:
        if not self._app.teams:
            return _failure(403, install_texts.CLOSED)
        if self._flow is None:
            return _failure(503, install_texts.NOT_READY)
        if not self._begun.allows_one():
            return _failure(429, install_texts.BUSY)
        return await self._guard(self._flow.handle_installation(flow_request))

    async def _redirect(self, flow_request: AsyncBoltRequest) -> BoltResponse:
        if self._flow is None:
            return _failure(503, install_texts.NOT_READY)
        if not self._ended.allows_one():
            return _failure(429, install_texts.BUSY)
        return await self._guard(self._flow.handle_callback(flow_request))

    async def _guard(self, handling: Awaitable[BoltResponse]) -> BoltResponse:
        try:
            async with asyncio.timeout(FLOW_SECONDS):
                return await handling
        except StoreUnavailable as error:
            log.error("an installation could not be stored", error=str(error))
            return _failure(503, install_texts.FAILURES["storage_error"], INSTALL_PATH)
        except Exception as error:  # noqa: BLE001
            # The boundary of one page: slack_sdk raises whatever Slack's answer makes it raise, and
            # the error may contain a token.
            log.error("an installation failed", error=type(error).__name__)
            return _failure(502, install_texts.UNKNOWN, INSTALL_PATH)

    async def _show_success(self, args: AsyncSuccessArgs) -> BoltResponse:
        granted = args.installation
        is_org = granted.is_enterprise_install
        name = granted.enterprise_name if is_org else granted.team_name
        team = granted.enterprise_id if is_org else granted.team_id
        query = {"app": granted.app_id or "", "team": team or ""}
        # docs.slack.dev/interactivity/deep-linking
        link = f"https://slack.com/app_redirect?{urlencode(query)}"
        return _page(200, installed_page(name or team or "", link), self._forget_state(args))

    async def _show_failure(self, args: AsyncFailureArgs) -> BoltResponse:
        reason = args.error.reason if isinstance(args.error, InstallRefused) else args.reason
        # Anyone can open the address: only what was asked of Slack concerns the operator.
        is_asked = args.error is not None or reason == "invalid_code"
        level = logging.WARNING if is_asked else logging.INFO
        log.log(level, "an installation was refused", reason=reason[:MAX_REASON])
        if isinstance(args.error, InstallRefused) and reason == "not_allowed":
            text, status = install_texts.not_allowed(args.error.workspace), 403
        else:
            text = install_texts.FAILURES.get(reason, install_texts.UNKNOWN)
            status = args.suggested_status_code
        return _page(status, failure_page(text, INSTALL_PATH), self._forget_state(args))

    @staticmethod
    def _forget_state(args: AsyncSuccessArgs | AsyncFailureArgs) -> str:
        return args.settings.state_utils.build_set_cookie_for_deletion()


class _Page:
    """One page as an ASGI app."""

    def __init__(self, handle: Callable[[AsyncBoltRequest], Awaitable[BoltResponse]]) -> None:
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method != "GET":
            return Response(status_code=405, headers={"Allow": "GET"})
        if len(request.url.query) > MAX_QUERY:
            return Response(status_code=414)
        cookie = request.headers.get("cookie", "")
        flow_request = AsyncBoltRequest(
            body="", query=request.url.query, headers={"cookie": cookie}, mode="http"
        )
        return to_starlette_response(await self._handle(flow_request))


def _failure(status: int, text: str, again: str = "") -> BoltResponse:
    return _page(status, failure_page(text, again))


def _page(status: int, body: str, cookie: str = "") -> BoltResponse:
    headers: dict[str, str | Sequence[str]] = dict(HEADERS)
    if cookie:
        headers["Set-Cookie"] = [cookie]
    return BoltResponse(status=status, body=body, headers=headers)


def authorize_url(api_url: str) -> str:
    """The page where people agree to the installation: Slack's, or one beside the compatible API
    at `api_url`."""
    parts = urlsplit(api_url)
    if parts.hostname in ("slack.com", "www.slack.com"):
        return AUTHORIZE
    return urlunsplit((parts.scheme, parts.netloc, "/oauth/v2/authorize", "", ""))
