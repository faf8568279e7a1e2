"""A gateway connection, and the session that outlives it.

Every session numbers its own events without a gap, connected or not, and keeps them for RESUME.
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
SENDS = (120, 60.0)  # a connection may send so many payloads in so many seconds
MAX_EVENTS = 20_000  # kept for a session's RESUME


@dataclass(slots=True)
class Session:
    """What outlives a connection. `events` are (sequence, payload), oldest first."""

    id: str
    intents: int
    shard: tuple[int, int]
    identified: float = field(default_factory=time.time)
    seq: int = 0
    events: list[tuple[int, JSON]] = field(default_factory=list)
    resumes: int = 0
    connection: Connection | None = None

    def add(self, name: str, data: JSON) -> None:
        """Number an event, keep it, and send it when somebody is connected."""
        self.seq += 1
        payload = {"op": DISPATCH, "t": name, "s": self.seq, "d": data}
        self.events.append((self.seq, payload))
        del self.events[:-MAX_EVENTS]
        if self.connection is not None:
            self.connection.send(payload)

    def wants(self, intents: int, guild: int | None) -> bool:
        """Whether an event of one of these intents (0: always sent) is for this session."""
        number, count = self.shard
        mine = ((guild or 0) >> 22) % count == number
        return mine and (intents == 0 or bool(self.intents & intents))

    @property
    def reads(self) -> bool:
        """Whether it has the message-content intent."""
        return bool(self.intents & c.INTENTS["message_content"])


class Connection:
    """One WebSocket: what is sent arrives `delay` seconds later, in order."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        *,
        zlib_stream: bool,
        delay: float,
        changed: Callable[[JSON], JSON] = lambda payload: payload,
    ) -> None:
        self.socket, self._delay, self._changed = socket, delay, changed
        self._zlib = zlib.compressobj() if zlib_stream else None
        self._queue: asyncio.Queue[tuple[float, JSON | int | str | bytes]] = asyncio.Queue()
        self.session: Session | None = None
        self.limit = SlidingLimit(*SENDS)
        self.last_beat = time.monotonic()
        self.closing = False  # whether the gateway, not the client, ends it

    def send(self, payload: JSON | str | bytes) -> None:
        """Put a payload on its way; a text as it is, bytes without compressing them."""
        self._queue.put_nowait((time.monotonic() + self._delay, payload))

    def close(self, code: int) -> None:
        """Close with `code`, after what is already on its way."""
        self.closing = True
        self._queue.put_nowait((time.monotonic() + self._delay, code))

    @property
    def idle(self) -> bool:
        """Whether everything has been written."""
        return self._queue.empty()

    async def write(self) -> None:
        """Write what is queued until the connection ends."""
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
