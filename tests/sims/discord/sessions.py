"""Gateway connections, and the sessions that outlive them.

Each session numbers its events without gaps, connected or not, and keeps them for RESUME.
"""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.sims.discord import constants as c
from tests.sims.kit import SlidingLimit

JSON = dict[str, Any]
DISPATCH = 0
SENDS = (120, 60.0)  # documented: payloads per seconds that a connection may send
MAX_EVENTS = 20_000  # kept for a session's RESUME


@dataclass(slots=True)
class Session:
    """A session; `events` are (sequence, payload), oldest first."""

    id: str
    intents: int
    shard: tuple[int, int]
    identified: float = field(default_factory=time.time)
    seq: int = 0
    events: list[tuple[int, JSON]] = field(default_factory=list)
    resumes: int = 0
    connection: Connection | None = None

    def add(self, name: str, data: JSON) -> None:
        """Number and keep an event, and send it if the session is connected."""
        self.seq += 1
        payload = {"op": DISPATCH, "t": name, "s": self.seq, "d": data}
        self.events.append((self.seq, payload))
        del self.events[:-MAX_EVENTS]
        if self.connection is not None:
            self.connection.send(payload)

    def wants(self, intents: int, guild: int | None) -> bool:
        """Whether the session gets events with one of these intents (0: always sent)."""
        number, count = self.shard
        mine = ((guild or 0) >> 22) % count == number
        return mine and (intents == 0 or bool(self.intents & intents))

    @property
    def reads(self) -> bool:
        """Whether the session has the message-content intent."""
        return bool(self.intents & c.INTENTS["message_content"])


class Connection:
    """A WebSocket whose payloads arrive `delay` seconds later, in order."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        *,
        zlib_stream: bool,
        delay: float,
        changed: Callable[[JSON], JSON] = lambda payload: payload,
        abort: Callable[[], object] = lambda: None,
    ) -> None:
        self.socket, self._delay, self._changed = socket, delay, changed
        self.abort = abort  # drops the connection without a close frame
        self._zlib = zlib.compressobj() if zlib_stream else None
        self._queue: asyncio.Queue[tuple[float, JSON | int | str | bytes]] = asyncio.Queue()
        self.session: Session | None = None
        self.limit = SlidingLimit(*SENDS)
        self.last_beat = time.monotonic()
        self.closing = False  # whether the gateway, not the client, ends it

    def send(self, payload: JSON | str | bytes) -> None:
        """Queue a payload; text is sent unchanged, bytes without compression."""
        self._queue.put_nowait((time.monotonic() + self._delay, payload))

    @property
    def shard(self) -> int | None:
        """The number of its session's shard; None without a session."""
        return None if self.session is None else self.session.shard[0]

    def close(self, code: int) -> None:
        """Close with `code` after everything queued."""
        self.closing = True
        self._queue.put_nowait((time.monotonic() + self._delay, code))

    @property
    def idle(self) -> bool:
        """Whether the queue is empty."""
        return self._queue.empty()

    async def write(self) -> None:
        """Write queued payloads until the connection ends."""
        while not self.socket.closed:
            due, what = await self._queue.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if isinstance(what, int):
                await self.socket.close(code=what)
                return
            try:
                if isinstance(what, bytes):
                    await self.socket.send_bytes(what)
                else:
                    text = what if isinstance(what, str) else json.dumps(self._changed(what))
                    await self._write(text)
            except ConnectionError:
                return

    async def _write(self, text: str) -> None:
        if self._zlib is None:
            await self.socket.send_str(text)
            return
        data = self._zlib.compress(text.encode()) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        await self.socket.send_bytes(data)
