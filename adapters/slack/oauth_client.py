"""The app's requests for an installation: exchanging a code, and giving a token back.

Invariant: no code and no token appears in the log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from adapters.slack.api import quiet_logger

log = structlog.stdlib.get_logger(__name__)

_ERROR = re.compile(r"'error': '([a-z_]{1,60})'")


@dataclass(frozen=True, slots=True)
class OAuthApp:
    """The app's credentials, and who may install it.

    `teams` lists workspaces and organizations by id, or is `*`. `redirect_uri` is needed if the app
    has several.
    """

    client_id: str
    client_secret: str = field(repr=False)
    teams: Sequence[str] = ()
    redirect_uri: str | None = None


class ExchangeClient(AsyncWebClient):
    """The flow's client, which leaves auth.test to the store.

    slack_bolt's flow would call auth.test itself. If that failed, it would lose the new token,
    which could then neither be stored nor given back.
    """

    async def auth_test(self, **_fields: object) -> dict[str, None]:  # type: ignore[override]
        """Return the fields that the flow reads, without a request."""
        return {"bot_id": None, "url": None}


def exchange_client(client: AsyncWebClient) -> ExchangeClient:
    """Create the flow's client on the session of `client`."""
    made = ExchangeClient(
        base_url=client.base_url, session=client.session, retry_handlers=[], logger=quiet_logger()
    )
    made.proxy = client.proxy
    return made


def refusal_logger() -> logging.Logger:
    """A logger for the flow. The flow's only warning includes the code, which must stay as
    secret as a token."""
    logger = logging.getLogger("slack_oauth")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    if not logger.filters:
        logger.addFilter(_log_error_alone)
    return logger


def _log_error_alone(record: logging.LogRecord) -> bool:
    found = _ERROR.search(record.getMessage())
    log.warning("Slack refuses an installation", error=found[1] if found else "?")
    return False


async def give_back(client: AsyncWebClient, app: OAuthApp, token: str) -> str:
    """Uninstall the app from the token's workspace, or at least revoke the token.

    Returns the reason if Slack accepts neither, otherwise "". Never raises.
    """
    reason = ""
    credentials = {"client_id": app.client_id, "client_secret": app.client_secret}
    for method, fields in (("apps.uninstall", credentials), ("auth.revoke", {})):
        try:
            await client.api_call(method, data={"token": token, **fields})
        except Exception as error:  # noqa: BLE001 - the error may contain the token
            reason = _reason(error)
            log.warning("cannot give a token back", method=method, reason=reason)
        else:
            return ""
    return reason


def _reason(error: Exception) -> str:
    found = _ERROR.search(str(error))
    return found[1] if found else type(error).__name__
