"""A reply that one process writes grows on the pages of others, as long as someone watches it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from adapters.web.highlighter import plain
from adapters.web.hub import Hub, LiveReply
from adapters.web.live_follower import FOLLOW_SECONDS, LiveFollower
from adapters.web.live_sender import INTEREST_SECONDS, SEND_SECONDS, LiveSender
from bot.domain.cluster import Signal, SignalKind
from bot.domain.errors import StoreUnavailable
from tests.support.clock import ManualClock, settle

TURN = 7


@dataclass
class Reply:
    outcome: str | None = None


@dataclass
class Network:
    """The messages between processes, some of which are lost."""

    members: list[Process] = field(default_factory=list)
    statements: int = 0
    pieces: int = 0
    signals: list[SignalKind] = field(default_factory=list)
    loses: Callable[[str], bool] = lambda _text: False
    error: Exception | None = None
    fails: bool = False  # the database of replies, which fails unexpectedly
    reply: Reply | None = field(default_factory=Reply)
    clock: ManualClock = field(default_factory=ManualClock)


class Process:
    """The page's part of a process: implements the methods it uses of `Cluster`, and `Replies`."""

    def __init__(self, network: Network, name: str) -> None:
        self._network, self.process = network, name
        self._handlers: dict[SignalKind, list[Callable[[Signal], Awaitable[None]]]]
        self._handlers = defaultdict(list)
        self._hearers: list[Callable[[str], None]] = []
        self.hub, self.states = Hub(), list[tuple[int, str]]()
        network.members.append(self)
        parts: dict[str, Any] = {"cluster": self, "hub": self.hub, "clock": network.clock}
        self.sender = LiveSender(**parts)
        self.follower = LiveFollower(**parts, replies=self, highlight=plain, on_text=self._remember)

    def _remember(self, live: LiveReply) -> None:
        self.states.append((live.attempt, live.text))

    @property
    def members(self) -> int:
        return len(self._network.members)

    @property
    def shown(self) -> str | None:
        live = self.hub.live(TURN)
        return None if live is None else live.text

    def listen(self, kind: SignalKind, handler: Callable[[Signal], Awaitable[None]]) -> None:
        self._handlers[kind].append(handler)

    def hear(self, handler: Callable[[str], None]) -> None:
        self._hearers.append(handler)

    def send(self, signal: Signal) -> None:
        self._network.signals.append(signal.kind)
        for other in self._network.members:
            if other is not self:
                for handler in other._handlers[signal.kind]:
                    asyncio.get_running_loop().create_task(handler(signal))  # type: ignore[arg-type]

    async def tell(self, texts: Sequence[tuple[str, str]]) -> None:
        self._network.statements += 1
        if self._network.error is not None:
            raise self._network.error
        for name, text in texts:
            self._network.pieces += 1
            for other in self._network.members:
                if other.process == name and not self._network.loses(text):
                    for handler in other._hearers:
                        handler(text)

    async def reply(self, turn: int) -> Reply | None:
        assert turn == TURN
        if self._network.fails:
            raise ValueError("unforeseen")
        return self._network.reply

    def write(self, text: str, attempt: int = 1) -> LiveReply:
        """Write as a surface does; the first text begins the reply."""
        live = self.hub.live(TURN)
        if live is None or live.elsewhere or live.attempt != attempt:
            live = LiveReply(TURN, 3, "ann", "t1", 0.0, attempt=attempt)
            self.hub.begin(live)
        self.hub.write(live, source=text, note="")
        self.sender.changed()
        return live

    def open_page(self) -> asyncio.Event:
        """Open a page, as `tab_events` does."""
        woken, readers = asyncio.Event(), self.hub.feed("ann").readers
        readers.add(woken)
        self.hub.on_reader(0, "ann")
        return woken


@asynccontextmanager
async def processes(*names: str) -> AsyncIterator[tuple[Network, list[Process]]]:
    network = Network()
    members = [Process(network, name) for name in names]
    tasks = [asyncio.create_task(m.sender.run()) for m in members]
    tasks += [asyncio.create_task(m.follower.run()) for m in members]
    try:
        yield network, members
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_page_that_opens_late_gets_the_whole_text_and_what_follows() -> None:
    async with processes("a", "b") as (network, (writer, reader)):
        writer.write("Once")
        reader.open_page()
        await settle()
        assert reader.shown == "Once"
        for number in range(20):  # within half a second
            writer.write("Once " + "upon " * number)
        await network.clock.advance(SEND_SECONDS)
        assert reader.shown == "Once " + "upon " * 19
        assert network.statements == 2


