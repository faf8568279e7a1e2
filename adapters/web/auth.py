"""Who asks, and from where: bearer tokens, and the guard against other sites' pages.

Invariant: nothing behind the guard runs for a request that another site's page could have made in
somebody's browser, under our own name (Origin) or under a name that was rebound to us (Host).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_USER = "local"
"""Who everybody on this machine is, as long as no tokens are set."""

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

UNKNOWN_TOKEN = "Send a token that this server knows: “Authorization: Bearer …”."  # noqa: S105
FOREIGN_HOST = "This server does not answer under that name: add it to HTTP_ALLOWED_HOSTS."
FOREIGN_ORIGIN = "Pages of other sites may not use this server."


# ── who ───────────────────────────────────────────────────────────────────────────────────────
class Access:
    """The people who may ask. `tokens` are by name; without any, everybody is LOCAL_USER."""

    def __init__(self, tokens: Mapping[str, str], admins: Iterable[str] = ()) -> None:
        self._digests = [(name, _digest(token)) for name, token in tokens.items()]
        self._admins = frozenset(admins)

    @property
    def needs_token(self) -> bool:
        """Whether nobody gets in without one."""
        return bool(self._digests)

    def user_of(self, token: str | None) -> str | None:
        """Whose token it is. Every one is compared, each in constant time."""
        if not self._digests:
            return LOCAL_USER
        given = _digest(token or "")
        found = [name for name, known in self._digests if hmac.compare_digest(known, given)]
        return found[0] if found and token else None

    def is_admin(self, user: str) -> bool:
        """Whether this user may read conversations of public channels."""
        return user in self._admins


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


_BEARER = HTTPBearer(
    auto_error=False, description="One of HTTP_TOKENS; not asked for where none are set."
)


async def signed_in(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> str:
    """The user who asks. Raises 401 for an unknown token."""
    access: Access = request.app.state.access
    user = access.user_of(credentials.credentials if credentials else None)
    if user is None:
        raise HTTPException(401, UNKNOWN_TOKEN, headers={"WWW-Authenticate": "Bearer"})
    return user


User = Annotated[str, Security(signed_in)]


# ── from where ────────────────────────────────────────────────────────────────────────────────
class Guard:
    """An ASGI app behind the checks of Host and Origin, with the security headers on answers.

    `hosts` are names and addresses that it answers under besides those of this machine's loopback;
    `any_address` also allows every IP address: a name can be rebound to us, an address cannot.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], any_address: bool) -> None:
        self._app, self._any_address = app, any_address
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or let the request through."""
        headers = Headers(scope=scope)
        refusal = self._refusal(headers.getlist("host"), headers.get("origin"))

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    out.setdefault(name, value)
                out.setdefault("Cache-Control", "no-store")
            await send(message)

        if refusal is not None:
            await JSONResponse({"error": refusal}, 403)(scope, receive, secured)
            return
        await self._app(scope, receive, secured)

    def _refusal(self, hosts: list[str], origin: str | None) -> str | None:
        if len(hosts) != 1 or not self._known(_hostname(hosts[0])):
            return FOREIGN_HOST
        if origin is not None and urlsplit(origin).netloc.lower() != hosts[0].lower():
            return FOREIGN_ORIGIN
        return None

    def _known(self, host: str | None) -> bool:
        if host is None:
            return False
        if host in self._hosts or is_loopback(host):
            return True
        return self._any_address and _address(host) is not None


def is_loopback(host: str) -> bool:
    """Whether only this machine itself can be reached, or reach us, under this name or address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True  # RFC 6761: such names never leave the machine
    address = _address(host)
    return address is not None and address.is_loopback


def is_wildcard(host: str) -> bool:
    """Whether listening there is listening on every address of the machine."""
    address = _address(host)
    return address is not None and address.is_unspecified


def _hostname(authority: str) -> str | None:
    """The name in a Host header, without the port; None when it is none."""
    try:
        parts = urlsplit(f"//{authority}")
        return None if parts.username is not None or parts.path else parts.hostname
    except ValueError:
        return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
