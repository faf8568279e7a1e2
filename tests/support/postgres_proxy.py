"""A TCP proxy in front of PostgreSQL that can cut its connections at a chosen moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.tcp import tcp_server


class PostgresProxy:
    """Forwards everything until a test cuts the connections."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self.port = 0
        self.cut_after: bytes | None = None
        """When a client sends these bytes, they are passed on and the connection is cut before the
        answer."""
        self.cuts = 0
        self.refusing = False
        self._writers: set[asyncio.StreamWriter] = set()

    def cut_all(self) -> None:
        """Cut every connection now."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        if self.refusing:
            writer.transport.abort()
            return
        answers, requests = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers |= {writer, requests}
        back = asyncio.create_task(self._pass(answers, writer))
        try:
            await self._pass_requests(reader, requests, back)
        finally:
            back.cancel()
            for each in (writer, requests):
                self._writers.discard(each)
                each.transport.abort()
            await asyncio.wait({back})
            with suppress(OSError):
                await requests.wait_closed()

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.Task[None]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                is_cut = self.cut_after is not None and self.cut_after in data
                if is_cut:
                    self.cut_after, self.cuts = None, self.cuts + 1
                    back.cancel()
                writer.write(data)
                await writer.drain()
                if is_cut:
                    writer.close()  # the server still executes these bytes
                    await writer.wait_closed()
                    return

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
            writer.transport.abort()


@asynccontextmanager
async def running_proxy(port: int) -> AsyncIterator[PostgresProxy]:
    """A proxy of the PostgreSQL server at `port` of this machine."""
    proxy = PostgresProxy(port)
    async with tcp_server(proxy.serve) as proxy.port:
        yield proxy
        proxy.cut_all()
