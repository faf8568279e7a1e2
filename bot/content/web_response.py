"""Sends one GET request over a connection to a checked address: HTTP/1.1 by h11, nothing else.

There are no proxies, cookies, credentials, caches or redirects here, because nothing adds them.
Invariant: a server can make this code read and hold only a bounded number of bytes, for a bounded
time.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

import aiohappyeyeballs
import h11

from bot.content.web_addresses import IPAddress, Target
from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError

USER_AGENT = "Threadline (reads a page that a person linked to)"

ACCEPT = "text/html,application/xhtml+xml,application/pdf,text/*;q=0.9,*/*;q=0.8"

READ_BYTES = 16 * 1024
"""Bytes to read in one step; packed zeros of this size unpack to 5 MB in about 10 ms."""

MAX_HEADER_BYTES = 32 * 1024
"""The limit for all headers. Browsers accept more; pages with long policies have about 10 KiB."""

MAX_PIECES = 20_000
"""Chunks of a body, each of which costs about 10 µs: 5 MB in chunks of 250 bytes just fit."""

PIECES_IN_ONE_STEP = 500
"""Chunks after which other tasks may run: one read may contain 2,700 chunks of one byte."""

MAX_INTERIM_RESPONSES = 10
"""Responses before the real one; servers send one or two (103 Early Hints)."""

MAX_ADDRESSES = 6
"""Addresses of a host to try."""

NEXT_ADDRESS_SECONDS = 0.25
"""Seconds until the next address is tried in parallel with the first (RFC 8305)."""


class WebResponse:
    """A response whose headers have arrived. Header names are in lower case."""

    def __init__(self, reader: asyncio.StreamReader, *, max_bytes: int) -> None:
        self._reader = reader
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._bytes_left = max_bytes
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def request(self, target: Target) -> bytes:
        """Build the bytes of the request."""
        headers = [
            ("Host", target.url.host_port_subcomponent or target.host),
            ("User-Agent", USER_AGENT),
            ("Accept", ACCEPT),
            ("Accept-Encoding", "gzip"),
            ("Connection", "close"),
        ]
        request = h11.Request(method="GET", target=target.url.raw_path_qs, headers=headers)
        sent = self._http.send(request), self._http.send(h11.EndOfMessage())
        return b"".join(filter(None, sent))

    async def read_headers(self) -> None:
        """Wait for the headers. Raises AttachmentError, OSError or h11.RemoteProtocolError."""
        event = await self._next_event()
        for _ in range(MAX_INTERIM_RESPONSES):
            if not isinstance(event, h11.InformationalResponse):
                break
            event = await self._next_event()
        if not isinstance(event, h11.Response):
            raise AttachmentError(Omission.UNREACHABLE, "no response")
        self.status = event.status_code
        names = (name.decode("ascii") for name, _ in event.headers)
        self.headers = dict(
            zip(names, (v.decode("latin-1") for _, v in event.headers), strict=True)
        )

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises what `read_headers` raises."""
        for number in range(MAX_PIECES):
            event = await self._next_event()
            if not isinstance(event, h11.Data):
                return
            if number % PIECES_IN_ONE_STEP == PIECES_IN_ONE_STEP - 1:
                await asyncio.sleep(0)
            yield bytes(event.data)
        raise AttachmentError(Omission.TOO_COSTLY, "too many chunks")

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            await self._receive()

    async def _receive(self) -> None:
        data = await self._reader.read(READ_BYTES)
        if not data and not self._ends_by_closing:
            raise ConnectionResetError("the server closed the connection early")
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise AttachmentError(Omission.TOO_LARGE, "the response does not end")
        self._http.receive_data(data)
        await asyncio.sleep(0)  # `read` does not yield to other tasks while its buffer is full

    @property
    def _ends_by_closing(self) -> bool:
        """Whether the body has neither a length nor chunks, so that only closing ends it."""
        sized = {"content-length", "transfer-encoding"} & self.headers.keys()
        return self.status > 0 and not sized


@asynccontextmanager
async def get(
    target: Target, addresses: Sequence[IPAddress], tls: ssl.SSLContext | None, *, max_bytes: int
) -> AsyncIterator[WebResponse]:
    """Request `target` from the first of `addresses` that answers.

    `max_bytes` limits all received bytes. Raises AttachmentError, OSError (ssl.SSLError for an
    invalid certificate) or h11.RemoteProtocolError.
    """
    connected = await _connect(target, addresses)
    reader, writer = await asyncio.open_connection(
        sock=connected,
        ssl=tls,
        server_hostname=target.host if tls else None,
        limit=READ_BYTES,
    )
    try:
        response = WebResponse(reader, max_bytes=max_bytes)
        writer.write(response.request(target))
        await response.read_headers()
        yield response
    finally:
        # Not `close`, which waits for the other side to close the connection.
        writer.transport.abort()


async def _connect(target: Target, addresses: Sequence[IPAddress]) -> socket.socket:
    infos = [_address_info(address, target.port) for address in addresses[:MAX_ADDRESSES]]
    connected = await aiohappyeyeballs.start_connection(
        infos, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1
    )
    here, there = connected.getsockname()[0], connected.getpeername()[0]
    if is_own_address(here, there):
        connected.close()
        raise AttachmentError(Omission.FORBIDDEN_ADDRESS, "the bot's own machine is not read")
    return connected


def is_own_address(here: str, there: str) -> bool:
    """Whether a connection from `here` to `there` stays on this machine.

    `is_public` accepts the machine's own public address, but a connection from the machine itself
    bypasses the firewall. Loopback addresses were already checked.
    """
    return here == there and not ip_address(there).is_loopback


def _address_info(
    address: IPAddress, port: int
) -> tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port)
