"""One workspace's Web API, with rate limits, timeouts and translated errors.

This module never retries: after a lost response it is unknown whether Slack carried out the
request, so the caller decides (Unsettled).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog
from cachetools import LRUCache
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from adapters.slack.errors import DEAD_TOKEN, parse_retry_after, status_of, translate_error
from adapters.slack.rate_limits import DELETIONS, POSTS, UPLOADS, PostThrottles, post_scopes
from adapters.slack.responses import Response
from adapters.slack.token import TokenSource, TokenVerifier
from bot.common.lease_guard import check_lease
from bot.common.proxies import http_proxy_for
from bot.domain.errors import Gone, PlatformError, Refused, Throttled, Unsettled
from bot.domain.replies import Priority
from bot.ports import tracing
from bot.ports.clock import Clock
from bot.ports.platform import RateLimiter

log = structlog.stdlib.get_logger(__name__)

SLACK_API = "https://slack.com/api/"
# Connections to Slack: 1,000 workspaces need fewer, within Slack's limits. Requests of one of them
# that get no answer for ten seconds must not keep the others waiting.
MAX_CONNECTIONS = 1_000
# Deletions to remember, about 1 MB: far more than can be in flight at the same time.
MAX_DELETIONS = 10_000
# The timeout of a request, in seconds; Slack usually answers within one.
REQUEST_SECONDS = 10.0


def web_client(token: str, api_url: str | None, session: aiohttp.ClientSession) -> AsyncWebClient:
    """slack_sdk's client on our session, without automatic retries."""
    base = api_url or SLACK_API
    client = AsyncWebClient(
        token=token, base_url=base, session=session, retry_handlers=[], logger=quiet_logger()
    )
    client.proxy = http_proxy_for(base)  # slack_sdk would use HTTPS_PROXY for every address
    return client


def quiet_logger() -> logging.Logger:
    """A logger for Slack's libraries, which log every message text at DEBUG by default."""
    quiet = logging.getLogger("slack_libraries")
    quiet.setLevel(logging.ERROR)
    if not quiet.filters:
        quiet.addFilter(_without_traceback)
    return quiet


def _without_traceback(record: logging.LogRecord) -> bool:
    """Drop the traceback: the libraries log one for every failed attempt."""
    record.exc_info = record.exc_text = None
    return True


def new_session(seconds: float = REQUEST_SECONDS) -> aiohttp.ClientSession:
    """A session with a timeout of `seconds` per request; the caller closes it."""
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=seconds))


