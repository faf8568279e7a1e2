"""Socket Mode: tickets, connections, envelopes and acknowledgements.

At most ten connections are open; each envelope goes to one of them, round robin.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.sims.slack import ids
from tests.sims.slack.values import Json

ACK_SECONDS = 3.0
MAX_CONNECTIONS = 10
TICKET_SECONDS = 300.0  # not published; the SDK keeps retrying a refused ticket
CONNECTION_SECONDS = 3600  # announced in `hello`
PING_SECONDS = 15.0


@dataclass(slots=True, eq=False)
class Connection:
    """One open WebSocket."""

    number: int
    ws: web.WebSocketResponse
    transport: asyncio.Transport | None
    since: float = field(default_factory=time.time)
    closing: bool = False
    acks: int = 0


class SocketMode:
    """The WebSocket side of an app."""

    def __init__(self) -> None:
        self.rtt = 0.0
        self.enabled = True
        self.offline = False
        self.stalls = False  # a connection is accepted and never answered
        self.hello: str | None = None  # replaces Slack's first frame ("": none)
        self.turns_away = ""  # the reason for which each connection is closed after its hello
        self.connections: list[Connection] = []
        self.opened = 0
        self.unknown_acks: list[str] = []
        self._tickets: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._turn = 0
        self._closing: set[asyncio.Future[bool]] = set()

    def ticket(self) -> str:
        """A new ticket for one connection."""
        ticket = uuid.uuid4().hex
        self._tickets[ticket] = time.monotonic() + TICKET_SECONDS
        return ticket

    @property
    def open(self) -> list[Connection]:
        """The connections that receive envelopes."""
        return [link for link in self.connections if not (link.closing or link.ws.closed)]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """`GET /link/?ticket=…`: serve one connection until either side closes it."""
        if self.offline:
            raise web.HTTPServiceUnavailable
        if self.stalls:
            await asyncio.sleep(TICKET_SECONDS)
        if self._tickets.pop(request.query.get("ticket", ""), 0.0) < time.monotonic():
            raise web.HTTPForbidden(text="invalid ticket")
        ws = web.WebSocketResponse(heartbeat=PING_SECONDS)
        await ws.prepare(request)
        self.opened += 1
        link = Connection(self.opened, ws, request.transport)
        if len(self.open) >= MAX_CONNECTIONS:
            return await self._turn_away(link, "too_many_websockets")
        if self.turns_away:
            await self._hello(link)
            return await self._turn_away(link, self.turns_away)
        self.connections.append(link)
        try:
            await self._hello(link)
            async for message in ws:
                if message.type == WSMsgType.TEXT:
                    await self._receive(link, message.data)
        finally:
            self.connections.remove(link)
        return ws

    async def _turn_away(self, link: Connection, reason: str) -> web.WebSocketResponse:
        await self._disconnect_frame(link, reason)
        await link.ws.close()
        return link.ws

    async def _hello(self, link: Connection) -> None:
        if self.hello is not None:
            if self.hello:
                await link.ws.send_str(self.hello)
            return
        hello: Json = {"type": "hello", "num_connections": len(self.open)}
        hello["connection_info"] = {"app_id": ids.APP}
        hello["debug_info"] = {
            "host": f"applink-{link.number}",
            "build_number": 1,
            "approximate_connection_time": CONNECTION_SECONDS,
        }
        await link.ws.send_str(json.dumps(hello))

    async def _receive(self, link: Connection, data: str) -> None:
        """Handle an acknowledgement; anything else, and a late one, is recorded and ignored."""
        await asyncio.sleep(self.rtt / 2)
        try:
            answer = json.loads(data)
            envelope = str(answer["envelope_id"])
        except (ValueError, KeyError, TypeError):
            self.unknown_acks.append(data)
            return
        waiting = self._waiting.get(envelope)
        if waiting is None or waiting.done():
            self.unknown_acks.append(data)
            return
        link.acks += 1
        waiting.set_result(answer.get("payload"))

    async def send(self, kind: str, payload: Json, attempt: int, reason: str) -> Any:
        """Send one envelope; returns its acknowledgement's payload (see `Sockets`)."""
        if not (links := self.open):
            raise ConnectionError("no connection")
        self._turn += 1
        link = links[self._turn % len(links)]
        envelope: Json = {"envelope_id": str(uuid.uuid4()), "payload": payload, "type": kind}
        envelope["accepts_response_payload"] = kind != "events_api"
        if kind == "events_api":
            envelope |= {"retry_attempt": attempt, "retry_reason": reason}
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[envelope["envelope_id"]] = waiting
        try:
            await asyncio.sleep(self.rtt / 2)
            await link.ws.send_str(json.dumps(envelope))
            return await waiting
        finally:
            del self._waiting[envelope["envelope_id"]]

    async def inject(self, frames: list[Any]) -> int:
        """Send raw frames; returns how many of those with an envelope id were acknowledged."""
        link, loop = self.open[0], asyncio.get_running_loop()
        names = [one.get("envelope_id") for one in frames if isinstance(one, dict)]
        waiting = {name: loop.create_future() for name in names if isinstance(name, str)}
        self._waiting |= waiting
        for frame in frames:
            await link.ws.send_str(json.dumps(frame))
        if waiting:
            await asyncio.wait(waiting.values(), timeout=ACK_SECONDS)
        for name in waiting:
            del self._waiting[name]
        return sum(future.done() for future in waiting.values())

    async def disconnect(self, reason: str, grace: float, number: int | None) -> int:
        """Ask connections to reconnect, and close those still open after `grace` seconds.

        A `warning` is only an announcement. Returns the number of connections asked.
        """
        chosen = [link for link in self.open if number in (None, link.number)]
        for link in chosen:
            await self._disconnect_frame(link, reason)
            link.closing = reason != "warning"
            if link.closing:
                asyncio.get_running_loop().call_later(grace, self._close, link)
        return len(chosen)

    def _close(self, link: Connection) -> None:
        task = asyncio.ensure_future(link.ws.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _disconnect_frame(self, link: Connection, reason: str) -> None:
        frame = {"type": "disconnect", "reason": reason}
        await link.ws.send_str(json.dumps(frame | {"debug_info": {"host": "applink"}}))

    async def frame(self, data: str, *, binary: bool, cut: bool) -> int:
        """Send a frame on every connection; with `cut` only its beginning, then close."""
        links = self.open
        for link in links:
            if cut and link.transport is not None:
                link.transport.write(b"\x81\x7e\x10\x00" + data.encode())  # announces 4,096 bytes
                link.closing = True
                link.transport.close()
            elif binary:
                await link.ws.send_bytes(data.encode())
            else:
                await link.ws.send_str(data)
        return len(links)

    def drop(self) -> int:
        """Abort every connection; returns their number."""
        links = self.open
        for link in links:
            link.closing = True
            if link.transport is not None:
                link.transport.abort()
        return len(links)

    def describe(self) -> list[Json]:
        """The open connections."""
        return [
            {"number": link.number, "since": link.since, "acks": link.acks} for link in self.open
        ]
