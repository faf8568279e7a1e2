"""A streamed response of server-sent events that keeps its place among a user's streams."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class EventStream(StreamingResponse):
    """Server-sent events. `place` is held from the first to the last byte, whatever ends it."""

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncIterator[bytes], place: contextlib.AbstractContextManager[object]
    ) -> None:
        # X-Accel-Buffering: nginx would otherwise collect events before it passes them on.
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._place = contextlib.ExitStack()
        self._place.enter_context(place)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the client goes away."""
        with self._place:
            await super().__call__(scope, receive, send)


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """One server-sent event; without a name it is a `message`."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode()
