"""How the adapter reaches Slack: its credentials, and what exists while it is connected."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from adapters.slack import handshake
from adapters.slack.api import (
    WebApi,
    limit_for,
    new_session,
    web_client,
)
from adapters.slack.downloads import (
    SlackFiles,
)
from adapters.slack.status import StatusRegistry
from adapters.slack.workspace import Workspace
from bot.domain.errors import CannotStart
from bot.ports.clock import Clock
from bot.replies.ratelimit.limiter import AccountRateLimiter

log = structlog.stdlib.get_logger(__name__)

# The pause between attempts to connect while Slack refuses the app-level token, in seconds.
REFUSED_SECONDS = 60.0


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """The adapter's credentials: `app` selects Socket Mode, `signing_secret` alone HTTP.

    They have no repr, so that no log shows them.
    """

    bot: str
    app: str | None
    signing_secret: str | None
    api_url: str | None


@dataclass(slots=True)
class Connection:
    """The parts of a running adapter. `files` is None once it has stopped."""

    workspace: Workspace
    statuses: StatusRegistry
    files: SlackFiles | None

    def stop_downloads(self) -> None:
        """Download nothing more: the session is closed."""
        self.files = None


class SlackConnector:
    """Opens the Web API, and asks for addresses of Socket Mode.

    `app_token_problem` says why Slack refuses the app-level token while the bot runs; "" if it does
    not.
    """

    def __init__(
        self,
        tokens: Tokens,
        clock: Clock,
        request_seconds: float,
        members: Callable[[], int] = lambda: 1,
    ) -> None:
        self.tokens, self._clock, self._members = tokens, clock, members
        self._request_seconds = request_seconds
        self.app_token_problem = ""

    async def open_api(self, closing: AsyncExitStack) -> WebApi:
        """The Web API, with a session that `closing` closes."""
        session = await closing.enter_async_context(new_session(self._request_seconds))
        client = web_client(self.tokens.bot, self.tokens.api_url, session)
        rate_limiter = AccountRateLimiter(limit_for, self._clock, members=self._members)
        return WebApi(client=client, session=session, rate_limiter=rate_limiter, clock=self._clock)

    @contextlib.asynccontextmanager
    async def open_workspace(self) -> AsyncIterator[Workspace]:
        """A workspace for a few questions, without events."""
        async with AsyncExitStack() as closing:
            api = await self.open_api(closing)
            me = handshake.read_identity(await api.read("auth.test"))
            workspace = Workspace(me=me, api=api, clock=self._clock)
            closing.push_async_callback(workspace.aclose)
            yield workspace

    async def fetch_socket_url(self, api: WebApi) -> str:
        """An address for Socket Mode. Raises CannotStart if Slack refuses the app-level token."""
        return await handshake.fetch_socket_url(self.tokens.app or "", api, self._clock)

    async def fetch_new_url(self, api: WebApi) -> str:
        """Another address for Socket Mode; a refusal while the bot runs does not stop it."""
        while True:
            try:
                url = await self.fetch_socket_url(api)
            except CannotStart as error:
                if not self.app_token_problem:
                    log.error("cannot connect in Socket Mode", reason=str(error))
                self.app_token_problem = str(error)
                await self._clock.sleep(REFUSED_SECONDS)
            else:
                self.app_token_problem = ""
                return url
