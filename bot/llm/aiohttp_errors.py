"""Tells failures of aiohttp apart, through the errors that client libraries wrap around them."""

from __future__ import annotations

import aiohttp

# No connection was established. The libraries' wrappers around aiohttp also report a closed
# connection as a connect timeout, so aiohttp's own errors decide.
CONNECT_ERRORS = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ConnectionRefusedError,
)
CLOSED_ERRORS = (aiohttp.ServerDisconnectedError, ConnectionResetError)


def has_cause(
    error: BaseException | None, kinds: type[Exception] | tuple[type[Exception], ...]
) -> bool:
    """Whether the error or one of its causes is of one of these kinds."""
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__
    return False
