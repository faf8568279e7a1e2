"""A response of server-sent events that occupies one of a user's stream slots.

Invariant: each event is flushed immediately, also compressed. No secret is in an event: tokens
are only in requests' headers.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

from fastapi.sse import format_sse_event
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from adapters.web.held_stream import HeldStream

WINDOW_BITS, MEMORY_LEVEL = 12, 5
"""zlib's window (4 KiB, enough for the frame that all events share) and hash table: 32 KiB of
memory for each open stream instead of 256."""

GZIP = 16
"""Added to the window bits, it selects gzip's format."""


class EventStream(HeldStream):
    """Server-sent events."""

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncIterator[bytes], place: contextlib.AbstractContextManager[object]
    ) -> None:
        # X-Accel-Buffering: otherwise nginx buffers events before it forwards them.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, place, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until they end or the client disconnects."""
        self.headers.add_vary_header("Accept-Encoding")
        if "gzip" in Headers(scope=scope).get("Accept-Encoding", ""):
            self.headers["Content-Encoding"] = "gzip"
            self.body_iterator = _compress(self.body_iterator)
        await super().__call__(scope, receive, send)


async def _compress(parts: AsyncIterable[Any]) -> AsyncIterator[bytes]:
    """The parts in gzip's format, each flushed."""
    packer = zlib.compressobj(wbits=GZIP + WINDOW_BITS, memLevel=MEMORY_LEVEL)
    async for part in parts:
        if part:
            yield packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """One server-sent event; without a name it is a `message` event."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return format_sse_event(data_str=text, event=name)
