"""The TLS context that the clients of all model servers share, and failures to trust a server."""

from __future__ import annotations

import ssl
from functools import cache

import httpx2


@cache
def tls_context() -> ssl.SSLContext:
    """Return a context with httpx's defaults; building one reads all certificates, about 20 ms."""
    return httpx2.create_ssl_context()


def certificate_problem(error: BaseException | None) -> str:
    """Why a server's certificate is not trusted; "" if the error has another cause."""
    while error is not None:
        # aiohttp's error has this type, too, but not the message.
        message = getattr(error, "verify_message", None)
        if isinstance(error, ssl.SSLCertVerificationError) and message:
            return str(message)
        error = error.__cause__ or error.__context__
    return ""
