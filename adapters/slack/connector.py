"""How the adapter reaches Slack: its credentials, and the state of the app as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog
from slack_bolt.async_app import AsyncApp

from adapters.slack import handshake
from adapters.slack.api import WebApi, web_client
from adapters.slack.budgets import workspace_limiter
from adapters.slack.http import HttpEvents
from adapters.slack.outages import OnLost
from adapters.slack.reconnect_pace import ReconnectPace
from adapters.slack.socket import SocketMode
from bot.domain.errors import CannotStart
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

# The pause between attempts to connect while Slack refuses the app-level token, in seconds.
REFUSED_SECONDS = 60.0


@dataclass(frozen=True, slots=True, repr=False)
class AppTokens:
    """The credentials of the app: `app` selects Socket Mode, `signing_secret` alone HTTP.

    They have no repr, so that no log shows them.
    """

    app: str | None
    signing_secret: str | None
    api_url: str | None


class SlackConnector:
    """Lets events arrive: through Socket Mode, for which it asks for addresses, or by HTTP through
    the ASGI app `http`.

    `app_token_problem` says why Slack refuses the app-level token while the bot runs; "" if it does
    not.
    """

    def __init__(self, tokens: AppTokens, clock: Clock, *, connect_seconds: float) -> None:
        self.tokens, self._clock, self._connect_seconds = tokens, clock, connect_seconds
        self.app_token_problem = ""
        secret = tokens.signing_secret if not tokens.app else None
        self.http = HttpEvents(secret, clock) if secret else None
        self._pace = ReconnectPace(clock)
        self._socket: SocketMode | None = None

    @property
    def mode(self) -> str:
        """`socket` or `http`."""
        return "http" if self.tokens.app is None else "socket"

    @property
    def connected(self) -> bool:
        """Whether events can arrive."""
        if self.tokens.app is None:
            return self.http is not None and self.http.app is not None
        return self._socket is not None and self._socket.connected

    async def serve(
        self,
        app: AsyncApp,
        app_api: WebApi,
        *,
        on_connected: Callable[[], Coroutine[Any, Any, None]],
        on_lost: Callable[[float], None],
        on_dropped: OnLost,
    ) -> None:
        """Pass events to Bolt's `app` until cancelled; see `SocketMode` for the callbacks.

        Raises CannotStart if Slack refuses the app-level token.
        """
        app_token = self.tokens.app
        if app_token is not None:
            self._socket = SocketMode(
                app=app,
                app_token=app_token,
                url=await self.fetch_socket_url(app_api),
                new_url=lambda: self.fetch_new_url(app_api),
                on_hello=on_connected,
                on_lost=on_lost,
                on_dropped=on_dropped,
                clock=self._clock,
                connect_seconds=self._connect_seconds,
            )
            await self._socket.serve()
        elif self.http is not None:
            self.http.app, self.http.on_lost = app, on_dropped
            try:
                await on_connected()
                await asyncio.Event().wait()
            finally:
                self.http.app = None

    def app_api(self, session: aiohttp.ClientSession) -> WebApi:
        """The Web API with the app-level token, or without a token for methods that need none."""
        return WebApi(
            client=web_client(self.tokens.app or "", self.tokens.api_url, session),
            session=session,
            rate_limiter=workspace_limiter(self._clock),
            clock=self._clock,
        )

    async def fetch_socket_url(self, app_api: WebApi) -> str:
        """An address for Socket Mode. Raises CannotStart if Slack refuses the app-level token."""
        return await handshake.fetch_socket_url(app_api, self._clock)

    async def fetch_new_url(self, app_api: WebApi) -> str:
        """Another address for Socket Mode; a refusal while the bot runs does not stop it."""
        await self._pace.wait()
        while True:
            try:
                url = await self.fetch_socket_url(app_api)
            except CannotStart as error:
                if not self.app_token_problem:
                    log.error("cannot connect in Socket Mode", reason=str(error))
                self.app_token_problem = str(error)
                await self._clock.sleep(REFUSED_SECONDS)
            else:
                self.app_token_problem = ""
                return url
