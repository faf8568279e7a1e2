"""Writing answers on time: a plan says which bytes are due when, one player writes all of them.

There is no task per chunk: a heap of due times and one timer drive every stream. A chunk's time is
when it was given to the socket.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from tests.sims.model.answers import Reply
from tests.sims.model.wire import Dialect, Encoder

_BETWEEN_PIECES = 0.003  # s between the pieces of a split event, so that each is read by itself
_AT_ONCE = 500  # writes in one turn of the loop, so that new requests are served meanwhile


class Then(Enum):
    """What happens after a write."""

    GO_ON = "go on"
    END = "end"  # the end of the body
    RESET = "reset"  # the connection is reset
    FIN = "fin"  # the connection is closed in the middle of the body
    STALL = "stall"  # nothing more is ever written
    WAIT = "wait"  # nothing is written until somebody releases it


class Write(NamedTuple):
    """Bytes that are due `at` seconds after the start, and the tokens that they complete."""

    at: float
    data: bytes
    texts: tuple[str, ...] = ()
    thoughts: tuple[str, ...] = ()
    then: Then = Then.GO_ON


# ── plans ─────────────────────────────────────────────────────────────────────────────────────
def plan(reply: Reply, encoder: Encoder, dialect: Dialect) -> Iterator[Write]:
    """Everything that one streamed response writes, in order."""
    writes = _events(reply, encoder, dialect)
    if dialect.per_segment > 1:
        writes = _glued(writes, dialect.per_segment)
    if dialect.split > 1:
        writes = _split(writes, dialect.split)
    if dialect.keepalive:
        writes = _commented(writes, dialect.keepalive, encoder.comment())
    return writes


def _events(reply: Reply, encoder: Encoder, dialect: Dialect) -> Iterator[Write]:
    if dialect.role == "early":
        yield Write(0.0, encoder.role())
    due = reply.first_delay
    for k, due in enumerate(reply.offsets()):
        if reply.wait_at == k:
            yield Write(due, b"", then=Then.WAIT)
        if reply.breaks and reply.at == k:
            yield from _broken(reply.breaks, due, encoder)
        if k == 0 and dialect.role == "own":
            yield Write(due, encoder.role())
        yield _token(reply, encoder, k, due)
    if reply.breaks and reply.at >= len(reply.thoughts) + len(reply.tokens):
        yield from _broken(reply.breaks, due, encoder)
    yield from _ending(reply, encoder, dialect, due)


def _token(reply: Reply, encoder: Encoder, k: int, due: float) -> Write:
    if k < len(reply.thoughts):
        thought = reply.thoughts[k]
        return Write(due, encoder.reasoning(thought), thoughts=(thought,))
    text = reply.tokens[k - len(reply.thoughts)]
    return Write(due, encoder.content(text), texts=(text,))


def _ending(reply: Reply, encoder: Encoder, dialect: Dialect, due: float) -> Iterator[Write]:
    if not reply.thoughts and not reply.tokens and dialect.role == "own":
        yield Write(due, encoder.role())
    if reply.refusal:
        yield Write(due, encoder.chunk({"refusal": reply.refusal}))
    yield Write(due, encoder.finish(reply.finish_reason))
    yield Write(due, encoder.end(), then=Then.END)


def _broken(how: str, due: float, encoder: Encoder) -> Iterator[Write]:
    if how == "bad_json":
        yield Write(due, encoder.broken_json())
    elif how == "garbage":
        yield Write(due, encoder.garbage())
    elif how == "error":
        yield Write(due, encoder.error(), then=Then.END)
    else:
        thens = {"stall": Then.STALL, "cut": Then.RESET, "fin": Then.FIN, "end": Then.END}
        yield Write(due, b"", then=thens[how])


def _glued(writes: Iterable[Write], count: int) -> Iterator[Write]:
    """Write `count` events at once, when the last of them is due."""
    held: list[Write] = []
    for write in writes:
        held.append(write)
        if len(held) >= count or write.then is not Then.GO_ON:
            yield Write(
                write.at,
                b"".join(each.data for each in held),
                tuple(text for each in held for text in each.texts),
                tuple(text for each in held for text in each.thoughts),
                write.then,
            )
            held.clear()


def _split(writes: Iterable[Write], pieces: int) -> Iterator[Write]:
    """Write every event in pieces; a cut may fall into a character."""
    for write in writes:
        size = -(-len(write.data) // pieces) or 1
        parts = [write.data[i : i + size] for i in range(0, len(write.data), size)] or [b""]
        for k, part in enumerate(parts[:-1]):
            yield Write(write.at + k * _BETWEEN_PIECES, part)
        late = (len(parts) - 1) * _BETWEEN_PIECES
        yield write._replace(at=write.at + late, data=parts[-1])


def _commented(writes: Iterable[Write], every: float, comment: bytes) -> Iterator[Write]:
    """Put comments between the events, and go on with them where a stream stalls."""
    times = itertools.count(1)
    due = next(times) * every
    for write in writes:
        while due < write.at:
            yield Write(due, comment)
            due = next(times) * every
        if write.then is Then.STALL:
            yield write._replace(then=Then.GO_ON)
            for time_left in itertools.count(1):
                yield Write(write.at + time_left * every, comment)
        yield write


# ── playing ───────────────────────────────────────────────────────────────────────────────────
@dataclass(slots=True, kw_only=True)
class Record:
    """What became of one request; times are `time.time()` in seconds.

    `outcome` is "open", "refused", "done", "broken" (as scripted) or "gone" (the client left at
    `ended`). The schedule started at `began`; `texts[k]` was written at `times[k]`.
    """

    n: int
    at: float
    body: dict[str, Any]
    authorization: str | None
    peer: int  # the client's port, which tells connections apart
    streamed: bool
    outcome: str = "open"
    status: int | None = None
    began: float | None = None
    texts: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    thought_times: list[float] = field(default_factory=list)
    ended: float | None = None

    def end(self, outcome: str) -> None:
        """Note how it ended; the first end counts."""
        if self.outcome == "open":
            self.outcome, self.ended = outcome, time.time()


class Playing:
    """One response while it is written. `over` is done after its last write."""

    __slots__ = ("base", "next", "over", "record", "transport", "waiting", "writes")

    def __init__(
        self, record: Record, transport: asyncio.Transport, writes: Iterator[Write], base: float
    ) -> None:
        self.record, self.transport, self.writes, self.base = record, transport, writes, base
        self.next: Write | None = next(writes, None)
        self.over: asyncio.Future[Then] = asyncio.get_running_loop().create_future()
        self.waiting = False

    def step(self, now: float) -> bool:
        """Write what is due; whether more follows by itself."""
        write = self.next
        if write is None or self.over.done() or self.transport.is_closing():
            return False
        if write.data:
            self.transport.write(b"%x\r\n%b\r\n" % (len(write.data), write.data))
        if write.texts or write.thoughts:
            self._note(write)
        self.next = next(self.writes, None)
        if write.then is Then.GO_ON:
            return True
        self._after(write.then)
        return False

    def release(self, now: float) -> bool:
        """Go on after a wait, as if no time had passed; whether it had waited."""
        if not self.waiting or self.next is None:
            return False
        self.waiting = False
        self.base = now - self.next.at
        return True

    def _note(self, write: Write) -> None:
        at = time.time()
        self.record.texts.extend(write.texts)
        self.record.times.extend([at] * len(write.texts))
        self.record.thoughts.extend(write.thoughts)
        self.record.thought_times.extend([at] * len(write.thoughts))

    def _after(self, then: Then) -> None:
        if then is Then.WAIT:
            self.waiting = True
        elif then is not Then.STALL:
            whole = then is Then.END and self.next is None
            self.record.end("done" if whole else "broken")
            if then is Then.RESET:
                self.transport.abort()
            elif then is Then.FIN:
                self.transport.close()
            self.over.set_result(then)


class Player:
    """Writes all responses of a server on time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Playing]] = []
        self._count = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._playing: set[Playing] = set()

    async def play(self, playing: Playing) -> Then:
        """Write the whole response; returns how it ends. Being cancelled ends it."""
        self._playing.add(playing)
        self._push(playing)
        self._arm()
        try:
            return await playing.over
        finally:
            self._playing.discard(playing)

    def release(self, match: str) -> int:
        """Let the responses go on that wait and whose last message contains `match`."""
        now = asyncio.get_running_loop().time()
        freed = [
            playing
            for playing in self._playing
            if match in str(playing.record.body["messages"][-1]) and playing.release(now)
        ]
        for playing in freed:
            self._push(playing)
        self._arm()
        return len(freed)

    def _push(self, playing: Playing) -> None:
        if playing.next is not None:
            due = playing.base + playing.next.at
            heapq.heappush(self._heap, (due, next(self._count), playing))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._heap:
            self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._tick)

    def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        heap = self._heap
        for _ in range(_AT_ONCE):
            if not heap or heap[0][0] > now:
                break
            playing = heapq.heappop(heap)[2]
            if playing.step(now):
                self._push(playing)
        self._arm()
