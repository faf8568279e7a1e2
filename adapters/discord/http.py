"""discord.py's REST client without its rate limiter: each request is sent once, immediately.

discord.py waits for its bucket inside a request, and raises RateLimited without sending
anything if the bucket's window ends later than `max_ratelimit_timeout`, even with requests
left. Here only the bot's rate limiter decides when to send, and the headers of every
response report the requests left in the window. A 429 blocks one scope: the route in that
channel or guild, or everything if Discord says that the limit is global or bans the address: then
every route gets a 429 without a limit's headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import discord
import structlog
import yarl
from discord.http import HTTPClient, Route

from adapters.discord.payload_schemas import OWN_APPLICATION, USER
from adapters.discord.payload_validation import validate
from bot.common.lease_guard import check_lease
from bot.common.proxies import http_proxy_for
from bot.ports import tracing
from bot.ports.clock import Clock
from bot.ports.platform import RateLimiter

log = structlog.stdlib.get_logger(__name__)

GLOBAL = "global"

# Short names of routes; any other route is named by its template. A scope is a name and Discord's
# "major parameter": the channel or guild for which Discord counts the limit.
# https://docs.discord.com/developers/topics/rate-limits
ROUTE_NAMES = {
    "POST /channels/{channel_id}/messages": "channel",
    "PATCH /channels/{channel_id}/messages/{message_id}": "channel",
    "DELETE /channels/{channel_id}/messages/{message_id}": "delete",
    "GET /channels/{channel_id}/messages": "history",
    "GET /channels/{channel_id}/messages/{message_id}": "message",
    "POST /channels/{channel_id}/messages/{message_id}/threads": "thread",
    "POST /channels/{channel_id}/typing": "typing",
    "GET /channels/{channel_id}": "get-channel",
    "PATCH /channels/{channel_id}": "edit-channel",
    "DELETE /channels/{channel_id}": "delete-channel",
    "GET /channels/{channel_id}/threads/archived/public": "archive",
    "GET /channels/{channel_id}/thread-members/{user_id}": "member",
    "GET /guilds/{guild_id}/members/{member_id}": "member",
    "GET /guilds/{guild_id}": "guild",
    "GET /guilds/{guild_id}/channels": "guild-channels",
    "GET /users/@me/guilds": "guilds",
    "GET /gateway/bot": "gateway",
    "POST /users/@me/channels": "open-dm",
    "GET /applications/{application_id}/commands": "commands",
    "PUT /applications/{application_id}/commands": "commands",
}

# Seconds until a request without a response is abandoned. Callers have shorter timeouts, except for
# edits: one abandoned early could overtake a later one. An upload needs longer (80 kB/s assumed).
RESPONSE_SECONDS = 60.0
UPLOAD_SECONDS = 180.0
# A file: to connect, and between two chunks. The caller limits the whole download.
FILE_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=20.0)
# Waits after a 429 and after a ban of the address that do not say how long to wait, in seconds.
DEFAULT_RETRY_AFTER = 5.0
DEFAULT_BAN = 60.0
MAX_RETRY_AFTER = 3600.0  # longer than any public report; a larger number is taken for an error

# Documented: 10,000 invalid requests (401, 403, 429) in ten minutes ban the address. After
# MAX_INVALID, requests are sent at most once a second, which cannot reach the limit.
INVALID_SECONDS = 600.0
MAX_INVALID = 1_000
SLOW_SECONDS = 1.0


class UnreadableResponse(Exception):
    """A successful response that is not JSON, such as a proxy's page."""


class TooManyRequests(discord.HTTPException):
    """A 429, with the wait in seconds and the scope that it blocks."""

    def __init__(self, response: aiohttp.ClientResponse, data: Any, scope: str) -> None:
        super().__init__(response, data if isinstance(data, dict) else str(data))
        self.scope = scope
        self.retry_after = retry_after_in(response.headers, data)


