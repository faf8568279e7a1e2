"""A response of server-sent events that occupies one of a user's stream slots."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class EventStream(StreamingResponse):
    """Server-sent events. Holds `place` until the response ends, for whatever reason."""

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncIterator[bytes], place: contextlib.AbstractContextManager[object]
    ) -> None:
        # X-Accel-Buffering: otherwise nginx buffers events before it forwards them.
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._place = contextlib.ExitStack()
        self._place.enter_context(place)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until they end or the client disconnects."""
        with self._place:
            await super().__call__(scope, receive, send)


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """One server-sent event; without a name it is a `message` event."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return format_sse_event(data_str=text, event=name)
