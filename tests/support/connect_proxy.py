"""A small HTTP proxy on loopback: CONNECT tunnels, and requests with an absolute URL.

`aliases` are host names that lead to a loopback port, as if they were far away.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.tcp import tcp_server


@dataclass
class Proxy:
    """The requests it received: each request's first line, and the credentials."""

    aliases: Mapping[str, int]
    port: int = 0
    asked: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The proxy's URL."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *headers = head.split("\r\n")
            self.asked.append(first)
            self.credentials += [h for h in headers if h.lower().startswith("proxy-authorization")]
            method, target, version = first.split(" ")
            host = urlsplit(target if "://" in target else f"//{target}").hostname or ""
            if host not in self.aliases:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
                return
            there, away = await asyncio.open_connection("127.0.0.1", self.aliases[host])
            try:
                if method == "CONNECT":
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    away.write(_forwarded(method, target, version, headers))
                await asyncio.gather(_pump(reader, away), _pump(there, writer))
            finally:
                away.close()
                await away.wait_closed()


def _forwarded(method: str, target: str, version: str, headers: Sequence[str]) -> bytes:
    """A request with an absolute URL, rewritten as its server expects it."""
    parts = urlsplit(target)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    rest = "\r\n".join(headers)
    return f"{method} {path} {version}\r\n{rest}".encode("latin-1")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def connect_proxy(aliases: Mapping[str, int]) -> AsyncIterator[Proxy]:
    """A running proxy."""
    proxy = Proxy(aliases)
    async with tcp_server(proxy.serve) as proxy.port:
        yield proxy
