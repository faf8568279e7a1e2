"""Finds a request's user by a token, or by the cookie of a signed-in browser.

Invariant: no byte of a body is read before that. Only our page may request a change with a cookie.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.web.auth import NO_SUCH_PAGE, Access, StillAllowed, hostname, is_open
from adapters.web.cookies import cookie_of
from adapters.web.limits import RETRY_SECONDS
from adapters.web.wrong_tokens import WrongTokenThrottle
from bot.domain import http_texts, texts
from bot.domain.errors import StoreUnavailable


class CookieReader(Protocol):
    """Finds the user whom a cookie signs in; see `adapters.web.sessions`."""

    async def user_of(self, secret: str) -> str | None:
        """The user, or None. Raises StoreUnavailable if that cannot be known."""
        ...


class _Refused(Exception):
    """No user: `response` says why."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class TokenCheck:
    """An ASGI app that checks the token or the cookie before it reads any byte of the body.

    Logs wrong ones, without their value, and slows down repeated attempts. A token counts more
    than a cookie. A request with a cookie must come from our own page if it may change something.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        throttle: WrongTokenThrottle,
        sessions: CookieReader | None = None,
    ) -> None:
        self._app, self._access, self._throttle = app, access, throttle
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, 403, 429 or 503, or pass the request on with its user in `state`."""
        if not is_open(scope["path"]):
            try:
                user, still_allowed = await self._identify(scope)
            except _Refused as refused:
                await refused.response(scope, receive, send)
                return
            scope.setdefault("state", {}).update(user=user, still_allowed=still_allowed)
        await self._app(scope, receive, send)

    async def _identify(self, scope: Scope) -> tuple[str, StillAllowed]:
        headers = Headers(scope=scope)
        token = _bearer(headers.get("authorization", ""))
        secret = "" if token else cookie_of(headers, scope["scheme"])
        user = self._access.user_of(token)
        if user is None and secret and self._sessions is not None:
            user = await self._user_of_cookie(self._sessions, secret)
            if user is not None:
                _require_our_page(scope["method"], headers)
                _require_same_user(user, headers)
                return user, partial(self._is_still, user, secret)
        if user is None:
            raise _Refused(await self._refusal(scope, headers, is_guess=bool(token or secret)))
        return user, _always

    async def _user_of_cookie(self, sessions: CookieReader, secret: str) -> str | None:
        try:
            return await sessions.user_of(secret)
        except StoreUnavailable:
            wait = {"Retry-After": str(RETRY_SECONDS)}
            raise _Refused(JSONResponse({"error": texts.STORE_DOWN}, 503, wait)) from None

    async def _is_still(self, user: str, secret: str) -> bool:
        try:
            return self._sessions is not None and await self._sessions.user_of(secret) == user
        except StoreUnavailable:
            return True  # the next check knows more

    async def _refusal(self, scope: Scope, headers: Headers, *, is_guess: bool) -> Response:
        if is_guess and not await self._throttle.wrong((scope.get("client") or ("", 0))[0]):
            wait = {"Retry-After": str(RETRY_SECONDS)}
            return JSONResponse({"error": http_texts.TOO_MANY_WRONG_TOKENS}, 429, headers=wait)
        is_typed = not headers.get("authorization") and headers.get("sec-fetch-mode") == "navigate"
        if is_typed:
            return HTMLResponse(NO_SUCH_PAGE, 404)  # a person typed the address into a browser
        return _unknown(http_texts.UNKNOWN_TOKEN)


async def _always() -> bool:
    return True


def _unknown(sentence: str) -> Response:
    return JSONResponse({"error": sentence}, 401, headers={"WWW-Authenticate": "Bearer"})


def _require_our_page(method: str, headers: Headers) -> None:
    """Require proof that our page sent the request: browsers attach cookies automatically.

    `OriginCheck` has already refused foreign requests. This also refuses requests without any
    evidence, and those from another server's page on another port of our host, which gets the
    cookie as well.
    """
    if method in ("GET", "HEAD"):
        return
    origin, host = headers.get("origin"), headers.get("host", "").lower()
    site = headers.get("sec-fetch-site")
    netloc = (origin or "").lower().partition("://")[2]
    another_port = netloc != host and hostname(netloc) == hostname(host)
    if site != "same-origin" and (origin is None or another_port):
        raise _Refused(JSONResponse({"error": http_texts.FOREIGN_ORIGIN}, 403))


def _require_same_user(user: str, headers: Headers) -> None:
    """Check the user that the tab names: another tab may have signed in as another person."""
    expected = headers.get("threadline-user")
    if expected is not None and unquote(expected) != user:
        raise _Refused(_unknown(http_texts.ANOTHER_USER))


def _bearer(authorization: str) -> str:
    """The token in the header, or ""."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