class WebApi:
    """Calls Slack's methods with one workspace's token.

    Without `tokens`, it sends the client's own token. A refusal is then not checked with auth.test,
    which works only with bot tokens.
    """

    def __init__(
        self,
        *,
        client: AsyncWebClient,
        session: aiohttp.ClientSession,
        rate_limiter: RateLimiter,
        clock: Clock,
        tokens: TokenSource | None = None,
    ) -> None:
        self.client, self.rate_limiter = client, rate_limiter
        self.session, self.clock = session, clock
        # "channel/ts" of messages we deleted; Slack sends delete events for these too.
        self.own_deletions: LRUCache[str, bool] = LRUCache(MAX_DELETIONS)
        self.tokens, self._closed = tokens, ""
        self.token = (
            TokenVerifier(source=tokens, auth_test=self._auth_test, clock=clock) if tokens else None
        )
        self._post_throttles = PostThrottles(clock)

    def close(self, reason: str) -> None:
        """Stop sending: all requests raise Gone with the code `reason`."""
        self._closed = reason

    async def bearer(self) -> str:
        """The token that requests carry now. Raises a PlatformError."""
        self._require_open()
        token = str(self.client.token) if self.tokens is None else await self.tokens.get()
        self._require_open()
        return token

    def _require_open(self) -> None:
        if self._closed:
            raise Gone(code=self._closed)

    async def write(self, method: str, scopes: tuple[str, ...] = (), **fields: Any) -> Response:
        """Call a method that takes JSON, immediately: the caller has acquired `scopes`.

        Raises Throttled, Gone, Refused or Unsettled.
        """
        body = {name: value for name, value in fields.items() if value is not None}
        if method == DELETIONS:
            self.own_deletions[f"{fields['channel']}/{fields['ts']}"] = True
        try:
            return await self._call(method, scopes or (method,), json=body)
        except Throttled as error:
            if method != POSTS:
                raise
            exhausted = self._post_throttles.record(str(fields["channel"]), error.retry_after)
            raise Throttled(error.retry_after, exhausted) from error

    async def write_form(self, method: str, **fields: Any) -> Response:
        """`write` for a method that takes no JSON."""
        return await self._call(method, (method,), data=fields)

    async def write_form_paced(self, method: str, **fields: Any) -> Response:
        """`write_form`, once the rate limit allows it."""
        return await self._spend_and_send(
            lambda: self.write_form(method, **fields), (method,), Priority.CONTROL
        )

    async def upload(self, url: str, data: bytes) -> None:
        """Send a file to an upload URL. Raises Throttled, Refused or Unsettled."""
        await self._post(url, (UPLOADS,), data=data)

    async def read(self, method: str, **fields: Any) -> Response:
        """Call a method that takes a query string, immediately. Raises like `write`."""
        query = {name: value for name, value in fields.items() if value is not None}
        return await self._call(method, (method,), http_verb="GET", params=query)

    async def write_paced(
        self, method: str, *, priority: Priority = Priority.CONTROL, **fields: Any
    ) -> Response:
        """`write`, once the rate limit allows it."""
        scopes = post_scopes(fields["channel"]) if method == POSTS else (method,)
        return await self._spend_and_send(
            lambda: self.write(method, scopes, **fields), scopes, priority
        )

    async def read_paced(
        self,
        method: str,
        *,
        priority: Priority = Priority.CONTROL,
        scope: str = "",
        **fields: Any,
    ) -> Response:
        """`read`, once the rate limit of `scope`, or of the method, allows it."""
        scopes = (scope or method,)
        return await self._spend_and_send(lambda: self.read(method, **fields), scopes, priority)

    async def respond(self, url: str, **fields: Any) -> None:
        """Answer an interaction at its `response_url`, to the person alone.

        It has no rate limit, but Slack accepts at most five answers.
        """
        await self._post(url, (), json={"response_type": "ephemeral", **fields})

    async def _spend_and_send(
        self, send: Callable[[], Awaitable[Response]], scopes: tuple[str, ...], priority: Priority
    ) -> Response:
        await self.rate_limiter.spend(*scopes, priority=priority)
        try:
            return await send()
        except Throttled as error:
            self.rate_limiter.throttled(error.retry_after, *{*error.scopes, *scopes})
            self.rate_limiter.refund(*scopes)
            raise

    async def _call(self, method: str, scopes: tuple[str, ...], **request: Any) -> Response:
        token = await self.bearer()
        if self.token is not None and method != "auth.test":
            await self.token.check()
            self._require_open()
        try:
            return await self._send(method, scopes, token, **request)
        except Gone as error:
            if self.token is None or error.code not in DEAD_TOKEN:
                raise
            if self.tokens is not None and await self.tokens.replaced(token):
                raise Unsettled(f"another token has replaced this one ({error})") from error
            if method == "auth.test":
                raise
            raise await self.token.verify(error) from error

    async def _send(
        self, method: str, scopes: tuple[str, ...], token: str, **request: Any
    ) -> Response:
        try:
            check_lease()
            self.client.token = token  # api_call reads it before it waits for anything
            response = await self._request(method, **request)
            headers = {name.lower(): value for name, value in response.headers.items()}
            if not isinstance(response.data, dict):
                raise Unsettled(f"Slack's response is not an object: {response.data!r:.80}")
            return Response(response.data, headers)
        except PlatformError:
            raise
        except Exception as error:
            # slack_sdk does not validate responses: a list, null or deeply nested JSON raises
            # AttributeError, TypeError, RecursionError …
            raise _translate_and_log(error, scopes) from error

    async def _request(self, method: str, **request: Any) -> AsyncSlackResponse:
        with tracing.request_span(request.get("http_verb", "POST"), method) as span:
            try:
                response = await self.client.api_call(method, **request)
            except SlackApiError as error:
                span.set({"http.response.status_code": status_of(error)})
                raise
            span.set({"http.response.status_code": response.status_code})
            return response

    async def _post(self, url: str, scopes: tuple[str, ...], **body: Any) -> None:
        """POST to a URL from one of Slack's payloads; the URL may be invalid."""
        self._require_open()
        check_lease()
        try:
            with tracing.request_span("POST", scopes[0] if scopes else "response_url") as span:
                async with self.session.post(url, proxy=http_proxy_for(url), **body) as response:
                    status, wait = response.status, response.headers.get("Retry-After")
                    span.set({"http.response.status_code": status})
        except Exception as error:
            # aiohttp raises ValueError, TypeError and others for invalid URLs.
            raise _translate_and_log(error) from error
        where = urlsplit(url).path.strip("/").partition("/")[0]
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Throttled(parse_retry_after(wait), scopes)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unsettled(f"{where}: {status}")
        if status != HTTPStatus.OK:
            raise Refused(f"{where}: {status}")

    async def _auth_test(self) -> Response:
        return await self.read("auth.test")


def _translate_and_log(error: Exception, scopes: tuple[str, ...] = ()) -> PlatformError:
    failure = translate_error(error, scopes)
    if type(error).__module__ == "builtins" and not isinstance(error, OSError):
        log.warning("cannot read Slack's response", error=repr(error)[:300])
    return failure