async def test_nothing_is_sent_where_no_one_asks_or_no_longer_looks() -> None:
    async with processes("a", "b") as (network, (writer, reader)):
        writer.write("Once")
        await network.clock.advance(60)
        assert (network.statements, network.signals) == (0, [])
        page = reader.open_page()
        await settle()
        reader.hub.feed("ann").readers.discard(page)
        await network.clock.advance(INTEREST_SECONDS + FOLLOW_SECONDS + 1)
        assert reader.shown is None
        before = network.statements
        writer.write("Once upon")
        await network.clock.advance(5)
        assert network.statements == before


async def test_a_program_that_follows_a_turn_gets_its_text() -> None:
    async with processes("a", "b") as (_, (writer, reader)):
        writer.write("Once")
        with reader.hub.listening(TURN) as woken:
            await settle()
            assert reader.shown == "Once"
            assert woken.is_set()


async def test_a_page_that_stays_open_is_sent_text_for_as_long_as_the_reply_grows() -> None:
    async with processes("a", "b") as (network, (writer, reader)):
        writer.write("Once")
        reader.open_page()
        await settle()
        await network.clock.advance(3 * INTEREST_SECONDS)
        writer.write("Once upon")
        await network.clock.advance(SEND_SECONDS)
        assert reader.shown == "Once upon"


async def test_a_lost_piece_costs_one_request_for_the_whole() -> None:
    async with processes("a", "b") as (network, (writer, reader)):
        writer.write("Once")
        reader.open_page()
        await settle()
        network.loses = lambda text: "upon" in text
        writer.write("Once upon")
        await network.clock.advance(SEND_SECONDS)
        network.loses = lambda _text: False
        writer.write("Once upon a time")
        await network.clock.advance(2 * SEND_SECONDS)
        assert reader.shown == "Once upon a time"
        assert network.signals == [SignalKind.FOLLOW] * 2


async def test_a_reply_whose_beginning_was_not_signalled_is_followed_later() -> None:
    async with processes("a", "b") as (network, (writer, reader)):
        reader.open_page()
        await settle()
        writer.write("Once")
        await network.clock.advance(SEND_SECONDS)
        assert reader.shown is None
        reader.follower.missed()  # the connection for signals is back
        await network.clock.advance(SEND_SECONDS)
        assert reader.shown == "Once"


async def test_a_failing_database_delays_the_text() -> None:
    async with processes("a", "b") as (network, (writer, reader)):
        writer.write("Once")
        reader.open_page()
        await settle()
        network.error = StoreUnavailable("away")
        writer.write("Once upon")
        await network.clock.advance(3)
        network.error = None
        await network.clock.advance(SEND_SECONDS)
        assert reader.shown == "Once upon"


async def test_an_unforeseen_failure_delays_the_text_and_ends_nothing() -> None:
    async with processes("a", "b") as (network, (writer, reader)):
        writer.write("Once")
        reader.open_page()
        await settle()
        network.error = ValueError("unforeseen")
        writer.write("Once upon")
        await network.clock.advance(3)
        network.error, network.fails = None, True
        await network.clock.advance(FOLLOW_SECONDS)
        assert reader.shown is None
        network.fails = False
        reader.follower.changed(TURN, "ann")
        await network.clock.advance(SEND_SECONDS)
        assert reader.shown == "Once upon"


async def test_the_text_of_a_dead_writer_ends_with_the_next_attempt() -> None:
    """A process that hung may still send text of the earlier attempt, which no one sees any
    more."""
    async with processes("a", "b", "c") as (network, (dead, reader, heir)):
        dead.write("The first attempt")
        reader.open_page()
        await settle()
        assert reader.shown == "The first attempt"
        heir.write("The second")
        heir.hub.live(TURN).attempt = 2  # type: ignore[union-attr]
        reader.follower.changed(TURN, "ann")  # the signal that it has begun
        await network.clock.advance(SEND_SECONDS)
        assert reader.shown == "The second"
        reader.follower.missed()
        dead.write("The first attempt continues")
        await network.clock.advance(5)
        assert reader.shown == "The second"
        assert [attempt for attempt, _ in reader.states] == sorted(a for a, _ in reader.states)


async def test_a_reply_whose_end_was_not_signalled_ends_within_seconds() -> None:
    async with processes("a", "b") as (network, (writer, reader)):
        live = writer.write("Once")
        reader.open_page()
        await settle()
        writer.hub.end(live)
        network.reply = Reply("answered")
        before = reader.hub.feed("ann").number
        await network.clock.advance(FOLLOW_SECONDS)
        assert reader.shown is None
        assert reader.hub.feed("ann").number > before, "the page reads it from the database"


async def test_a_turn_that_this_process_takes_over_shows_its_own_text() -> None:
    async with processes("a", "b") as (network, (dead, heir)):
        dead.write("The first attempt")
        heir.open_page()
        await settle()
        heir.write("The second", attempt=2)
        dead.write("The first attempt continues")
        await network.clock.advance(5)
        assert heir.shown == "The second"
