"""Limits on connections to the HTTP port: their number, and how long each may stay silent.

Invariant: strangers' connections always leave descriptors for the platforms, the model and the
database. A new connection is always accepted: the one that has been silent longest makes room for
it. uvicorn itself does not limit the time for request heads and bodies.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from adapters.web.limits import UploadLimits, takes_files

RESERVED_DESCRIPTORS = 128
"""Descriptors for platform sockets, the database, workers and files, in addition to one per model
request."""

MOST_CONNECTIONS = 4_096
"""More than a team's open pages and programs need; about 100 MB if all are in use."""


UPLOAD_STEP = 1_048_576
"""Bytes of a large body that must arrive within `body_seconds`: 35 KB a second on a slow line."""

MOST_BACKLOG = 2_048
"""The accept backlog, uvicorn's default."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of connections, times in seconds."""

    connections: int = MOST_CONNECTIONS
    # a loopback address may open as many as there are in total
    per_address: int = MOST_CONNECTIONS // 4
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    write_seconds: float = 60.0  # for a client that reads nothing
    request_bytes: int = 4 * 1_048_576  # one request, including its head and chunk markers
    upload_bytes: int = 4 * 1_048_576  # the same for a request that may have files

    @property
    def backlog(self) -> int:
        """The number of connections accepted in one batch, before any of them is counted."""
        return max(8, min(MOST_BACKLOG, self.connections // 4))

    @classmethod
    def within(
        cls, descriptors: int, *, models: int, uploads: UploadLimits | None = None
    ) -> ConnectionLimits:
        """Limits for a process with `descriptors` and up to `models` concurrent model requests.

        `uploads` are the limits of a message's files.
        """
        spare = max(descriptors - RESERVED_DESCRIPTORS - models, descriptors // 3, 8)
        most = min(MOST_CONNECTIONS, spare)
        files = uploads.total_bytes if uploads is not None else 0
        return cls(
            connections=most,
            per_address=max(most // 4, 8),
            upload_bytes=cls().request_bytes + files + files // 16,  # chunk markers and form heads
        )


class ConnectionGate:
    """The open connections. Idle ones may be closed to make room for others."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: Counter[str] = Counter()
        self._waiting: dict[Connection, None] = {}  # longest waiting first

    def admit(self, connection: Connection, address: str) -> bool:
        """Count the connection if there is room, or if room can be made."""
        mine = self._open[address] >= self.limits.per_address and not _is_loopback(address)
        full = self._open.total() >= self.limits.connections
        if (mine or full) and not self._make_room(address if mine else None):
            return False
        self._open[address] += 1
        return True

    def left(self, connection: Connection, address: str) -> None:
        """Remove a closed connection."""
        self._waiting.pop(connection, None)
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]

    def waits(self, connection: Connection) -> None:
        """Mark the connection as waiting for a request."""
        self._waiting[connection] = None

    def works(self, connection: Connection) -> None:
        """Mark the connection as busy: its request is complete and being answered."""
        self._waiting.pop(connection, None)

    def _make_room(self, address: str | None) -> bool:
        for waiting in self._waiting:
            if address is None or waiting.address == address:
                waiting.evict()
                return True
        return False


class Connection(H11Protocol):
    """uvicorn's connection with the gate's limits. Pass `gate` through `functools.partial`."""

    def __init__(self, *arguments: Any, gate: ConnectionGate, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._gate = gate
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._stage: Any = None
        self._bytes = self._step = 0
        self._admitted = False
        self.address = ""

    # ── what the transport calls ──────────────────────────────────────────────────────────────
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection or close it."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._admitted = self._gate.admit(self, self.address)
        if self._admitted:
            self._look()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection's timers and its slot."""
        super().connection_lost(exc)
        for timer in (self._timer, self._writing):
            if timer is not None:
                timer.cancel()
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Receive part of a request, up to its size limit."""
        self._bytes += len(data)
        limits = self._gate.limits
        if self._bytes > limits.request_bytes:
            if self._bytes > limits.upload_bytes or not self._takes_files():
                self.drop()
                return
            self._extend_body()
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Restart the time limit for the next request, or for the rest of this one."""
        super().on_response_complete()
        self._bytes = self._step = 0
        self._look()

    def pause_writing(self) -> None:
        """Start the time limit for a client that does not read."""
        super().pause_writing()
        self._writing = self.loop.call_later(self._gate.limits.write_seconds, self.drop)

    def resume_writing(self) -> None:
        """Stop the time limit that `pause_writing` started."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    # ── what we add ───────────────────────────────────────────────────────────────────────────
    def drop(self) -> None:
        """Close the connection without an answer, dropping unsent data."""
        self.transport.abort()

    def evict(self) -> None:
        """Close the connection so that another one takes its slot."""
        self._leave()
        self.drop()

    def _takes_files(self) -> bool:
        """Whether the current request may contain files; its head arrived with the first bytes."""
        scope: Mapping[str, Any] | None = self.scope
        return scope is not None and takes_files(scope["path"])

    def _extend_body(self) -> None:
        """Give a long body more time whenever another UPLOAD_STEP has arrived."""
        step = self._bytes // UPLOAD_STEP
        if step == self._step or self._stage is not h11.SEND_BODY or self._timer is None:
            return
        self._step = step
        self._timer.cancel()
        self._timer = self.loop.call_later(self._gate.limits.body_seconds, self._body_is_late)

    def _leave(self) -> None:
        if self._admitted:
            self._admitted = False
            self._gate.left(self, self.address)

    def _body_is_late(self) -> None:
        """Answer 408 if no response has started."""
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
        """Limit the time for a closing connection to flush its last bytes."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(self._gate.limits.write_seconds, self.drop)

    def _look(self) -> None:
        """Restart the time limit when the connection's stage changes."""
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
    """Whether the address belongs to this machine: a local proxy represents many clients."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
