"""How the adapter reaches Slack: its credentials, and the state of the app as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
import structlog

from adapters.slack import handshake
from adapters.slack.api import WebApi, web_client
from adapters.slack.budgets import workspace_limiter
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
    """Requests Socket Mode addresses.

    `app_token_problem` says why Slack refuses the app-level token while the bot runs; "" if it does
    not.
    """

    def __init__(self, tokens: AppTokens, clock: Clock) -> None:
        self.tokens, self._clock = tokens, clock
        self.app_token_problem = ""

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
