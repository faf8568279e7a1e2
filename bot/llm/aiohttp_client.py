"""Opens raw streams with client libraries over aiohttp, and distinguishes its failures."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import aiohttp
import httpx2

from bot.llm.images import ImageUploads
from bot.llm.streaming_model import raw_body

# No connection was established. The libraries' wrappers around aiohttp also report a closed
# connection as a connect timeout, so aiohttp's own errors decide.
CONNECT_ERRORS = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ConnectionRefusedError,
)
_CLOSED_ERRORS = (aiohttp.ServerDisconnectedError, ConnectionResetError)


def has_cause(
    error: BaseException | None, kinds: type[Exception] | tuple[type[Exception], ...]
) -> bool:
    """Whether the error or one of its causes has one of these types."""
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__
    return False


@asynccontextmanager
async def open_stream(
    create: Callable[[], AbstractAsyncContextManager[Any]], images: ImageUploads
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Send a request with `create`, which calls a library's streaming response; yield the body.

    Retries once if the server had closed the idle connection.
    """
    async with AsyncExitStack() as stack:
        with images.uploading():
            try:
                response = await stack.enter_async_context(create())
            except Exception as error:  # the libraries wrap aiohttp's errors: the cause decides
                if not has_cause(error, _CLOSED_ERRORS):
                    raise
                response = await stack.enter_async_context(create())
        yield await stack.enter_async_context(aclosing(_read(response.http_response)))


async def _read(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """The body, raw unless it is encoded, including what arrived before the connection broke.

    Many servers and proxies end a complete answer with a broken connection.
    """
    try:
        async with aclosing(raw_body(response)) as reads:
            async for data in reads:
                yield data
    except httpx2.ReadError:
        if rest := _received(response):
            yield rest
        raise


def _received(response: httpx2.Response) -> bytes:
    """The bytes that aiohttp has received: when a connection breaks, it raises before it returns
    them. They are in private members only; `tests/integration/test_llm_connections.py` names them.
    """
    stream: Any = getattr(response.stream, "_stream", None)
    reader = getattr(getattr(stream, "_aiohttp_response", None), "content", None)
    return b"".join(getattr(reader, "_buffer", ()))
