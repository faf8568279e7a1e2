"""A streamed response that occupies one of a user's stream slots until it ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class HeldStream(StreamingResponse):
    """Sends `parts` and holds `place` until the response ends for whatever reason, even if the
    client leaves before the first part."""

    def __init__(
        self,
        parts: AsyncIterator[str] | AsyncIterator[bytes],
        place: contextlib.AbstractContextManager[object],
        *,
        headers: Mapping[str, str],
        media_type: str | None = None,
    ) -> None:
        super().__init__(parts, headers=headers, media_type=media_type)
        self._place = contextlib.ExitStack()
        self._place.enter_context(place)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the parts until they end or the client disconnects."""
        with self._place:
            await super().__call__(scope, receive, send)
