"""Authentication: bearer tokens, and protection against requests from other sites' pages.

Invariant: nothing behind the guard runs for a request that another site's page could have made in a
person's browser, under our name (Origin) or under a name rebound to us (Host).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.domain import http_texts

LOCAL_USER = "local"
"""The user name of everyone on this machine while no tokens are set."""

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

FORWARDED = re.compile(
    r"forwarded|via|cdn-loop|x-real-ip|true-client-ip|x-client-ip|x-cluster-client-ip"
    r"|x-(forwarded|original|envoy|azure|arr|amz|appengine|proxy).*"
    r"|(cf|fly|fastly|akamai|tailscale|ngrok|proxy)-.*"
)
"""Headers that proxies and tunnels add: the client behind one can be anywhere."""

OPEN_PATHS = ("/", "/docs", "/openapi.json")
NO_SUCH_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Not found · Threadline</title>'
    '<meta name="viewport" content="width=device-width">'
    '<link rel="icon" type="image/svg+xml" href="/static/logo.svg"><h1>There is no such page</h1>'
    '<p><a href="/">Open Threadline</a></p></html>'
)
OPEN_FOLDERS = ("/static/", "/docs/")
"""Folders without secrets, to which other sites may link."""


# ── who ───────────────────────────────────────────────────────────────────────────────────────
class Access:
    """The users. `tokens` are by name; without tokens everyone is LOCAL_USER."""

    def __init__(self, tokens: Mapping[str, str], admins: Iterable[str] = ()) -> None:
        self._digests = {name: _digest(token) for name, token in tokens.items()}
        self._admins = frozenset(admins)

    @property
    def needs_token(self) -> bool:
        """Whether every request needs a token."""
        return bool(self._digests)

    def user_of(self, token: str | None) -> str | None:
        """A value that only the user's token can derive from a secret; None for an unknown user."""
        if not self._digests:
            return LOCAL_USER
        given = _digest(token or "")
        known = self._digests.items()
        found = [name for name, digest in known if hmac.compare_digest(digest, given)]
        return found[0] if found and token else None

    def proof(self, user: str, secret: str) -> str | None:
        """What only the user's token makes of a secret; None for an unknown user."""
        digest = self._digests.get(user)
        if digest is None:
            return None
        return hmac.new(digest, secret.encode(), hashlib.sha256).hexdigest()

    def is_admin(self, user: str) -> bool:
        """Whether this user may read conversations of public channels."""
        return user in self._admins


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


_BEARER = HTTPBearer(
    auto_error=False, description="One of HTTP_TOKENS; not asked for where none are set."
)


async def require_user(
    request: Request,
    _described: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> str:
    """The authenticated user of a request."""
    user: str = request.state.user
    return user


User = Annotated[str, Security(require_user)]


StillAllowed = Callable[[], Awaitable[bool]]
"""Checks whether a request's user still has the access that the request was granted; for long
streams."""


async def require_still_allowed(request: Request) -> StillAllowed:
    """See `StillAllowed`."""
    still_allowed: StillAllowed = request.state.still_allowed
    return still_allowed


def is_open(path: str) -> bool:
    """Whether the path is a file that needs no token."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


# ── from where ────────────────────────────────────────────────────────────────────────────────
class OriginCheck:
    """An ASGI app that checks Host and Origin and adds security headers to responses.

    `hosts` are accepted names and addresses in addition to the loopback ones; a proxy may serve
    them on another port or scheme than Host says. `any_address` also accepts every IP address:
    a name can be rebound to us, an address cannot. `local` refuses requests through a proxy,
    because no token identifies their sender.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Iterable[str], any_address: bool, local: bool = False
    ) -> None:
        self._app, self._any_address, self._local = app, any_address, local
        self._hosts = frozenset(host.lower() for host in hosts)
        self._proxied = frozenset(host for host in self._hosts if not is_loopback(host))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or pass the request on."""
        refusal = self._refusal(Headers(scope=scope), scope["path"])

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    out.setdefault(name, value)
                out.setdefault("Cache-Control", "no-store")
            await send(message)

        if refusal is not None:
            await JSONResponse({"error": refusal}, 403)(scope, receive, send_secured)
            return
        await self._app(scope, receive, send_secured)

    def _refusal(self, headers: Headers, path: str) -> str | None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._known(hostname(hosts[0])):
            return http_texts.FOREIGN_HOST
        if not all(self._is_ours(origin, hosts[0]) for origin in origins):
            return http_texts.FOREIGN_ORIGIN
        if not _is_our_page(headers, path):
            return http_texts.FOREIGN_ORIGIN
        if self._local and any(map(FORWARDED.fullmatch, headers.keys())):
            return http_texts.THROUGH_PROXY
        return None

    def _is_ours(self, origin: str, host: str) -> bool:
        """Whether the origin is the requested host or a proxy's name for it."""
        scheme, _, netloc = origin.lower().partition("://")
        if scheme not in ("http", "https"):
            return False
        return netloc == host.lower() or hostname(netloc) in self._proxied

    def _known(self, host: str | None) -> bool:
        if host is None:
            return False
        if host in self._hosts or is_loopback(host):
            return True
        return self._any_address and _address(host) is not None


async def refuse_all(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI app that replaces the site if the port serves only a platform's events."""
    await JSONResponse({"error": http_texts.API_CLOSED}, 403)(scope, receive, send)


def _is_our_page(headers: Headers, path: str) -> bool:
    """Whether the browser confirms that no other site's page made this request.

    Links may lead to the page: they are navigations, and the page itself requests what it
    loads.
    """
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return True
    return headers.get("sec-fetch-mode") == "navigate" and is_open(path)


def is_loopback(host: str) -> bool:
    """Whether this name or address reaches only this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True  # RFC 6761: such names never leave the machine
    address = _address(host)
    return address is not None and address.is_loopback


def is_wildcard(host: str) -> bool:
    """Whether listening on this host listens on every address of the machine."""
    address = _address(host)
    return address is not None and address.is_unspecified


def hostname(authority: str) -> str | None:
    """The host name in a Host header without its port, or None if it is invalid."""
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port  # raises ValueError if invalid
    except ValueError:
        return None
    only = parts.netloc == authority and parts.username is None
    return parts.hostname if only else None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
