"""Writes answers on schedule: a plan lists bytes with their due times, one player writes them all.

There is no task per chunk: a heap of due times and one timer drive all streams. A chunk's recorded
time is when it was handed to the socket.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol

from tests.sims.model import anthropic
from tests.sims.model.answers import ResolvedAnswer
from tests.sims.model.encoder import Dialect
from tests.sims.model.images import SentImage, sent_images
from tests.sims.model.responses import as_chat

_PIECE_GAP = 0.003  # seconds between the pieces of a split event, so that each is read separately
_BREAK_PAUSE = 0.03  # seconds before a break after the last token, so that it is read first
_MAX_WRITES = 500  # per turn of the event loop, so that new requests are served too


class After(Enum):
    """The action after a write."""

    CONTINUE = "continue"
    END = "end"  # the end of the body
    RESET = "reset"  # the connection is reset
    CLOSE = "close"  # the connection is closed in the middle of the body
    STALL = "stall"  # nothing more is ever written
    WAIT = "wait"  # nothing is written until `release`


class Write(NamedTuple):
    """Bytes due `at` seconds after the start, and the tokens that they complete."""

    at: float
    data: bytes
    texts: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    after: After = After.CONTINUE


class StreamEncoder(Protocol):
    """Encodes the parts of one API's stream; empty bytes are not written."""

    def role(self) -> bytes:
        """The events before the first token."""
        ...

    def reasoning(self, text: str) -> bytes:
        """A token of reasoning."""
        ...

    def content(self, text: str) -> bytes:
        """A token."""
        ...

    def refusal(self, text: str) -> bytes:
        """The words of a refusal, in one piece."""
        ...

    def finish(self, reason: str) -> bytes:
        """The end of the text."""
        ...

    def end(self) -> bytes:
        """The events after the text."""
        ...

    def error(self) -> bytes:
        """An error inside the stream."""
        ...

    def broken_json(self) -> bytes:
        """An event with truncated JSON."""
        ...

    def garbage(self) -> bytes:
        """Bytes that are no event."""
        ...

    def comment(self) -> bytes:
        """A comment line."""
        ...


# ── plans ─────────────────────────────────────────────────────────────────────────────────────
def plan(answer: ResolvedAnswer, encoder: StreamEncoder, dialect: Dialect) -> Iterator[Write]:
    """All writes of one streamed response, in order."""
    writes = _event_writes(answer, encoder, dialect)
    if dialect.per_segment > 1:
        writes = _merge_writes(writes, dialect.per_segment)
    if dialect.split > 1:
        writes = _split_writes(writes, dialect.split)
    if dialect.keepalive:
        writes = _insert_comments(writes, dialect.keepalive, encoder.comment())
    return writes


def _event_writes(
    answer: ResolvedAnswer, encoder: StreamEncoder, dialect: Dialect
) -> Iterator[Write]:
    if dialect.role == "early":
        yield Write(0.0, encoder.role())
    due = answer.first_delay
    for k, due in enumerate(answer.offsets()):
        if answer.wait_at == k:
            yield Write(due, b"", after=After.WAIT)
        if answer.breaks and answer.at == k:
            yield from _break_off(answer.breaks, due, encoder)
        if k == 0 and dialect.role == "own":
            yield Write(due, encoder.role())
        yield _token_write(answer, encoder, k, due)
    if answer.breaks and answer.at >= len(answer.reasoning) + len(answer.tokens):
        if answer.wait_at == answer.at:
            yield Write(due, b"", after=After.WAIT)
        yield from _break_off(answer.breaks, due + _BREAK_PAUSE, encoder)
    yield from _end_writes(answer, encoder, dialect, due)


def _token_write(answer: ResolvedAnswer, encoder: StreamEncoder, k: int, due: float) -> Write:
    if k < len(answer.reasoning):
        token = answer.reasoning[k]
        return Write(due, encoder.reasoning(token), reasoning=(token,))
    text = answer.tokens[k - len(answer.reasoning)]
    return Write(due, encoder.content(text), texts=(text,))


def _end_writes(
    answer: ResolvedAnswer, encoder: StreamEncoder, dialect: Dialect, due: float
) -> Iterator[Write]:
    if not answer.reasoning and not answer.tokens and dialect.role == "own":
        yield Write(due, encoder.role())
    if answer.refusal:
        yield Write(due, encoder.refusal(answer.refusal))
    yield Write(due, encoder.finish(answer.finish_reason))
    yield Write(due, encoder.end(), after=After.END)


def _break_off(how: str, due: float, encoder: StreamEncoder) -> Iterator[Write]:
    if how == "bad_json":
        yield Write(due, encoder.broken_json())
    elif how == "garbage":
        yield Write(due, encoder.garbage())
    elif how == "error":
        yield Write(due, encoder.error(), after=After.END)
    else:
        actions = {"stall": After.STALL, "cut": After.RESET, "fin": After.CLOSE, "end": After.END}
        yield Write(due, b"", after=actions[how])


def _merge_writes(writes: Iterable[Write], count: int) -> Iterator[Write]:
    """Merge every `count` events into one write, when the last of them is due."""
    held: list[Write] = []
    for write in writes:
        held.append(write)
        if len(held) >= count or write.after is not After.CONTINUE:
            yield Write(
                write.at,
                b"".join(each.data for each in held),
                tuple(text for each in held for text in each.texts),
                tuple(text for each in held for text in each.reasoning),
                write.after,
            )
            held.clear()


