"""The TLS context that the clients of all model servers share."""

from __future__ import annotations

import ssl
from functools import cache

import httpx2


@cache
def tls_context() -> ssl.SSLContext:
    """Return a context with httpx's defaults; building one reads all certificates, about 20 ms."""
    return httpx2.create_ssl_context()
