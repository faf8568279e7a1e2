"""Reads the body of a response with status 200: an event stream, or whatever came in its place.

A gateway that ignores `stream` sends one JSON answer, a server that failed may send a bare JSON
error, and a wrong address returns a web page. The first byte decides, because content types are
unreliable.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing

from bot.domain.model import Delta
from bot.llm.chunks import DONE, EMPTY, KEEPALIVE, ErrorEvent, MalformedChunk, parse_chunk
from bot.llm.sse import EventDecoder, EventTooLong

# Five times the longest answers: 128 k tokens of 0.4 kB each with their framing.
MAX_STREAM_BYTES = 256 << 20
MAX_JSON_BYTES = 16 << 20
"""An answer that is not streamed has its framing once."""

_BOM = b"\xef\xbb\xbf"


class UnexpectedBody(Exception):
    """The body is neither an event stream nor JSON, such as a web page; `body` is its beginning."""

    def __init__(self, body: bytes) -> None:
        super().__init__("not a chat completion")
        self.body = body


async def read_body(reads: AsyncIterator[bytes]) -> AsyncGenerator[Delta, None]:
    """The deltas of a response's body, including `DONE` and `KEEPALIVE`.

    Raises MalformedChunk, EventTooLong, ErrorEvent and UnexpectedBody, and whatever `reads` raises.
    """
    head = b""
    async for data in reads:
        head += data
        if head.removeprefix(_BOM).strip():
            break
        yield KEEPALIVE
    deltas = _read_document(head, reads) if _is_document(head) else _read_events(head, reads)
    async with aclosing(deltas):
        async for delta in deltas:
            yield delta


def _is_document(head: bytes) -> bool:
    """Whether a body is JSON or a web page; no line of an event stream begins like those."""
    return head.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[", b"<")


async def _read_events(head: bytes, reads: AsyncIterator[bytes]) -> AsyncGenerator[Delta, None]:
    decoder, size, data = EventDecoder(), 0, head
    while True:
        size += len(data)
        if size > MAX_STREAM_BYTES:
            raise EventTooLong(f"more than {MAX_STREAM_BYTES} bytes in one answer")
        has_delta = False
        for delta in _deltas(decoder.feed(data)):
            has_delta = True
            yield delta
        if not has_delta:
            yield KEEPALIVE
        try:
            data = await anext(reads)
        except StopAsyncIteration:
            break
    try:
        for delta in _deltas(decoder.flush()):
            yield delta
    except MalformedChunk:
        return  # half an event: the reader reports that the answer was cut off
    if head and not decoder.recognized:
        raise UnexpectedBody(head)


async def _read_document(head: bytes, reads: AsyncIterator[bytes]) -> AsyncGenerator[Delta, None]:
    body = bytearray(head)
    yield KEEPALIVE
    async for data in reads:
        body += data
        if len(body) > MAX_JSON_BYTES:
            raise EventTooLong(f"more than {MAX_JSON_BYTES} bytes in one answer")
        yield KEEPALIVE
    document = bytes(body).removeprefix(_BOM).strip()
    if document.startswith(b"<"):
        raise UnexpectedBody(document)
    for delta in _deltas(_split_chunks(document)):
        yield delta
    yield DONE


def _deltas(chunks: Iterable[bytes]) -> Iterator[Delta]:
    return (delta for delta in map(parse_chunk, chunks) if delta is not EMPTY)


def _split_chunks(document: bytes) -> list[bytes]:
    """One JSON value, or one per line: some bridges omit the `data:` prefix."""
    try:
        value = json.loads(document)
    except (ValueError, RecursionError):
        return [line for line in document.splitlines() if line.strip()]
    if isinstance(value, dict) and not value.keys() & {"choices", "error"}:
        raise ErrorEvent(value)
    return [document]
