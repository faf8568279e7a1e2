"""The corpus of provider responses in `tests/fixtures/providers/`, and a server that replays it.

Each file is one response of one provider: TOML between two `+++` lines with the expected result,
then the response as sent over the wire. We wrote them from documentation, reports and source code;
none is a recording. The fields:

`request`: `max_tokens`, `temperature`, `effort`, `system` (whether there is a system prompt) and
`images` (their number). `text`, `reasoning`, `finish`, `usage`: the answer; the counts are input,
output, cache reads, cache writes and reasoning. `error`, `window`, `limit` (of images),
`retry_after`: the failure. `learned`: the workaround that this rejection teaches. The next response
is an answer, and its request must match `then`: `absent` names, `nowhere` in the request, `equal`
values, `below` values, `roles` of the messages.
"""

from __future__ import annotations

import asyncio
import json
import random
import tomllib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.tcp import tcp_server

CORPUS = Path(__file__).parents[1] / "fixtures" / "providers"
Split = Callable[[bytes], Iterable[bytes]]

CHAT_ANSWER = b"""data: {"choices":[{"delta":{"content":"Hello there."},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: [DONE]

"""
_MESSAGES_ANSWER = b"""data: {"type":"message_start","message":{"type":"message","content":[]}}

data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello there."}}

data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}

data: {"type":"message_stop"}

"""
ANSWERS = {"chat": CHAT_ANSWER, "messages": _MESSAGES_ANSWER}


@dataclass(frozen=True)
class Shape:
    """One file of the corpus."""

    name: str
    status: str
    headers: dict[str, str]
    body: bytes
    api: str = "chat"
    text: str = ""
    reasoning: str = ""
    finish: str | None = None
    usage: tuple[int, ...] | None = None
    error: str | None = None
    window: int | None = None
    limit: int | None = None
    retry_after: float | None = None
    learned: str = ""
    then: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)


def shapes() -> list[Shape]:
    """The whole corpus, sorted by name."""
    return [_read(path) for path in sorted(CORPUS.glob("*.http"))]


def _read(path: Path) -> Shape:
    _, facts, wire = path.read_bytes().split(b"+++\n", 2)
    head, _, body = wire.partition(b"\n\n")
    status, *lines = head.decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    expected = tomllib.loads(facts.decode())
    if "usage" in expected:
        expected["usage"] = tuple(expected["usage"])
    return Shape(path.stem, status, headers, body, **expected)


# ── ways to split a body ──────────────────────────────────────────────────────────────────────
def whole(body: bytes) -> Iterable[bytes]:
    """The whole body in one piece."""
    return [body]


def single(body: bytes) -> Iterable[bytes]:
    """Every byte separately."""
    return (body[i : i + 1] for i in range(len(body)))


def at_random(seed: int) -> Split:
    """Pieces of one to forty bytes."""

    def split(body: bytes) -> Iterable[bytes]:
        dice, at = random.Random(seed), 0
        while at < len(body):
            size = dice.randint(1, 40)
            yield body[at : at + size]
            at += size

    return split


# ── the server ────────────────────────────────────────────────────────────────────────────────
class Replay:
    """Answers each request with the next of `responses`, and repeats the last one.

    If `choose` is set, it picks the response for a request's body instead.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.responses: Sequence[Shape] = ()
        self.choose: Callable[[dict[str, Any]], Shape] | None = None
        self.split: Split = whole
        self.url = ""

    def arrange(self, shape: Shape, split: Split) -> None:
        """Replay `shape`; a rejection that teaches a workaround is followed by an answer."""
        self.requests.clear()
        body = ANSWERS[shape.api]
        answer = Shape("", "HTTP/1.1 200 OK", {"content-type": "text/event-stream"}, body)
        self.responses = [shape, answer] if shape.learned and not _is_answer(shape) else [shape]
        self.split = split

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection with one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            self.requests.append(json.loads(await reader.readexactly(length)))
            await self._write(self._response(), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has left
        finally:
            writer.close()

    def _response(self) -> Shape:
        if self.choose is not None:
            return self.choose(self.requests[-1])
        return self.responses[min(len(self.requests), len(self.responses)) - 1]

    async def _write(self, shape: Shape, writer: asyncio.StreamWriter) -> None:
        headers = {**shape.headers, "transfer-encoding": "chunked", "connection": "close"}
        lines = [shape.status, *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        for piece in self.split(shape.body):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0)  # a pause, so that the client usually reads it separately
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def _is_answer(shape: Shape) -> bool:
    return shape.status.split()[1] == "200"


@asynccontextmanager
async def replaying() -> AsyncIterator[Replay]:
    """A server on a free port."""
    replay = Replay()
    async with tcp_server(replay.serve) as port:
        replay.url = f"http://127.0.0.1:{port}/v1"
        yield replay
