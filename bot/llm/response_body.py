"""Reads the body of a response with status 200: an event stream, or whatever came instead.

A gateway that ignores `stream` sends one JSON answer, a failed server may send a bare JSON error,
and a wrong address returns a web page. The first byte decides, because content types are
unreliable.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Protocol

from bot.domain.model import Delta
from bot.llm.chunks import DONE, EMPTY, KEEPALIVE, MalformedChunk
from bot.llm.sse import EventDecoder, EventTooLong

# Five times the longest answers: 128 k tokens of 0.4 kB each with their framing.
MAX_STREAM_BYTES = 256 << 20
MAX_JSON_BYTES = 16 << 20
"""An answer that is not streamed has framing only once, so it is much smaller."""

_BOM = b"\xef\xbb\xbf"


class UnexpectedBody(Exception):
    """The response is neither an event stream nor JSON, but perhaps a web page.

    `body` is the beginning of the response's body.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__("not a chat completion")
        self.body = body


class ResponseParser(Protocol):
    """Parses one response of an API."""

    def parse(self, data: bytes) -> Delta:
        """The Delta in an event's data, or one of `EMPTY` and `DONE`.

        Raises MalformedChunk, or ErrorEvent if the event is an error.
        """
        ...

    def split(self, document: bytes) -> Sequence[bytes]:
        """Split a body that is not an event stream into parts for `parse`.

        Raises ErrorEvent if the body is an error.
        """
        ...


async def read_body(
    reads: AsyncIterator[bytes], parser: ResponseParser
) -> AsyncGenerator[Delta, None]:
    """The deltas of a response's body, including `DONE` and `KEEPALIVE`.

    Raises MalformedChunk, EventTooLong, ErrorEvent and UnexpectedBody, and whatever `reads` raises.
    """
    head = b""
    async for data in reads:
        head += data
        if head.removeprefix(_BOM).strip():
            break
        yield KEEPALIVE
    read = _read_document if _is_document(head) else _read_events
    deltas = read(head, reads, parser)
    async with aclosing(deltas):
        async for delta in deltas:
            yield delta


def _is_document(head: bytes) -> bool:
    """Whether a body is JSON or a web page; no line of an event stream starts that way."""
    return head.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[", b"<")


async def _read_events(
    head: bytes, reads: AsyncIterator[bytes], parser: ResponseParser
) -> AsyncGenerator[Delta, None]:
    decoder, size, data = EventDecoder(), 0, head
    while True:
        size += len(data)
        if size > MAX_STREAM_BYTES:
            raise EventTooLong(f"more than {MAX_STREAM_BYTES} bytes in one answer")
        has_delta = False
        for delta in _deltas(parser, decoder.feed(data)):
            has_delta = True
            yield delta
        if not has_delta:
            yield KEEPALIVE
        try:
            data = await anext(reads)
        except StopAsyncIteration:
            break
    try:
        for delta in _deltas(parser, decoder.flush()):
            yield delta
    except MalformedChunk:
        return  # half an event: the reader reports that the answer was cut off
    if head and not decoder.recognized:
        raise UnexpectedBody(head)


async def _read_document(
    head: bytes, reads: AsyncIterator[bytes], parser: ResponseParser
) -> AsyncGenerator[Delta, None]:
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
    for delta in _deltas(parser, parser.split(document)):
        yield delta
    yield DONE


def _deltas(parser: ResponseParser, events: Sequence[bytes]) -> Iterator[Delta]:
    return (delta for delta in map(parser.parse, events) if delta is not EMPTY)
