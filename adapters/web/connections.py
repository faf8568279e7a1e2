"""Connections to the HTTP port: how many there may be, and how long one may keep us waiting.

Invariant: whatever strangers do with their connections, descriptors remain for the platforms, the
model and the database, and a new connection is answered: the one that has kept us waiting longest
makes room for it. uvicorn has no time limit for a request's head or body of its own.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

RESERVED_DESCRIPTORS = 128
"""For the platforms' sockets, the database, workers and files, beside one for each request to a
model."""

MOST_CONNECTIONS = 4_096
"""More than a team's open pages and programs; about 100 MB when all of them are in use."""


MOST_BACKLOG = 2_048
"""Connections that wait to be accepted: uvicorn's own default."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may cost. Times are in seconds."""

    connections: int = MOST_CONNECTIONS
    per_address: int = MOST_CONNECTIONS // 4  # of a loopback address, as many as there are at all
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    write_seconds: float = 60.0  # a client that takes nothing of what we send
    request_bytes: int = 4 * 1_048_576  # of one request, heads and chunk marks included

    @property
    def backlog(self) -> int:
        """How many connections are accepted in one go, before any of them is counted."""
        return max(8, min(MOST_BACKLOG, self.connections // 4))

    @classmethod
    def within(cls, descriptors: int, *, models: int) -> ConnectionLimits:
        """Limits for a process with `descriptors` and up to `models` concurrent model requests."""
        spare = max(descriptors - RESERVED_DESCRIPTORS - models, descriptors // 3, 8)
        most = min(MOST_CONNECTIONS, spare)
        return cls(connections=most, per_address=max(most // 4, 8))


class Gate:
    """The connections that are open. Those that wait for a request can be closed for others."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: Counter[str] = Counter()
        self._waiting: dict[Connection, None] = {}  # the one that has waited longest is first

    def admit(self, connection: Connection, address: str) -> bool:
        """Count it in, where there is room for it or can be made."""
        mine = self._open[address] >= self.limits.per_address and not _is_loopback(address)
        full = self._open.total() >= self.limits.connections
        if (mine or full) and not self._make_room(address if mine else None):
            return False
        self._open[address] += 1
        return True

    def left(self, connection: Connection, address: str) -> None:
        """It is closed."""
        self._waiting.pop(connection, None)
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]

    def waits(self, connection: Connection) -> None:
        """It has no request under way."""
        self._waiting[connection] = None

    def works(self, connection: Connection) -> None:
        """Its request is whole and is being answered."""
        self._waiting.pop(connection, None)

    def _make_room(self, address: str | None) -> bool:
        for waiting in self._waiting:
            if address is None or waiting.address == address:
                waiting.evict()
                return True
        return False


class Connection(H11Protocol):
    """uvicorn's connection with the gate's limits. Pass `gate` by `functools.partial`."""

    def __init__(self, *arguments: Any, gate: Gate, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._gate = gate
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._stage: Any = None
        self._bytes = 0
        self._admitted = False
        self.address = ""

    # ── what the transport calls ──────────────────────────────────────────────────────────────
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, or close it at once."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._admitted = self._gate.admit(self, self.address)
        if self._admitted:
            self._look()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        super().connection_lost(exc)
        for timer in (self._timer, self._writing):
            if timer is not None:
                timer.cancel()
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Take in part of a request, as long as it is not too much of one."""
        self._bytes += len(data)
        if self._bytes > self._gate.limits.request_bytes:
            self.drop()
            return
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """The next request, or the rest of this one, has its time from now on."""
        super().on_response_complete()
        self._bytes = 0
        self._look()

    def pause_writing(self) -> None:
        """The client does not take what we send; it has some time to begin again."""
        super().pause_writing()
        self._writing = self.loop.call_later(self._gate.limits.write_seconds, self.drop)

    def resume_writing(self) -> None:
        """It takes it again."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    # ── what we add ───────────────────────────────────────────────────────────────────────────
    def drop(self) -> None:
        """Close it without an answer, and without waiting for what is not yet sent."""
        self.transport.abort()

    def evict(self) -> None:
        """Close it for another one, which takes its place at once."""
        self._leave()
        self.drop()

    def _leave(self) -> None:
        if self._admitted:
            self._admitted = False
            self._gate.left(self, self.address)

    def _body_is_late(self) -> None:
        """Say so where no answer has begun."""
        if self.conn.our_state is h11.SEND_RESPONSE and not self.transport.is_closing():
            self.cycle.disconnected = True
            head = h11.Response(
                status_code=408, headers=[("Connection", "close"), ("Content-Length", "0")]
            )
            self.transport.write(self.conn.send(head) or b"")
            self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
            self.transport.close()
        else:
            self.drop()

    def _linger(self) -> None:
        """Limit the time in which the last bytes must have gone to a client that takes none."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(self._gate.limits.write_seconds, self.drop)

    def _look(self) -> None:
        """Limit the time of what the connection waits for now, from that on."""
        if self.transport.is_closing():
            self._linger()
            return
        stage = self.conn.their_state
        if stage is self._stage:
            return
        self._stage = stage
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        limits = self._gate.limits
        if stage is h11.IDLE:
            self._gate.waits(self)
            self._timer = self.loop.call_later(limits.head_seconds, self.drop)
        elif stage is h11.SEND_BODY:
            self._gate.waits(self)
            self._timer = self.loop.call_later(limits.body_seconds, self._body_is_late)
        else:
            self._gate.works(self)


def _is_loopback(address: str) -> bool:
    """Whether it is this machine's own: a proxy here speaks for everybody."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
