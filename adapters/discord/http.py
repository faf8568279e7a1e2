"""discord.py's REST client without its own limiter: one attempt for each request, and no waiting.

discord.py waits inside a request for its bucket, and raises RateLimited before it sends anything
when the bucket's window ends later than `max_ratelimit_timeout`, even with requests left. Here the
rate limiter alone decides when to send: each answer's headers say how much of the window is left.
A 429 names the budget that it closes: that route in that channel (or guild), or everything where
Discord says that it is global or bans the address.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
import discord
import structlog
from discord.http import HTTPClient, Route

from bot.ports.clock import Clock
from bot.ports.platform import RateLimiter

log = structlog.stdlib.get_logger(__name__)

GLOBAL = "global"

# The names of budgets, by route; any other route is its own. A scope ends in Discord's "major
# parameter": the channel or guild for which Discord counts a limit.
# https://docs.discord.com/developers/topics/rate-limits
KINDS = {
    "POST /channels/{channel_id}/messages": "channel",
    "PATCH /channels/{channel_id}/messages/{message_id}": "channel",
    "DELETE /channels/{channel_id}/messages/{message_id}": "delete",
    "GET /channels/{channel_id}/messages": "history",
    "GET /channels/{channel_id}/messages/{message_id}": "message",
    "POST /channels/{channel_id}/messages/{message_id}/threads": "thread",
    "POST /channels/{channel_id}/typing": "typing",
    "GET /channels/{channel_id}": "place",
    "PATCH /channels/{channel_id}": "change",
    "DELETE /channels/{channel_id}": "removal",
    "GET /channels/{channel_id}/threads/archived/public": "archive",
    "GET /channels/{channel_id}/thread-members/{user_id}": "member",
    "GET /guilds/{guild_id}/members/{member_id}": "member",
    "GET /applications/{application_id}/commands": "commands",
    "PUT /applications/{application_id}/commands": "commands",
}

# Seconds until any request without an answer is abandoned. Callers have shorter limits, except
# for edits: one that is cut off early may still overtake a later one. A file needs time for its
# bytes on a slow line (80 kB/s).
NO_ANSWER = 60.0
NO_ANSWER_TO_FILE = 180.0
# Waits for a 429 that does not say how long, and for a ban of the address that does not.
UNKNOWN_WAIT = 5.0
UNKNOWN_BAN = 60.0
MOST_WAIT = 3600.0  # no report is longer; a number that is cannot be meant

# Documented: 10,000 invalid requests (401, 403, 429) in ten minutes ban the address. From this many
# on we send once a second at most, which cannot reach the limit.
INVALID_SECONDS = 600.0
MOST_INVALID = 1_000
SLOW_SECONDS = 1.0


class OddAnswer(Exception):
    """A successful answer that is no JSON, such as a proxy's page."""


class Limited(discord.HTTPException):
    """A 429: the wait in seconds, and the budget that it concerns."""

    def __init__(self, response: aiohttp.ClientResponse, data: Any, scope: str) -> None:
        super().__init__(response, data if isinstance(data, dict) else str(data))
        self.scope = scope
        self.retry_after = wait_of(response.headers, data)


