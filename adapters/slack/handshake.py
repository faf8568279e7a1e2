"""What must be known before events are served: who the bot is, and where Socket Mode connects.

A token that is refused twice ends the start with one sentence that says what to do; everything else
is tried again, with growing pauses: a Slack that cannot be reached, one that throttles, and answers
that are no answers. A bot that starts before its network is no mistake.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import structlog

from adapters.slack import payloads
from adapters.slack import text as slack_text
from adapters.slack.api import WebApi, web_client
from adapters.slack.errors import TOKEN_ERRORS
from adapters.slack.events import Identity
from adapters.slack.responses import Response
from bot.domain.errors import CannotStart, Gone, PlatformError, Refused, Throttled, Unsettled
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# Between attempts to reach Slack, in seconds: doubled each time, up to the last.
FIRST_RETRY, LAST_RETRY = 1.0, 30.0
# What a person has to mend, in the words of auth.test and apps.connections.open; so many refusals
# in a row are believed. Any other word may be Slack's trouble of today.
FATAL = TOKEN_ERRORS | {"forbidden_team", "invalid_app", "missing_scope", "socket_mode_not_enabled"}
BELIEVED = 2

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
    """What to do about a refused bot token."""
    return _BOT_ADVICE.get(error, COPY_XOXB)


def app_token_advice(error: str) -> str:
    """What to do about a refused app-level token."""
    return _APP_ADVICE.get(error, MAKE_XAPP)


async def identity(api: WebApi, clock: Clock) -> Identity:
    """Who the bot is; waits as long as Slack cannot be reached. Raises CannotStart."""

    async def ask() -> Identity:
        answer = await api.read("auth.test")
        team, me = answer.text("team_id"), answer.text("user_id")
        if "bot_id" not in answer.data and not str(api.client.token).startswith("xoxb-"):
            raise CannotStart(f"SLACK_BOT_TOKEN is not a bot's token: {COPY_XOXB}.")
        log.info("slack workspace", team=answer.data.get("team"), bot=answer.data.get("user"))
        name = slack_text.name(payloads.text(answer.data, "user"))
        return Identity(team, me, answer.text("bot_id"), name)

    try:
        return await reached(ask, clock)
    except (Gone, Refused) as error:
        raise CannotStart(
            f"Slack refuses SLACK_BOT_TOKEN ({error}): {bot_token_advice(str(error))}."
        ) from error


async def socket_url(app_token: str, api: WebApi, clock: Clock) -> str:
    """The address of one Socket Mode connection; waits likewise. Raises CannotStart."""

    async def ask() -> str:
        url = (await open_connection(app_token, api)).text("url")
        if not is_socket_url(url):
            raise Unsettled("Slack's answer has no address of a web socket")
        return url

    try:
        return await reached(ask, clock)
    except (Gone, Refused) as error:
        raise CannotStart(
            f"Slack refuses SLACK_APP_TOKEN ({error}): {app_token_advice(str(error))}."
        ) from error


def is_socket_url(url: str) -> bool:
    """Whether Socket Mode can connect to it."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no address at all, or no port
        return False


async def open_connection(app_token: str, api: WebApi) -> Response:
    """apps.connections.open with the app-level token. Raises a PlatformError."""
    client = web_client(app_token, api.client.base_url, api.session)
    own = WebApi(
        client=client,
        session=api.session,
        rate_limiter=api.rate_limiter,
        clock=api.clock,
        watches=False,
    )
    return await own.write("apps.connections.open")


async def reached(call: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """What `call` gives in the end.

    Raises CannotStart, and Gone or Refused when Slack says twice what a person has to mend.
    """
    wait, refusals = FIRST_RETRY, 0
    while True:
        try:
            return await call()
        except CannotStart:
            raise
        except PlatformError as error:
            fatal = isinstance(error, Gone | Refused) and str(error) in FATAL
            refusals = refusals + 1 if fatal else 0
            if refusals >= BELIEVED:
                raise
            pause = max(wait, error.retry_after if isinstance(error, Throttled) else 0.0)
            log.warning("Slack cannot be reached", error=str(error), again_in=pause)
        await clock.sleep(pause)
        wait = min(wait * 2, LAST_RETRY)
