"""How much one request may bring, and how many streams one person may hold open."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.domain import http_texts

BODY_BYTES = 1_048_576
"""A whole past conversation fits; more than a model's context of text does not."""

MESSAGE_CHARACTERS = 64_000
"""One message: about the default context (16,000 tokens of four characters)."""

NAME_CHARACTERS = 80
"""A conversation's name: a line in a list."""

RETRY_SECONDS = 5
"""When to ask again after 429: an answer takes about so long."""

LENT_BYTES = 64 * BODY_BYTES
"""All bodies together that routes of other adapters may hold: they read one before they know whose
it is. A platform sends some thousand bytes each time."""

FREE_BYTES = 16_384
"""Of each such body not counted: a platform's usual event is never refused for what others send."""


class OneLength:
    """An ASGI app that refuses requests with two lengths: a proxy may have believed the other."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400 and close, or let the request through."""
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            close = {"Connection": "close"}
            await JSONResponse({"error": http_texts.TWO_LENGTHS}, 400, close)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class LentBodies:
    """What the bodies of unknown senders hold together; more than `most` bytes are refused."""

    def __init__(self, most: int = LENT_BYTES) -> None:
        self.left = most

    def around(self, app: ASGIApp) -> ASGIApp:
        """The app, with its requests' bodies counted until they are answered."""
        return _Counted(app, self)


class _Counted:
    """An object, since Starlette takes a function for a handler of requests."""

    def __init__(self, app: ASGIApp, bodies: LentBodies) -> None:
        self._app, self._bodies = app, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held, free = 0, FREE_BYTES

        async def counted() -> Message:
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
            await self._app(scope, counted, send)
        finally:
            self._bodies.left += held


class BodyLimit:
    """An ASGI app whose requests bring at most BODY_BYTES; longer ones are answered with 413."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what says that it is too long, and stop reading what turns out to be."""
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > BODY_BYTES:
            await JSONResponse({"error": http_texts.body_too_long(BODY_BYTES)}, 413)(
                scope, receive, send
            )
            return
        left = BODY_BYTES

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, http_texts.body_too_long(BODY_BYTES))
            return message

        await self._app(scope, counted, send)


class Streams:
    """Counts the answers and event streams that each user waits for; at most `most` at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def require_free(self, user: str) -> None:
        """Raise 429 when this user may open no more."""
        if self._open[user] >= self._most:
            raise HTTPException(
                429, http_texts.TOO_MANY_STREAMS, headers={"Retry-After": str(RETRY_SECONDS)}
            )

    @contextlib.contextmanager
    def hold(self, user: str) -> Iterator[None]:
        """One of the user's places, for as long as the context lasts. Raises 429."""
        self.require_free(user)
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]