class Http(HTTPClient):
    """`discord.http.HTTPClient` that tells `rate_limiter` what Discord says of its limits.

    `token_refused` is set by an answer that refuses the token.
    """

    def __init__(self, *, of: HTTPClient, rate_limiter: RateLimiter, clock: Clock) -> None:
        super().__init__(of.loop, of.connector, proxy=of.proxy, proxy_auth=of.proxy_auth)
        self.http_trace = of.http_trace
        self._rate_limiter, self._clock = rate_limiter, clock
        self._invalid: deque[float] = deque(maxlen=MOST_INVALID)
        self.token_refused = asyncio.Event()

    async def request(
        self,
        route: Route,
        *,
        files: Sequence[discord.File] | None = None,
        form: Iterable[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Send a request once. Raises discord.HTTPException, OddAnswer, or what the network did."""
        options = self._options(kwargs)
        if form:
            options["data"] = _form(form)
        # The session is discord.py's own and made by its login.
        session: aiohttp.ClientSession = vars(self)["_HTTPClient__session"]
        async with asyncio.timeout(NO_ANSWER_TO_FILE if files else NO_ANSWER):
            async with session.request(route.method, route.url, **options) as response:
                data = _data(response, await response.text(encoding="utf-8", errors="replace"))
        return self._judged(route, response, data)

    def _options(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        headers = {"User-Agent": self.user_agent}
        if self.token is not None:
            headers["Authorization"] = f"Bot {self.token}"
        reason = kwargs.pop("reason", None)
        if reason:
            headers["X-Audit-Log-Reason"] = quote(reason, safe="/ ")
        return kwargs | {"headers": headers, "proxy": self.proxy, "proxy_auth": self.proxy_auth}

    def _judged(self, route: Route, response: aiohttp.ClientResponse, data: Any) -> Any:
        """The data of a successful answer."""
        status, scope = response.status, scope_of(route)
        self._counted(status, response.headers)
        if status == 429:
            raise self._limited(response, data, scope)
        self._observed(response.headers, scope)
        if 200 <= status < 300:
            if isinstance(data, str) and data:
                raise OddAnswer(f"{route.method} {route.path}: no JSON")
            return data
        kind = {403: discord.Forbidden, 404: discord.NotFound}.get(status, discord.HTTPException)
        raise error_of(discord.DiscordServerError if status >= 500 else kind, response, data)

    def _limited(self, response: aiohttp.ClientResponse, data: Any, scope: str) -> Limited:
        error: Limited = error_of(
            Limited, response, data, GLOBAL if is_global(response, data) else scope
        )
        log.warning("Discord throttles", scope=error.scope, seconds=error.retry_after)
        return error

    def _observed(self, headers: Mapping[str, str], scope: str) -> None:
        remaining = number(headers.get("X-RateLimit-Remaining"))
        reset_after = number(headers.get("X-RateLimit-Reset-After"))
        if remaining is not None and reset_after is not None:
            wait = min(reset_after, MOST_WAIT)
            self._rate_limiter.observed(scope, remaining=int(remaining), reset_after=wait)

    def _counted(self, status: int, headers: Mapping[str, str]) -> None:
        """Count invalid requests, and slow down long before they would ban the address.

        Documented: a 429 whose scope is `shared` does not count.
        """
        if status == 401:
            self.token_refused.set()
        shared = headers.get("X-RateLimit-Scope") == "shared"
        if status not in (401, 403, 429) or shared:
            return
        now = self._clock.monotonic()
        full = len(self._invalid) == MOST_INVALID
        if full and now - self._invalid[0] < INVALID_SECONDS:
            self._rate_limiter.throttled(SLOW_SECONDS, GLOBAL)
        self._invalid.append(now)


def installed_in(client: discord.Client, *, rate_limiter: RateLimiter, clock: Clock) -> Http:
    """Replace the REST client of a new client, before anything else has a reference to it."""
    http = Http(of=client.http, rate_limiter=rate_limiter, clock=clock)
    client.http = client._connection.http = http
    return http


def scope_of(route: Route) -> str:
    """The budget of a route: its kind, and what Discord counts it for."""
    what = f"{route.method} {route.path}"
    major = route.channel_id or route.guild_id or ""
    return f"{KINDS.get(what, what)}:{major}" if major else KINDS.get(what, what)


_ABOUT_A_BUCKET = ("X-RateLimit-Scope", "X-RateLimit-Bucket", "X-RateLimit-Remaining")


def is_global(response: aiohttp.ClientResponse, data: Any) -> bool:
    """Whether a 429 concerns everything: Discord says so, or the address is banned.

    A ban comes from Discord's edge: as a page, or without Via, and without a word about a bucket.
    """
    headers, said = response.headers, data if isinstance(data, dict) else {}
    if headers.get("X-RateLimit-Global", "").lower() == "true" or said.get("global") is True:
        return True
    if headers.get("X-RateLimit-Scope") == "global":
        return True
    if any(headers.get(name) for name in _ABOUT_A_BUCKET):
        return False
    return not isinstance(data, dict) or not headers.get("Via")


def wait_of(headers: Mapping[str, str], data: Any) -> float:
    """How long a 429 asks to wait, in seconds; the body is more exact than the headers."""
    said = data.get("retry_after") if isinstance(data, dict) else None
    for value in (said, headers.get("Retry-After"), headers.get("X-RateLimit-Reset-After")):
        wait = number(value)
        if wait is not None:
            return min(wait, MOST_WAIT)
    return UNKNOWN_WAIT if isinstance(data, dict) else UNKNOWN_BAN


def number(value: object) -> float | None:
    """A finite number that is not negative, from whatever stands in its place; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with contextlib.suppress(ValueError, OverflowError):
        found = float(value)
        return found if math.isfinite(found) and found >= 0 else None
    return None


def error_of(kind: type[Any], response: aiohttp.ClientResponse, data: Any, *more: Any) -> Any:
    """discord.py's exception for an answer, whatever the types of the answer's fields are."""
    known = data if isinstance(data, dict) else {}
    code = known.get("code")
    message = known.get("message")
    plain = {
        "code": code if isinstance(code, int) and not isinstance(code, bool) else 0,
        "message": message if isinstance(message, str) else "",
        "retry_after": known.get("retry_after"),
    }
    if isinstance(known.get("errors"), dict):
        with contextlib.suppress(Exception):  # its reader expects one shape
            return kind(response, plain | {"errors": known["errors"]}, *more)
    return kind(response, plain if isinstance(data, dict) else str(data)[:500], *more)


def _data(response: aiohttp.ClientResponse, text: str) -> Any:
    """The JSON of an answer, or its text; a proxy may have added a charset to its type."""
    if response.headers.get("Content-Type", "").startswith("application/json"):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return text


def _form(form: Iterable[dict[str, Any]]) -> aiohttp.FormData:
    # Discord does not take the escapes that `quote_fields` makes of the brackets in names.
    data = aiohttp.FormData(quote_fields=False)
    for part in form:
        data.add_field(**part)
    return data
