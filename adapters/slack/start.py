"""What must be known before events are served: who the bot is, and where Socket Mode connects.

A refused token ends the start with one sentence that says what to do; a Slack that cannot be
reached is tried again, because a bot that starts before its network is no mistake.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from adapters.slack import payloads
from adapters.slack import text as slack_text
from adapters.slack.events import Identity
from adapters.slack.web import Answer, WebApi, web_client
from bot.errors import CannotStart, Gone, Refused, Throttled, Unsettled
from bot.ports import Clock

log = structlog.stdlib.get_logger(__name__)

# Between attempts to reach Slack, in seconds: doubled each time, up to the last.
FIRST_RETRY, LAST_RETRY = 1.0, 30.0

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
    try:
        answer = await _reached(lambda: api.read("auth.test"), clock)
    except (Gone, Refused) as error:
        raise CannotStart(
            f"Slack refuses SLACK_BOT_TOKEN ({error}): {bot_token_advice(str(error))}."
        ) from error
    data = answer.data
    if not data.get("bot_id"):
        raise CannotStart(f"SLACK_BOT_TOKEN is not a bot's token: {COPY_XOXB}.")
    log.info("slack workspace", team=data.get("team"), bot=data.get("user"))
    return Identity(
        str(data["team_id"]),
        str(data["user_id"]),
        str(data["bot_id"]),
        slack_text.name(payloads.text(data, "user")),
    )


async def socket_url(app_token: str, api: WebApi, clock: Clock) -> str:
    """The address of one Socket Mode connection; waits likewise. Raises CannotStart."""
    try:
        answer = await _reached(lambda: open_connection(app_token, api), clock)
    except (Gone, Refused) as error:
        raise CannotStart(
            f"Slack refuses SLACK_APP_TOKEN ({error}): {app_token_advice(str(error))}."
        ) from error
    return str(answer.data["url"])


async def open_connection(app_token: str, api: WebApi) -> Answer:
    """apps.connections.open with the app-level token. Raises a PlatformError."""
    client = web_client(app_token, api.client.base_url, api.session)
    own = WebApi(client=client, session=api.session, grants=api.grants)
    return await own.write("apps.connections.open")


async def _reached(call: Callable[[], Awaitable[Answer]], clock: Clock) -> Answer:
    wait = FIRST_RETRY
    while True:
        try:
            return await call()
        except (Unsettled, Throttled) as error:
            pause = max(wait, getattr(error, "retry_after", 0.0))
            log.warning("Slack cannot be reached", error=str(error), again_in=pause)
        await clock.sleep(pause)
        wait = min(wait * 2, LAST_RETRY)
