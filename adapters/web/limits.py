"""Limits on the size of a request and its files, and on the open streams per user."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.domain import http_texts

BODY_BYTES = 1_048_576
"""The most bytes of a request body: enough for a long conversation, and more text than a model's
context holds."""

MESSAGE_CHARACTERS = 64_000
"""The most characters in one message: about the default context (16,000 tokens of four
characters)."""

NAME_CHARACTERS = 80
"""The most characters in a conversation's name, which is one line in a list."""

MODEL_CHARACTERS = 300
"""The most characters in a model's name: the longest names identify a file in a repository."""

RETRY_SECONDS = 5
"""Seconds to wait after 429: about the time that one answer takes."""

LENT_BYTES = 64 * BODY_BYTES
"""Total bytes that bodies on other adapters' routes may hold: these routes read a body before they
know its sender.

Platforms send a few kilobytes per request.
"""

FREE_BYTES = 16_384
"""Bytes of each such body that do not count, so that ordinary events always get through."""


MOST_UPLOAD = 100_000_000
"""Total bytes of one message's files, unless the settings allow a single larger file."""

JSON_BYTES = 32_000_000
"""The most bytes of a JSON body with files: 24 MB in base64.

Decoding blocks the process for some milliseconds per megabyte; larger files use
multipart/form-data, which is read piece by piece.
"""

_TAKES_FILES = ("/conversation/completion/", "/api/chat", "/app/messages")


def takes_files(path: str) -> bool:
    """Whether a request to this path may have files."""
    return path.startswith(_TAKES_FILES)


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Limits of a message's files: their number, and the bytes of each."""

    files: int = 0
    file_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """The total bytes of one message's files."""
        return min(self.files * self.file_bytes, max(MOST_UPLOAD, self.file_bytes))

    def body_bytes(self, path: str, content_type: str) -> int:
        """The most bytes that a request's body may have."""
        if not self.total_bytes or not takes_files(path):
            return BODY_BYTES
        if content_type.lower().startswith("multipart/form-data"):
            return self.total_bytes + BODY_BYTES
        return min(self.total_bytes * 4 // 3, JSON_BYTES) + BODY_BYTES


class UnambiguousLength:
    """An ASGI app that refuses requests with two lengths, because a proxy may have trusted the
    other one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400 and close, or pass the request on."""
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            close = {"Connection": "close"}
            await JSONResponse({"error": http_texts.TWO_LENGTHS}, 400, close)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class SharedBodyBudget:
    """Limits the memory of bodies from unknown senders to `most` bytes in total."""

    def __init__(self, most: int = LENT_BYTES) -> None:
        self.left = most

    def around(self, app: ASGIApp) -> ASGIApp:
        """Wrap `app` so that its request bodies count until they are answered."""
        return _Counted(app, self)


class _Counted:
    """An ASGI app that counts request bodies.

    A class, because Starlette would take a function for a request handler.
    """

    def __init__(self, app: ASGIApp, bodies: SharedBodyBudget) -> None:
        self._app, self._bodies = app, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held, free = 0, FREE_BYTES

        async def receive_counted() -> Message:
            nonlocal held, free
            message = await receive()
            size = len(message.get("body", b""))
            free, size = max(free - size, 0), max(size - free, 0)
            if size > self._bodies.left:
                raise HTTPException(
                    503, http_texts.RECEIVING_TOO_MUCH, headers={"Retry-After": str(RETRY_SECONDS)}
                )
            held += size
            self._bodies.left -= size
            return message

        try:
            await self._app(scope, receive_counted, send)
        finally:
            self._bodies.left += held


class BodyLimit:
    """An ASGI app that answers 413 to request bodies that are too long for their path.

    Starlette's own limit answers in plain text, but programs expect our JSON.
    """

    def __init__(self, app: ASGIApp, uploads: UploadLimits | None = None) -> None:
        self._app, self._uploads = app, uploads or UploadLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a body that announces too many bytes, and stop reading one that exceeds the
        limit."""
        headers = Headers(scope=scope)
        most = self._uploads.body_bytes(scope["path"], headers.get("content-type", ""))
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            await JSONResponse({"error": http_texts.body_too_long(most)}, 413)(scope, receive, send)
            return
        left = most

        async def receive_counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, http_texts.body_too_long(most))
            return message

        await self._app(scope, receive_counted, send)


class StreamLimit:
    """Counts each user's open streams, up to `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def require_free(self, user: str) -> None:
        """Raise HTTPException 429 if the user may not open another stream."""
        if self._open[user] >= self._most:
            raise HTTPException(
                429, http_texts.TOO_MANY_STREAMS, headers={"Retry-After": str(RETRY_SECONDS)}
            )

    @contextlib.contextmanager
    def hold(self, user: str) -> Iterator[None]:
        """Hold one of the user's streams during the context. Raises HTTPException 429."""
        self.require_free(user)
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]
