"""Connections that send nothing, too little or too much: over raw sockets, with short limits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from adapters.web import server as web_server
from adapters.web.connections import RESERVED_DESCRIPTORS, ConnectionLimits
from adapters.web.limits import BODY_BYTES, FREE_BYTES, BodyLimit, SharedBodyBudget
from adapters.web.server import HttpServer, listen
from bot.domain.health import Health
from tests.support.tcp import tcp_server

HOST = b"Host: 127.0.0.1\r\n"
HEALTHZ = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
LONG = 60.0  # never reached


class Server:
    """A running server with a site that echoes its input."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._open = contextlib.AsyncExitStack()

    async def connect(self, text: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._open.callback(writer.close)
        writer.write(text)
        return reader, writer

    async def answer(self, text: bytes) -> bytes:
        """Read up to the end of the connection, or one whole response of /healthz."""
        reader, _ = await self.connect(text)
        return await rest(reader)

    async def healthy(self) -> bool:
        reader, _ = await self.connect(HEALTHZ)
        async with asyncio.timeout(60):
            return (await reader.readline()).startswith(b"HTTP/1.1 200")

    async def close(self) -> None:
        await self._open.aclose()


async def rest(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(60):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/endless":

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 65_536
                await asyncio.sleep(0)

        await StreamingResponse(endless())(scope, receive, send)
        return
    if scope["path"] == "/stream":

        async def stream() -> AsyncIterator[bytes]:
            yield b"begun\n"
            await asyncio.Event().wait()

        await StreamingResponse(stream())(scope, receive, send)
        return
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@contextlib.asynccontextmanager
async def serving(limits: ConnectionLimits) -> AsyncIterator[Server]:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = HttpServer(
        host="127.0.0.1",
        port=0,
        health=lambda: {"core": Health(ok=True)},
        apps={"/lent": site},
        site=BodyLimit(site),
        listening=address.set_result,
        hosts=("chat.example.org",),
        limits=limits,
    )
    task = asyncio.create_task(server.run())
    running = Server(int((await address).rpartition(":")[2]))
    try:
        yield running
    finally:
        await running.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_idle_server_renews_its_date_and_looks_for_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """uvicorn's own loop looks ten times a second, whatever there is to do."""
    ticks: asyncio.Queue[float] = asyncio.Queue()
    tick = uvicorn.Server.on_tick

    async def note(server: uvicorn.Server, counter: int) -> bool:
        ticks.put_nowait(time.monotonic())
        return await tick(server, counter)

    monkeypatch.setattr(uvicorn.Server, "on_tick", note)
    monkeypatch.setattr(web_server, "TICK_SECONDS", 0.4)
    async with serving(ConnectionLimits()) as server:
        first, second = await ticks.get(), await ticks.get()
        assert second - first >= 0.39
        assert b"\r\ndate: " in (await server.answer(HEALTHZ)).lower()


async def test_a_server_that_is_stopped_waits_for_no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "TICK_SECONDS", 3_600.0)
    async with serving(ConnectionLimits()) as server:
        assert b"200 OK" in await server.answer(HEALTHZ)


async def test_a_late_request_head_closes_the_connection() -> None:
    """The first byte or the end of the head may be missing, however slowly bytes trickle in."""
    async with serving(ConnectionLimits(head_seconds=0.2, body_seconds=LONG)) as server:
        for begun in (b"", b"GET / HT", b"GET / HTTP/1.1\r\n" + HOST + b"X: "):
            reader, _ = await server.connect(begun)
            assert await rest(reader) == b""
        reader, writer = await server.connect(b"GET / HTTP/1.1\r\n")

        async def trickle() -> None:
            while not writer.is_closing():
                writer.write(b"X-A: b\r\n")
                await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        assert await rest(reader) == b""
        trickling.cancel()
        assert await server.healthy()


async def test_a_late_request_body_gets_408() -> None:
    async with serving(ConnectionLimits(head_seconds=LONG, body_seconds=0.2)) as server:
        for framing in (
            b"Content-Length: 10\r\n\r\n123",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\n1",
        ):
            head = b"POST / HTTP/1.1\r\n" + HOST + framing
            assert (await server.answer(head)).startswith(b"HTTP/1.1 408")
        assert await server.healthy()


async def test_a_response_may_take_longer_than_the_request_limits() -> None:
    """The time limits apply to requests, not to their answers."""
    async with serving(ConnectionLimits(head_seconds=0.2, body_seconds=0.2)) as server:
        stream, _ = await server.connect(b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n")
        assert b"200" in await stream.readline()
        late, _ = await server.connect()
        assert await rest(late) == b""  # more than twice the limit
        late, _ = await server.connect()
        assert await rest(late) == b""
        while (line := await stream.readline()) != b"begun\n":
            assert line
        assert not stream.at_eof()


async def test_a_client_that_reads_nothing_is_disconnected() -> None:
    async with serving(ConnectionLimits(write_seconds=0.2)) as server:
        _, writer = await server.connect(b"GET /endless HTTP/1.1\r\n" + HOST + b"\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        while not writer.transport.is_closing():
            writer.write(b"GET / HTTP/1.1\r\n")
            await asyncio.sleep(0.05)


async def test_a_new_connection_replaces_the_longest_waiting_one() -> None:
    """Silent strangers lock out no client, and connections with a request are not closed."""
    async with serving(ConnectionLimits(connections=20, head_seconds=LONG)) as server:
        stream, _ = await server.connect(b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n")
        assert b"200" in await stream.readline()
        silent = [await server.connect() for _ in range(60)]
        assert await server.healthy()
        for reader, _ in silent[:30]:
            assert await rest(reader) == b""
        assert not silent[-1][0].at_eof()
        assert not stream.at_eof()


async def test_connections_with_a_request_are_not_closed_for_others() -> None:
    async with serving(ConnectionLimits(connections=5)) as server:
        streams = []
        for _ in range(5):
            reader, _ = await server.connect(b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n")
            assert b"200" in await reader.readline()
            streams.append(reader)
        assert await server.answer(HEALTHZ) == b""
        assert not any(reader.at_eof() for reader in streams)


@pytest.mark.parametrize("descriptors", [64, 256, 1_024, 65_536])
def test_descriptors_remain_for_everything_else(descriptors: int) -> None:
    """This holds even for connections accepted in one batch, before they are counted."""
    limits = ConnectionLimits.within(descriptors, models=200)
    assert 8 <= limits.connections < descriptors
    assert limits.per_address <= limits.connections
    assert limits.connections + limits.backlog <= max(
        descriptors - RESERVED_DESCRIPTORS, descriptors * 5 // 12 + 8
    )


async def test_a_request_with_two_lengths_is_refused() -> None:
    """Content-Length with Transfer-Encoding: a proxy in front may use the other one."""
    async with serving(ConnectionLimits()) as server:
        for path in (b"/", b"/lent", b"/healthz"):
            both = b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            answer = await server.answer(b"POST " + path + b" HTTP/1.1\r\n" + HOST + both)
            assert answer.startswith(b"HTTP/1.1 400")
            assert answer.count(b"HTTP/1.1") == 1


async def test_a_too_long_body_ends_the_connection() -> None:
    """The body's length may be announced or not; the response comes first where possible."""
    async with serving(ConnectionLimits(request_bytes=3 * BODY_BYTES)) as server:
        head = b"POST / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n"
        large = head + f"Content-Length: {BODY_BYTES + 1}\r\n\r\n".encode()
        assert (await server.answer(large)).startswith(b"HTTP/1.1 413")
        reader, writer = await server.connect(head + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(400):
                writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                await writer.drain()
        assert (await rest(reader)).startswith((b"HTTP/1.1 413", b""))
        assert writer.transport.is_closing() or reader.at_eof()
        assert await server.healthy()


async def test_another_adapters_route_gets_its_requests() -> None:
    async with serving(ConnectionLimits()) as server:
        head = b"POST /lent HTTP/1.1\r\nConnection: close\r\n" + HOST
        answer = await server.answer(head + b"Content-Length: 3\r\n\r\nabc")
        assert answer.endswith(b"\r\n\r\n3")


async def test_bodies_of_unknown_senders_share_a_memory_limit() -> None:
    """A platform's route reads the body before it can check the signature."""
    bodies = SharedBodyBudget(most=100)
    size = FREE_BYTES + 60
    waiting = asyncio.Event()
    sent: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await waiting.wait()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": bytes(size), "more_body": False}

    async def send(message: object) -> None:
        sent.append(1)

    counted = bodies.around(app)
    first = asyncio.create_task(counted({"type": "http"}, receive, send))
    await asyncio.sleep(0)
    with pytest.raises(Exception, match="503"):
        await counted({"type": "http"}, receive, send)
    waiting.set()
    size = FREE_BYTES  # at least the size of a platform's event
    await counted({"type": "http"}, receive, send)
    await first
    size = FREE_BYTES + 100
    await counted({"type": "http"}, receive, send)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"127.0.0.1", 200),
        (b"10.1.2.3:8080", 200),
        (b"localhost", 200),
        (b"chat.example.org", 200),
        (b"evil.example", 403),
        (b"[::1", 403),
    ],
)
async def test_healthz_accepts_its_names_and_any_address(host: bytes, status: int) -> None:
    async with serving(ConnectionLimits()) as server:
        head = b"GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: " + host + b"\r\n\r\n"
        assert (await server.answer(head)).startswith(f"HTTP/1.1 {status}".encode())


async def test_the_first_words_do_not_wait_for_a_tcp_acknowledgement() -> None:
    """With Nagle's algorithm, they lagged 40 ms behind the headers on every stream."""
    delayed: list[int] = []

    async def handle_client(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = writer.get_extra_info("socket")
        delayed.append(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async with tcp_server(handle_client, listener=listen("127.0.0.1", 0, 1)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await rest(reader)
        writer.close()
    assert delayed == [1]