def _split_writes(writes: Iterable[Write], pieces: int) -> Iterator[Write]:
    """Split every event into pieces, possibly inside a character."""
    for write in writes:
        size = -(-len(write.data) // pieces) or 1
        parts = [write.data[i : i + size] for i in range(0, len(write.data), size)] or [b""]
        for k, part in enumerate(parts[:-1]):
            yield Write(write.at + k * _PIECE_GAP, part)
        late = (len(parts) - 1) * _PIECE_GAP
        yield write._replace(at=write.at + late, data=parts[-1])


def _insert_comments(writes: Iterable[Write], every: float, comment: bytes) -> Iterator[Write]:
    """Insert comments between the events, and continue them where a stream stalls."""
    times = itertools.count(1)
    due = next(times) * every
    for write in writes:
        while due < write.at:
            yield Write(due, comment)
            due = next(times) * every
        if write.after is After.STALL:
            yield write._replace(after=After.CONTINUE)
            for time_left in itertools.count(1):
                yield Write(write.at + time_left * every, comment)
        yield write


# ── playback ───────────────────────────────────────────────────────────────────────────────────
@dataclass(slots=True, kw_only=True)
class Record:
    """One request and its outcome; times are `time.time()` in seconds.

    `outcome` is "open", "refused", "done", "broken" (as scripted) or "disconnected" (by the client,
    at `ended`). The schedule started at `began`; `texts[k]` was written at `times[k]`. `usage` has
    the answer's counts, also if they were not sent.
    """

    n: int
    at: float
    path: str  # of the API
    body: dict[str, Any]
    authorization: str | None
    peer: int  # the client's port, which identifies the connection
    streamed: bool
    headers: dict[str, str] = field(default_factory=dict)  # in lower case
    outcome: str = "open"
    status: int | None = None
    began: float | None = None
    texts: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    reasoning_times: list[float] = field(default_factory=list)
    ended: float | None = None
    usage: dict[str, Any] | None = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The request's messages in the form of the chat completions API."""
        translate = {"/v1/responses": as_chat, "/v1/messages": anthropic.as_chat}.get(self.path)
        body = self.body if translate is None else translate(self.body)
        found = body.get("messages")
        return found if isinstance(found, list) else []

    @property
    def images(self) -> list[SentImage]:
        """The images of the request, byte for byte."""
        return sent_images(self.messages)

    def end(self, outcome: str) -> None:
        """Record the outcome; only the first call has an effect."""
        if self.outcome == "open":
            self.outcome, self.ended = outcome, time.time()


class Playback:
    """One response being written. `over` is done after its last write."""

    __slots__ = ("base", "next", "over", "record", "transport", "waiting", "writes")

    def __init__(
        self, record: Record, transport: asyncio.Transport, writes: Iterator[Write], base: float
    ) -> None:
        self.record, self.transport, self.writes, self.base = record, transport, writes, base
        self.next: Write | None = next(writes, None)
        self.over: asyncio.Future[After] = asyncio.get_running_loop().create_future()
        self.waiting = False

    def step(self, now: float) -> bool:
        """Write the next bytes; returns whether the schedule continues."""
        write = self.next
        if write is None or self.over.done() or self.transport.is_closing():
            return False
        if write.data:
            self.transport.write(b"%x\r\n%b\r\n" % (len(write.data), write.data))
        if write.texts or write.reasoning:
            self._record_tokens(write)
        self.next = next(self.writes, None)
        if write.after is After.CONTINUE:
            return True
        self._end(write.after)
        return False

    def release(self, now: float) -> bool:
        """Resume after a wait, as if no time had passed; returns whether it was waiting."""
        if not self.waiting or self.next is None or self.transport.is_closing():
            return False
        self.waiting = False
        self.base = now - self.next.at
        return True

    def _record_tokens(self, write: Write) -> None:
        at = time.time()
        self.record.texts.extend(write.texts)
        self.record.times.extend([at] * len(write.texts))
        self.record.reasoning.extend(write.reasoning)
        self.record.reasoning_times.extend([at] * len(write.reasoning))

    def _end(self, after: After) -> None:
        if after is After.WAIT:
            self.waiting = True
        elif after is not After.STALL:
            complete = after is After.END and self.next is None
            self.record.end("done" if complete else "broken")
            if after is After.RESET:
                self.transport.abort()
            elif after is After.CLOSE:
                self.transport.close()
            self.over.set_result(after)


class Player:
    """Writes all responses of a server on schedule."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Playback]] = []
        self._count = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._active: set[Playback] = set()

    async def play(self, playback: Playback) -> After:
        """Write the whole response and return its last action; cancelling stops it."""
        self._active.add(playback)
        self._push(playback)
        self._set_timer()
        try:
            return await playback.over
        finally:
            self._active.discard(playback)

    def release(self, match: str) -> int:
        """Resume the waiting responses whose last message contains `match`; returns how many."""
        now = asyncio.get_running_loop().time()
        released = [
            playback
            for playback in self._active
            if match in str(playback.record.messages[-1:]) and playback.release(now)
        ]
        for playback in released:
            self._push(playback)
        self._set_timer()
        return len(released)

    def _push(self, playback: Playback) -> None:
        if playback.next is not None:
            due = playback.base + playback.next.at
            heapq.heappush(self._heap, (due, next(self._count), playback))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._heap:
            self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._write_due)

    def _write_due(self) -> None:
        now = asyncio.get_running_loop().time()
        heap = self._heap
        for _ in range(_MAX_WRITES):
            if not heap or heap[0][0] > now:
                break
            playback = heapq.heappop(heap)[2]
            if playback.step(now):
                self._push(playback)
        self._set_timer()
