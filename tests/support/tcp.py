"""A TCP server in a test's loop that leaves no connection open, which would cause a warning in a
later test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tcp_server(
    serve: Serve, port: int = 0, *, listener: socket.socket | None = None
) -> AsyncIterator[int]:
    """Serve each connection with `serve`, on `port` or on the socket `listener`; yields the port.

    On exit all connections are closed.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    if listener is None:
        server = await asyncio.start_server(connected, "127.0.0.1", port)
    else:
        server = await asyncio.start_server(connected, sock=listener)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
