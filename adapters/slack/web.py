"""The Web API of one workspace: every request is paced, limited in time, and its failure ours.

Nothing is sent again here: after a lost answer nobody knows whether a post was carried out, and
who sent it decides (Unsettled).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from adapters.slack.faults import translated
from bot.errors import Refused, Throttled, Unsettled
from bot.frames import Limit, Pace, Priority
from bot.ports import Grants
from bot.proxies import http_proxy_for
from bot.remembered import Remembered

SLACK_API = "https://slack.com/api/"
# A request that takes longer is given up, in seconds; Slack usually answers within one.
REQUEST_SECONDS = 10.0

# ── budgets ───────────────────────────────────────────────────────────────────────────────────
# docs.slack.dev/apis/web-api/rate-limits: calls a minute for each method in a workspace, given as
# "20+", "50+", "100+"; a little is left for what our clock and Slack's see differently.
_MINUTE = 60.0
TIER_2, TIER_3, TIER_4 = 19, 49, 98
_COUNTS = {
    "chat.delete": TIER_3,
    "conversations.replies": TIER_3,
    "conversations.info": TIER_3,
    "conversations.history": TIER_3,
    "users.conversations": TIER_3,
    "users.info": TIER_4,
    "chat.postEphemeral": TIER_4,
    "assistant.threads.setStatus": TIER_3,
    "assistant.threads.setSuggestedPrompts": TIER_3,
    "agents.sessions.setStatus": TIER_3,
    "files.getUploadURLExternal": TIER_4,
    "files.completeUploadExternal": TIER_4,
    "files.delete": TIER_3,
}
POSTS, EDITS, DELETIONS = "chat.postMessage", "chat.update", "chat.delete"
STARTS, APPENDS, STOPS = "chat.startStream", "chat.appendStream", "chat.stopStream"
UPLOADS, COMPLETIONS = "files.getUploadURLExternal", "files.completeUploadExternal"
FILE_DELETIONS = "files.delete"
# What a reply costs beyond these, ten a second, nobody sees.
_SPACING = 0.1
_LIMITS = {
    # "several hundred messages per minute" in a workspace, for each channel "1 per second".
    POSTS: Limit(count=280, seconds=_MINUTE, pace=Pace.NONE),
    EDITS: Limit(count=TIER_3, seconds=_MINUTE, spacing=_SPACING, pace=Pace.FORECAST),
    STARTS: Limit(count=TIER_2, seconds=_MINUTE, pace=Pace.NONE),
    APPENDS: Limit(count=TIER_4, seconds=_MINUTE, spacing=_SPACING, pace=Pace.FORECAST, then=EDITS),
    STOPS: Limit(count=TIER_2, seconds=_MINUTE, spacing=_SPACING, pace=Pace.NONE),
}


def post_scopes(channel: str) -> tuple[str, ...]:
    """The budgets of a post: the channel's, and the workspace's."""
    return (f"{POSTS}:{channel}", POSTS)


def limits(scope: str) -> Limit:
    """The budget of a scope, for the pacer, which knows from it how to spread interim requests."""
    if scope in _LIMITS:
        return _LIMITS[scope]
    if scope.startswith(f"{POSTS}:"):
        return Limit(count=3, seconds=3.15, pace=Pace.NONE)  # with short bursts
    return Limit(count=_COUNTS.get(scope, TIER_2), seconds=_MINUTE)


# ── the client ────────────────────────────────────────────────────────────────────────────────
def web_client(token: str, api_url: str | None, session: aiohttp.ClientSession) -> AsyncWebClient:
    """slack_sdk's client on our session; it retries nothing by itself."""
    base = api_url or SLACK_API
    client = AsyncWebClient(
        token=token, base_url=base, session=session, retry_handlers=[], logger=quiet_log()
    )
    client.proxy = http_proxy_for(base)  # slack_sdk takes HTTPS_PROXY for every address
    return client


def quiet_log() -> logging.Logger:
    """Slack's libraries log every text at DEBUG, and build those lines when no level is set."""
    log = logging.getLogger("slack_libraries")
    log.setLevel(logging.ERROR)
    return log


def new_session() -> aiohttp.ClientSession:
    """The connections to Slack; the caller closes it."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS))


@dataclass(frozen=True, slots=True)
class Answer:
    """What Slack answered: the body's JSON, and the headers in lower case."""

    data: Mapping[str, Any]
    headers: Mapping[str, str]


class WebApi:
    """Slack's methods, with their failures translated and their budgets kept."""

    def __init__(
        self, *, client: AsyncWebClient, session: aiohttp.ClientSession, grants: Grants
    ) -> None:
        self.client, self.grants = client, grants
        self.session = session
        self.own_deletions = Remembered()  # "channel/ts": Slack tells of them as of anybody's

    async def write(self, method: str, scopes: tuple[str, ...] = (), **fields: Any) -> Answer:
        """Call a method that takes JSON, at once: its budget was taken by the caller.

        Raises Throttled, Gone, Refused or Unsettled.
        """
        body = {name: value for name, value in fields.items() if value is not None}
        if method == DELETIONS:
            self.own_deletions.add(f"{fields['channel']}/{fields['ts']}")
        return await self._answer(self.client.api_call(method, json=body), scopes or (method,))

    async def write_form(self, method: str, **fields: Any) -> Answer:
        """`write` for a method that takes no JSON."""
        return await self._answer(self.client.api_call(method, data=fields), (method,))

    async def upload(self, url: str, data: bytes) -> None:
        """Send a file to where Slack wants it. Raises Refused or Unsettled."""
        try:
            async with self.session.post(url, data=data, proxy=self.client.proxy) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise translated(error) from error
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unsettled(f"upload: {status}")
        if status != HTTPStatus.OK:
            raise Refused(f"upload: {status}")

    async def read(self, method: str, **fields: Any) -> Answer:
        """Call a method that takes a query, at once. Raises as `write` does."""
        query = {name: value for name, value in fields.items() if value is not None}
        call = self.client.api_call(method, http_verb="GET", params=query)
        return await self._answer(call, (method,))

    async def paced_write(
        self, method: str, *, priority: Priority = Priority.CONTROL, **fields: Any
    ) -> Answer:
        """`write`, when the budget allows."""
        scopes = post_scopes(fields["channel"]) if method == POSTS else (method,)
        return await self._paced(lambda: self.write(method, scopes, **fields), scopes, priority)

    async def paced_read(
        self, method: str, *, priority: Priority = Priority.CONTROL, **fields: Any
    ) -> Answer:
        """`read`, when the budget allows."""
        return await self._paced(lambda: self.read(method, **fields), (method,), priority)

    async def respond(self, url: str, **fields: Any) -> None:
        """Answer an interaction at its `response_url`, which has no budget but five uses."""
        try:
            async with self.session.post(url, json=fields, proxy=self.client.proxy) as response:
                if response.status != HTTPStatus.OK:
                    raise Refused(f"response_url: {response.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise translated(error) from error

    async def _paced(
        self, send: Callable[[], Awaitable[Answer]], scopes: tuple[str, ...], priority: Priority
    ) -> Answer:
        await self.grants.spend(*scopes, priority=priority)
        try:
            return await send()
        except Throttled as error:
            self.grants.throttled(error.retry_after, *error.scopes)
            raise

    async def _answer(self, call: Awaitable[Any], scopes: tuple[str, ...]) -> Answer:
        try:
            response = await call
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise translated(error, scopes) from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.data if isinstance(response.data, dict) else {}, headers)