class Http(HTTPClient):
    """`discord.http.HTTPClient` that reports Discord's rate limit headers to `rate_limiter`.

    A 401 sets `token_refused`.
    """

    def __init__(self, *, of: HTTPClient, rate_limiter: RateLimiter, clock: Clock) -> None:
        super().__init__(of.loop, of.connector, proxy=of.proxy, proxy_auth=of.proxy_auth)
        self.http_trace = of.http_trace
        self._rate_limiter, self._clock = rate_limiter, clock
        self._invalid: deque[float] = deque(maxlen=MAX_INVALID)
        self._refused_until: dict[str, float] = {}  # by Discord's edge, for each route's name
        self.token_refused = asyncio.Event()

    async def request(
        self,
        route: Route,
        *,
        files: Sequence[discord.File] | None = None,
        form: Iterable[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Send a request once.

        Raises discord.HTTPException, UnreadableResponse, or any network error.
        """
        check_lease()
        options = self._options(kwargs)
        if form:
            options["data"] = _form(form)
        # discord.py creates its session at login and keeps it in a private attribute.
        session: aiohttp.ClientSession = vars(self)["_HTTPClient__session"]
        with tracing.request_span(route.method, route.path) as span:
            async with asyncio.timeout(UPLOAD_SECONDS if files else RESPONSE_SECONDS):
                async with session.request(route.method, route.url, **options) as response:
                    span.set({"http.response.status_code": response.status})
                    data = _parse(response, await response.text(encoding="utf-8", errors="replace"))
        return self._data_or_raise(route, response, data)

    async def static_login(self, token: str) -> Any:
        """Log in; returns the bot's user. Raises LoginFailure if Discord refuses the token."""
        return validate(await super().static_login(token), USER)

    async def application_info(self) -> Any:
        """The bot's application, whatever fields Discord leaves out."""
        response = await self.request(Route("GET", "/oauth2/applications/@me"))
        return validate(response, OWN_APPLICATION)

    @asynccontextmanager
    async def open_file(self, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET a file from Discord's CDN: without the token, compression or redirects.

        The CDN is not the API: its errors do not count toward the API's limits. Raises CannotStart
        if the proxy for `url` is unusable, and any network error.
        """
        session: aiohttp.ClientSession = vars(self)["_HTTPClient__session"]
        async with session.get(
            # A signed URL is sent unchanged: quoting would invalidate its signature.
            yarl.URL(url, encoded=url.isascii()),
            headers={"User-Agent": self.user_agent, "Accept-Encoding": "identity"},
            proxy=http_proxy_for(url),
            allow_redirects=False,
            timeout=FILE_TIMEOUT,
        ) as response:
            yield response

    def _options(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        headers = {"User-Agent": self.user_agent}
        if self.token is not None:
            headers["Authorization"] = f"Bot {self.token}"
        reason = kwargs.pop("reason", None)
        if reason:
            headers["X-Audit-Log-Reason"] = quote(reason, safe="/ ")
        return kwargs | {"headers": headers, "proxy": self.proxy, "proxy_auth": self.proxy_auth}

    def _data_or_raise(self, route: Route, response: aiohttp.ClientResponse, data: Any) -> Any:
        status, scope = response.status, route_scope(route)
        self._count_invalid(status, response.headers)
        if status == 429:
            raise self._throttled(response, data, scope)
        self._report_limits(response.headers, scope)
        if 200 <= status < 300:
            if isinstance(data, str) and data:
                raise UnreadableResponse(f"{route.method} {route.path}: not JSON")
            return data
        kind = {403: discord.Forbidden, 404: discord.NotFound}.get(status, discord.HTTPException)
        raise to_exception(discord.DiscordServerError if status >= 500 else kind, response, data)

    def _throttled(
        self, response: aiohttp.ClientResponse, data: Any, scope: str
    ) -> TooManyRequests:
        is_all = is_global(response, data)
        if is_all is None:
            is_all = self._is_address_banned(scope, retry_after_in(response.headers, data))
        error: TooManyRequests = to_exception(
            TooManyRequests, response, data, GLOBAL if is_all else scope
        )
        log.warning("Discord throttles", scope=error.scope, seconds=error.retry_after)
        return error

    def _is_address_banned(self, scope: str, seconds: float) -> bool:
        """Whether Discord's edge refuses several routes; `scope` names one that it refuses."""
        route, now = scope.partition(":")[0], self._clock.monotonic()
        self._refused_until[route] = now + seconds
        return any(until > now for other, until in self._refused_until.items() if other != route)

    def _report_limits(self, headers: Mapping[str, str], scope: str) -> None:
        remaining = number(headers.get("X-RateLimit-Remaining"))
        reset_after = number(headers.get("X-RateLimit-Reset-After"))
        if remaining is not None and reset_after is not None:
            wait = min(reset_after, MAX_RETRY_AFTER)
            self._rate_limiter.observed(scope, remaining=int(remaining), reset_after=wait)

    def _count_invalid(self, status: int, headers: Mapping[str, str]) -> None:
        """Count invalid requests and slow down long before Discord bans the address.

        Documented: a 429 with the scope `shared` does not count.
        """
        if status == 401:
            self.token_refused.set()
        shared = headers.get("X-RateLimit-Scope") == "shared"
        if status not in (401, 403, 429) or shared:
            return
        now = self._clock.monotonic()
        full = len(self._invalid) == MAX_INVALID
        if full and now - self._invalid[0] < INVALID_SECONDS:
            self._rate_limiter.throttled(SLOW_SECONDS, GLOBAL)
        self._invalid.append(now)


def install_http(client: discord.Client, *, rate_limiter: RateLimiter, clock: Clock) -> Http:
    """Replace a new client's REST client before anything else refers to it."""
    http = Http(of=client.http, rate_limiter=rate_limiter, clock=clock)
    client.http = client._connection.http = http
    return http


def route_scope(route: Route) -> str:
    """The rate limit scope of a route: its name and its major parameter."""
    template = f"{route.method} {route.path}"
    name, major = ROUTE_NAMES.get(template, template), route.channel_id or route.guild_id
    return f"{name}:{major}" if major else name


_BUCKET_HEADERS = ("X-RateLimit-Scope", "X-RateLimit-Bucket", "X-RateLimit-Remaining")


def is_global(response: aiohttp.ClientResponse, data: Any) -> bool | None:
    """Whether a 429 blocks all requests because Discord says so; None if it does not say.

    Then it comes from Discord's edge: without bucket headers, and as HTML or without a Via header.
    The edge refuses one route, or every route while the address is banned.
    """
    headers, fields = response.headers, data if isinstance(data, dict) else {}
    if headers.get("X-RateLimit-Global", "").lower() == "true" or fields.get("global") is True:
        return True
    if headers.get("X-RateLimit-Scope") == "global":
        return True
    if any(headers.get(name) for name in _BUCKET_HEADERS) or fields.get("global") is False:
        return False
    return False if isinstance(data, dict) and headers.get("Via") else None


def retry_after_in(headers: Mapping[str, str], data: Any) -> float:
    """How long a 429 says to wait, in seconds; the body is more precise than the headers."""
    in_body = data.get("retry_after") if isinstance(data, dict) else None
    for value in (in_body, headers.get("Retry-After"), headers.get("X-RateLimit-Reset-After")):
        wait = number(value)
        if wait is not None:
            return min(wait, MAX_RETRY_AFTER)
    return DEFAULT_RETRY_AFTER if isinstance(data, dict) else DEFAULT_BAN


def number(value: object) -> float | None:
    """A number or numeral as a finite, non-negative float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with contextlib.suppress(ValueError, OverflowError):
        found = float(value)
        return found if math.isfinite(found) and found >= 0 else None
    return None


def to_exception(kind: type[Any], response: aiohttp.ClientResponse, data: Any, *more: Any) -> Any:
    """discord.py's exception for an error response, whatever types the response's fields have."""
    fields = data if isinstance(data, dict) else {}
    code, message = fields.get("code"), fields.get("message")
    valid = {
        "code": code if isinstance(code, int) and not isinstance(code, bool) else 0,
        "message": message if isinstance(message, str) else "",
        "retry_after": fields.get("retry_after"),
    }
    if isinstance(fields.get("errors"), dict):
        with contextlib.suppress(Exception):  # discord.py's parser raises on unexpected structures
            return kind(response, valid | {"errors": fields["errors"]}, *more)
    return kind(response, valid if isinstance(data, dict) else str(data)[:500], *more)


def _parse(response: aiohttp.ClientResponse, text: str) -> Any:
    """A response's JSON, else its text; proxies may append a charset to the content type."""
    if response.headers.get("Content-Type", "").startswith("application/json"):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return text


def _form(form: Iterable[dict[str, Any]]) -> aiohttp.FormData:
    # Discord rejects field names whose brackets are percent-encoded.
    data = aiohttp.FormData(quote_fields=False)
    for part in form:
        data.add_field(**part)
    return data
