"""Requests made before events are served: the bot's identity and the Socket Mode address.

If Slack refuses a token twice, the bot does not start, and a sentence says what to do. All other
failures (no connection, rate limits, invalid responses) are retried with growing pauses, since a
bot may start before its network is up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import structlog

from adapters.slack import payloads
from adapters.slack import text as slack_text
from adapters.slack.api import WebApi
from adapters.slack.errors import TOKEN_ERRORS
from adapters.slack.events import Identity
from adapters.slack.permalinks import host_of
from adapters.slack.responses import Response
from bot.common.retry import Backoff
from bot.domain.errors import CannotStart, Gone, PlatformError, Refused, Throttled, Unsettled
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# Pauses between attempts to reach Slack.
RETRIES = Backoff(first=1.0, longest=30.0)
# Error codes of auth.test and apps.connections.open that only a person can resolve; they end the
# start when they occur MAX_FATAL times in a row. Any other code may be temporary.
FATAL = TOKEN_ERRORS | {"forbidden_team", "invalid_app", "missing_scope", "socket_mode_not_enabled"}
MAX_FATAL = 2

COPY_XOXB = (
    "copy the Bot User OAuth Token (xoxb-…) from the app's page “OAuth & Permissions” "
    "into SLACK_BOT_TOKEN"
)
MAKE_XAPP = (
    "make an App-Level Token (xapp-…) with the scope connections:write on the app's page "
    "“Basic Information” and put it into SLACK_APP_TOKEN"
)
ENABLE_SOCKETS = "turn Socket Mode on, on the app's page “Socket Mode”"
INSTALL = "install the app into the workspace again, on its page “Install App”"

_APP_ADVICE = {"socket_mode_not_enabled": ENABLE_SOCKETS, "invalid_app": ENABLE_SOCKETS}
_BOT_ADVICE = {"account_inactive": INSTALL, "token_revoked": INSTALL, "token_expired": INSTALL}


def bot_token_advice(error: str) -> str:
    """How to fix a refused bot token."""
    return _BOT_ADVICE.get(error, COPY_XOXB)


def app_token_advice(error: str) -> str:
    """How to fix a refused app-level token."""
    return _APP_ADVICE.get(error, MAKE_XAPP)


async def fetch_identity(api: WebApi, token: str, clock: Clock) -> Identity:
    """The bot's identity; waits until Slack can be reached. Raises CannotStart."""

    async def fetch() -> Identity:
        response = await api.read("auth.test")
        for required in ("team_id", "user_id"):
            response.text(required)
        if "bot_id" not in response.data and not token.startswith("xoxb-"):
            raise CannotStart(f"SLACK_BOT_TOKEN is not a bot's token: {COPY_XOXB}.")
        log.info(
            "identified the Slack workspace",
            team=response.data.get("team"),
            bot=response.data.get("user"),
        )
        return read_identity(response)

    try:
        return await retry_until_reached(fetch, clock)
    except (Gone, Refused) as error:
        raise CannotStart(
            f"Slack refuses SLACK_BOT_TOKEN ({error}): {bot_token_advice(error.code)}."
        ) from error


def read_identity(response: Response) -> Identity:
    """Read the identity from an auth.test response. Raises Unsettled."""
    return Identity(
        team=response.text("team_id"),
        user=response.text("user_id"),
        bot=response.text("bot_id"),
        name=slack_text.name(payloads.text(response.data, "user")),
        host=host_of(payloads.text(response.data, "url")),
        enterprise=payloads.ident(response.data, "enterprise_id"),
        is_org=response.data.get("is_enterprise_install") is True,
    )


async def fetch_socket_url(app_api: WebApi, clock: Clock) -> str:
    """The address for one Socket Mode connection; waits and raises like `fetch_identity`.

    `app_api` has the app-level token.
    """

    async def fetch() -> str:
        url = (await open_connection(app_api)).text("url")
        if not is_socket_url(url):
            raise Unsettled("Slack's response has no WebSocket address")
        return url

    try:
        return await retry_until_reached(fetch, clock)
    except (Gone, Refused) as error:
        raise CannotStart(
            f"Slack refuses SLACK_APP_TOKEN ({error}): {app_token_advice(error.code)}."
        ) from error


def is_socket_url(url: str) -> bool:
    """Whether `url` is a valid WebSocket address."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid address or port
        return False


async def open_connection(app_api: WebApi) -> Response:
    """Call apps.connections.open with the app-level token. Raises a PlatformError."""
    return await app_api.write("apps.connections.open")


async def retry_until_reached(call: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """The result of `call`, retried until Slack answers.

    Raises CannotStart, and Gone or Refused once a fatal error code has occurred twice in a row.
    """
    pauses, refusals = iter(RETRIES), 0
    while True:
        try:
            return await call()
        except CannotStart:
            raise
        except PlatformError as error:
            fatal = isinstance(error, Gone | Refused) and error.code in FATAL
            refusals = refusals + 1 if fatal else 0
            if refusals >= MAX_FATAL:
                raise
            retry_after = error.retry_after if isinstance(error, Throttled) else 0.0
            pause = max(next(pauses), retry_after)
            log.warning("cannot reach Slack", error=str(error), retry_in=pause)
        await clock.sleep(pause)
