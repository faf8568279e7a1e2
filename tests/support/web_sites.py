"""Small web servers on loopback addresses, whose every byte a test decides, and readers of them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from bot.content.link_reader import PublicLinkReader
from bot.content.web_addresses import IPAddress
from tests.support.clock import ManualClock

ANY_PORT = range(1, 65_536)
LIMIT = 1_000_000
ENDS = (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError)


@dataclass
class Site:
    """A running server; `heads` are the request heads that it received."""

    port: int
    heads: list[str] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str = "/", host: str = "page.test", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def reply(
    body: bytes = b"", status: str = "200 OK", *, length: bool = True, **headers: str
) -> bytes:
    """A response; write `_` for `-` in header names."""
    fields = {"content_type": "text/html", **headers}
    if length:
        fields.setdefault("content_length", str(len(body)))
    lines = [f"HTTP/1.1 {status}", *(f"{k.replace('_', '-')}: {v}" for k, v in fields.items() if v)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def redirect(to: str, status: str = "302 Found") -> bytes:
    return reply(b"", status, location=to)


def pages(answers: Mapping[str, bytes]) -> Answer:
    """Send fixed bytes for each path and close the connection."""

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.get(path, reply(b"", "404 Not Found")))
        await writer.drain()

    return answer


@asynccontextmanager
async def serve(
    answer: Answer | bytes,
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    greeting: bytes = b"",
) -> AsyncIterator[Site]:
    """A server on a free port. If given bytes, it answers every request with them.

    The greeting is sent before any request.
    """
    tasks: set[asyncio.Task[Any]] = set()
    site = Site(0)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        site.connections += 1
        # asyncio logs a handler that was cancelled as an error.
        with suppress(*ENDS, asyncio.CancelledError):
            try:
                writer.write(greeting)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                site.heads.append(head)
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(head.split(" ")[1], writer)
            finally:
                writer.close()

    server = await asyncio.start_server(connected, host, 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Names:
    """A name server: each host's answers in order, then the last one again and again."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str] | OSError]]) -> None:
        self._answers = {host: list(each) for host, each in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[IPAddress]:
        self.asked.append(host)
        answers = self._answers.get(host, [["127.0.0.1"]])
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, OSError):
            raise found
        return [ip_address(each) for each in found]


def make_reader(**options: Any) -> PublicLinkReader:
    """A reader that may connect to loopback addresses, to which every name resolves."""
    loopback = {
        "clock": ManualClock(),
        "resolve": Names({}),
        "is_allowed_address": lambda address: address.is_loopback,
        "ports": ANY_PORT,
    }
    return PublicLinkReader(**{**loopback, **options})
