"""From the bytes of a response with status 200 to deltas: an event stream, or what came instead.

A gateway that ignores `stream` sends one whole JSON answer, a server that failed may send a bare
JSON error, and a wrong address shows a web page. The first byte tells, as content types are not
reliable.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from bot.domain.model import Delta
from bot.llm.chunks import ALIVE, DONE, NOTHING, ErrorEvent, Malformed, read_chunk
from bot.llm.sse import EventDecoder, EventTooLong

# The longest answers that exist (128 k tokens, 0.4 kB each with its frame) are a fifth of it.
MAX_ANSWER_BYTES = 256 << 20
MAX_WHOLE_BYTES = 16 << 20
"""A whole answer has its frame once."""

_BOM = b"\xef\xbb\xbf"


class NotAnAnswer(Exception):
    """The body is neither an event stream nor JSON: a web page, or a text. `body` is its
    beginning."""

    def __init__(self, body: bytes) -> None:
        super().__init__("no answer of a model")
        self.body = body


async def read_body(reads: AsyncIterator[bytes]) -> AsyncGenerator[Delta, None]:
    """The deltas of a response's body, `DONE` and `ALIVE` included.

    Raises Malformed, EventTooLong, ErrorEvent and NotAnAnswer, and whatever `reads` raises.
    """
    head = b""
    async for data in reads:
        head += data
        if head.removeprefix(_BOM).strip():
            break
        yield ALIVE
    deltas = _whole(head, reads) if _is_whole(head) else _events(head, reads)
    async with aclosing(deltas):
        async for delta in deltas:
            yield delta


def _is_whole(head: bytes) -> bool:
    """Whether the body that begins so is JSON or a page, as no line of an event stream is."""
    return head.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[", b"<")


async def _events(head: bytes, reads: AsyncIterator[bytes]) -> AsyncGenerator[Delta, None]:
    decoder, size, data = EventDecoder(), 0, head
    while True:
        size += len(data)
        if size > MAX_ANSWER_BYTES:
            raise EventTooLong(f"more than {MAX_ANSWER_BYTES} bytes in one answer")
        quiet = True
        for event in decoder.feed(data):
            delta = read_chunk(event)
            if delta is not NOTHING:
                quiet = False
                yield delta
        if quiet:
            yield ALIVE
        try:
            data = await anext(reads)
        except StopAsyncIteration:
            break
    for event in decoder.flush():
        try:
            delta = read_chunk(event)
        except Malformed:
            return  # half an event: the answer is not whole, and the reader says so
        if delta is not NOTHING:
            yield delta
    if head and not decoder.recognized:
        raise NotAnAnswer(head)


async def _whole(head: bytes, reads: AsyncIterator[bytes]) -> AsyncGenerator[Delta, None]:
    body = bytearray(head)
    yield ALIVE
    async for data in reads:
        body += data
        if len(body) > MAX_WHOLE_BYTES:
            raise EventTooLong(f"more than {MAX_WHOLE_BYTES} bytes in one answer")
        yield ALIVE
    whole = bytes(body).removeprefix(_BOM).strip()
    if whole.startswith(b"<"):
        raise NotAnAnswer(whole)
    for chunk in _chunks(whole):
        delta = read_chunk(chunk)
        if delta is not NOTHING:
            yield delta
    yield DONE


def _chunks(whole: bytes) -> list[bytes]:
    """One JSON value, or one in each line: some bridges leave the `data:` out."""
    try:
        value = json.loads(whole)
    except (ValueError, RecursionError):
        return [line for line in whole.splitlines() if line.strip()]
    if isinstance(value, dict) and not value.keys() & {"choices", "error"}:
        raise ErrorEvent(value)
    return [whole]
