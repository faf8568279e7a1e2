"""Places the images of a request in its messages, and streams the body that contains them.

Invariant: images never pass through a client library's JSON encoder. The libraries get messages
with placeholders, and the request's body is a stream that encodes each image piece by piece while
it is sent. Encoding 40 MB in one go would block the event loop for a third of a second.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpx2

from bot.domain.conversations import ImagePart, Message, Role

PIECE_BYTES = 192 * 1024
"""Bytes to encode in one step, which takes about 0.2 ms. Divisible by 3, so that only the last
piece of an image is padded."""

_DIGITS = 6  # of an image's index in its placeholder


class ImageUploads:
    """The images of one request, each represented by a placeholder that cannot be guessed."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(16)
        self._places: dict[int, int] = {}  # an image's index, by its identity
        self._images: list[ImagePart] = []

    def content(self, message: Message) -> str | list[dict[str, Any]]:
        """A message's content for chat completions: a string, or an array if it has images."""
        if not message.parts or message.role is not Role.USER:
            return message.content
        return self.blocks(message, text=_text, image=self._image_url)

    def blocks(
        self,
        message: Message,
        *,
        text: Callable[[str], dict[str, Any]],
        image: Callable[[ImagePart], dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """A message's text and images as blocks built by `text` and `image`.

        Only people's messages have images, because no API accepts them from others. A line with the
        image's label precedes the image, so that the text can refer to it.
        """
        blocks = [text(message.content)] if message.content else []
        for number, part in enumerate(message.parts if message.role is Role.USER else (), start=1):
            if part.label:
                blocks.append(text(f"[Image {number}: {part.label}]"))
            blocks.append(image(part))
        return blocks

    def data_url(self, part: ImagePart) -> str:
        """The image as a data URL, with a placeholder for its bytes."""
        return f"data:{part.media_type};base64,{self.placeholder(part)}"

    def placeholder(self, part: ImagePart) -> str:
        """The placeholder for the image's bytes in base64."""
        place = self._places.setdefault(id(part), len(self._images))
        if place == len(self._images):
            self._images.append(part)
        return f"{self._mark}{place:0{_DIGITS}}"

    def _image_url(self, part: ImagePart) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": self.data_url(part)}}

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Inside this context, `ImageClient` replaces placeholders with images."""
        token = _UPLOADS.set(self)
        try:
            yield
        finally:
            _UPLOADS.reset(token)

    def body(self, data: bytes) -> StreamedBody | None:
        """The body for JSON with placeholders; None if the JSON has none."""
        first, *rest = data.split(self._mark.encode())
        pieces = [first]
        for piece in rest:
            pieces += (self._images[int(piece[:_DIGITS])].data, piece[_DIGITS:])
        return StreamedBody(pieces) if rest else None


_UPLOADS: ContextVar[ImageUploads | None] = ContextVar("uploads", default=None)


class StreamedBody:
    """A request's body: text alternates with images, which are sent in base64."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    @property
    def length(self) -> int:
        """Bytes on the wire."""
        texts, images = self._pieces[::2], self._pieces[1::2]
        return sum(map(len, texts)) + sum((len(image) + 2) // 3 * 4 for image in images)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for k, piece in enumerate(self._pieces):
            if not k % 2:
                yield piece
                continue
            for start in range(0, len(piece), PIECE_BYTES):
                yield b64encode(piece[start : start + PIECE_BYTES])
                await asyncio.sleep(0)  # writing to a socket that keeps up never waits


class ImageClient(httpx2.AsyncClient):
    """An HTTP client that sends the images of `ImageUploads` in place of their placeholders."""

    def build_request(self, method: str, url: httpx2.URL | str, **options: Any) -> httpx2.Request:
        """Build the request as in the base class; stream the body if the request has images."""
        uploads = _UPLOADS.get()
        body = uploads.body(_json_bytes(options)) if uploads is not None else None
        if body is None:
            return super().build_request(method, url, **options)
        options |= {"content": body, "json": None}
        request = super().build_request(method, url, **options)
        # Some servers reject a chunked request.
        request.headers.pop("transfer-encoding", None)
        request.headers["content-length"] = str(body.length)
        request.headers["content-type"] = "application/json"
        return request


def _json_bytes(options: dict[str, Any]) -> bytes:
    content = options.get("content")
    if isinstance(content, bytes):
        return content
    return json.dumps(options.get("json"), ensure_ascii=False, separators=(",", ":")).encode()


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
