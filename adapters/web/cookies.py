"""The cookie of a signed-in browser.

Invariant: no script can read it, no other site's page can send it, and where the browser uses TLS
no other server can have set it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response

COOKIE_SECONDS = 400 * 86_400
"""The longest lifetime that browsers allow a cookie; the server ends sessions earlier."""

_SECURED = "__Host-"  # browsers accept such a name only with Secure, Path=/ and without Domain


def cookie_of(headers: Headers, scheme: str) -> str:
    """The session cookie's value, or "".

    A cookie without the prefix could have been set by another server in the network that answers
    under our name without TLS, so it does not count where the browser uses TLS.
    """
    cookies = cookie_parser(headers.get("cookie", ""))
    name = _name(headers)
    return cookies.get(_SECURED + name) or (
        "" if _uses_tls(headers, scheme) else cookies.get(name, "")
    )


def _name(headers: Headers) -> str:
    """The cookie's name, which includes the port: browsers ignore ports in cookies, and bots may
    share a host."""
    port = _port(headers.get("host", ""))
    return f"threadline-{port}" if port else "threadline"


def _port(host: str) -> int | None:
    try:
        return urlsplit(f"//{host}").port
    except ValueError:
        return None


def _uses_tls(headers: Headers, scheme: str) -> bool:
    """Whether the browser uses TLS. A proxy usually terminates it, so a page's Origin counts
    too."""
    forwarded = headers.get("x-forwarded-proto", "").partition(",")[0]
    origin = headers.get("origin", "").partition(":")[0]
    return "https" in (scheme, forwarded.strip().lower(), origin.lower())


def set_cookie(response: Response, headers: Headers, scheme: str, secret: str) -> None:
    """Set the browser's cookie; "" removes it."""
    is_secure = _uses_tls(headers, scheme)
    name = _name(headers)
    response.set_cookie(
        _SECURED + name if is_secure else name,
        secret,
        max_age=COOKIE_SECONDS if secret else 0,
        path="/",
        secure=is_secure,
        httponly=True,
        samesite="strict",
    )
