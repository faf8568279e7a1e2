"""The catch-up that both platforms share, on a scripted platform."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest

from bot.catchup.backfill import Backfill
from bot.catchup.backfill_queue import ATTEMPTS, USUAL_PAUSES
from bot.catchup.watermark_saver import WatermarkSaver
from bot.domain.conversations import Conversation
from bot.domain.errors import Gone, StoreUnavailable, Unsettled
from bot.domain.inbox import Asked, Incoming, Watermark
from bot.ports.history import ChannelRef, History, HistoryPage
from tests.support.clock import ManualClock, settle
from tests.support.store_kit import said

W = "w1"


@dataclass
class ScriptedInbox:
    """An inbox that records accepted messages and starts with a watermark of 1."""

    stored: dict[str, int] = field(default_factory=lambda: {"": 1})
    accepted: list[int] = field(default_factory=list)
    error: Exception | None = None
    load_errors: list[Exception] = field(default_factory=list)

    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        if self.load_errors:
            raise self.load_errors.pop()
        return [Watermark(platform, W, channel, at) for channel, at in self.stored.items()]

    async def move_watermarks(self, changes: Sequence[Watermark]) -> None:
        self.stored |= {change.channel: change.position for change in changes}

    async def active(self, platform: str) -> Sequence[Conversation]:
        return ()

    async def last_questions(self, platform: str) -> Sequence[Asked]:
        return ()

    async def missed(self, messages: Sequence[Incoming]) -> None:
        if self.error is not None:
            raise self.error
        self.accepted += [message.position for message in messages]


@dataclass
class ScriptedReader:
    """A workspace whose histories are lists of positions, one page each."""

    pages: dict[str, list[int]] = field(default_factory=dict)
    threads: dict[str, list[str]] = field(default_factory=dict)  # after the last page, by channel
    failures: dict[str, list[Exception]] = field(default_factory=dict)
    requests: list[tuple[str, int]] = field(default_factory=list)
    doors: dict[str, asyncio.Event] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    told: dict[str, list[int]] = field(default_factory=dict)  # the end of the read, by thread
    workspace: str = W
    newest: int = 100

    async def find_histories(self, _: Sequence[Conversation]) -> Sequence[History]:
        inner = {thread for threads in self.threads.values() for thread in threads}
        return [self.history(name) for name in self.pages if name not in inner]

    def history(self, name: str) -> History:
        ref, read = ChannelRef(W, name), partial(self.read, name)
        tell = partial(self.tell, name) if name in self.told else None
        return History(ref, (0,), read, self.after.get(name, 0), tell)

    async def tell(self, name: str, reached: int) -> None:
        self.told[name].append(reached)

    async def read(self, name: str, after: int) -> HistoryPage:
        self.requests.append((name, after))
        if name in self.doors:
            await self.doors[name].wait()
        if self.failures.get(name):
            raise self.failures[name].pop(0)
        unread = [at for at in self.pages[name] if at > after]
        last = len(unread) <= 1
        return HistoryPage(
            messages=[said(at) for at in unread[:1]],
            reached=unread[0] if unread else after,
            threads=[self.history(one) for one in self.threads.get(name, ())] if last else (),
            next=None if last else partial(self.read, name, unread[0]),
        )

    async def report_changes(self, question: Asked) -> None: ...


class World:
    """A backfill between a scripted platform and a scripted inbox."""

    def __init__(self, **script: Any) -> None:
        self.clock, self.inbox, self.reader = (
            ManualClock(),
            ScriptedInbox(),
            ScriptedReader(**script),
        )
        self.saver = WatermarkSaver(
            platform="sim", lag=0, inbox=cast(Any, self.inbox), clock=self.clock
        )
        self.backfill = Backfill(
            platform="sim",
            inbox=cast(Any, self.inbox),
            saver=self.saver,
            clock=self.clock,
            report_changes=self.reader.report_changes,
        )

    async def start(self) -> None:
        self.backfill.start(self.reader)
        await settle()

    def position_of(self, channel: str) -> int:
        return self.saver.tracker.position_of(ChannelRef(W, channel))


@pytest.fixture
async def world() -> World:
    return World()


async def test_each_page_is_accepted_and_moves_the_watermark() -> None:
    world = World(pages={"c": [10, 20, 30]})
    await world.start()
    assert world.inbox.accepted == [10, 20, 30]
    assert world.reader.requests == [("c", 1), ("c", 10), ("c", 20)]
    assert world.position_of("c") == 30


async def test_a_page_that_could_not_be_accepted_is_read_again() -> None:
    world = World(pages={"c": [10, 20]})
    world.inbox.error = StoreUnavailable("full")
    await world.start()
    assert world.position_of("c") == 1
    world.inbox.error = None
    await world.clock.advance(5)
    assert world.inbox.accepted == [10, 20]


async def test_a_channel_waits_for_its_threads_and_follows_the_lowest_unread_one() -> None:
    world = World(
        pages={"c": [50], "c/1": [10], "c/2": [40]},
        threads={"c": ["c/1", "c/2"]},
        after={"c/2": 30},
    )
    world.reader.doors["c/2"] = asyncio.Event()
    await world.start()
    assert (world.position_of("c"), world.position_of("c/1")) == (30, 10)
    world.reader.doors["c/2"].set()
    await settle()
    assert world.position_of("c") == 50


async def test_a_thread_that_fails_for_minutes_holds_its_channel_until_it_is_read() -> None:
    world = World(pages={"c": [50], "c/1": [10]}, threads={"c": ["c/1"]})
    world.reader.failures["c/1"] = [Unsettled("?")] * ATTEMPTS
    await world.start()
    await world.clock.advance(USUAL_PAUSES.later - 1)
    world.saver.mark_decided(ChannelRef(W, "c"), 90)
    assert world.position_of("c") == 1
    await world.clock.advance(USUAL_PAUSES.later)
    assert world.position_of("c") == 90


async def test_a_list_of_threads_that_fails_for_minutes_is_read_again_later() -> None:
    """The workspace's watermark stays before the list's threads until the list has been read."""
    world = World(pages={"list": [], "thread": [10]}, threads={"list": ["thread"]})
    world.reader.failures["list"] = [Unsettled("?")] * ATTEMPTS
    await world.start()
    await world.clock.advance(USUAL_PAUSES.later - 1)
    world.saver.mark_decided(ChannelRef(W, "c"), 90)
    await world.clock.advance(2)
    assert world.inbox.stored[""] == 1
    await world.clock.advance(USUAL_PAUSES.later)
    assert world.inbox.accepted == [10]
    assert world.inbox.stored[""] == 90


async def test_a_deleted_channel_does_not_block_the_others() -> None:
    world = World(pages={"c": [10], "d": [20]}, failures={"c": [Gone("c")]})
    await world.start()
    world.saver.mark_decided(ChannelRef(W, "c"), 90)
    assert (world.position_of("c"), world.position_of("d")) == (90, 20)


async def test_a_new_workspace_starts_now_without_reads(world: World) -> None:
    world.inbox.stored.clear()
    world.reader.pages["c"] = [10]
    await world.start()
    assert world.reader.requests == []
    assert world.inbox.stored == {"": 100}


async def test_a_gap_during_the_reads_keeps_the_watermarks_where_the_reads_got_to() -> None:
    world = World(pages={"c": [10]})
    world.reader.doors["c"] = asyncio.Event()
    await world.start()
    world.saver.tracker.open_gap(W)
    world.saver.mark_decided(ChannelRef(W, "c"), 90)
    world.reader.doors["c"].set()
    await settle()
    assert world.position_of("c") == 10
    world.backfill.close_later(W, 60.0)
    await world.clock.advance(61)
    assert world.position_of("c") == 90


async def test_redelivery_closes_a_gap_only_after_the_reads_before_it() -> None:
    world = World(pages={"c": [10]})
    world.reader.doors["c"] = asyncio.Event()
    await world.start()
    world.backfill.close_later(W, 60.0)
    world.saver.mark_decided(ChannelRef(W, "d"), 90)
    await world.clock.advance(61)
    assert world.position_of("d") == 1
    world.reader.doors["c"].set()
    await settle()
    assert world.position_of("d") == 90


async def test_a_restart_drops_the_reads_and_begins_behind_the_watermark() -> None:
    world = World(pages={"c": [10, 20, 30]})
    await world.start()
    world.reader.pages["c"] += [40]
    world.reader.requests.clear()
    await world.backfill.restart()
    await world.start()
    assert world.reader.requests == [("c", 30)]


async def test_a_reread_starts_over_although_reads_are_running() -> None:
    """The running reads had passed channel `c` before another process lost a message there."""
    world = World(pages={"c": [10], "d": [10]})
    world.reader.doors["d"] = asyncio.Event()
    await world.start()
    assert world.inbox.accepted == [10]
    world.reader.pages["c"] += [20]
    again = asyncio.create_task(world.backfill.read_again(world.reader, 1))
    await settle()
    assert 20 in world.inbox.accepted
    world.reader.doors["d"].set()
    assert await again


async def test_what_was_read_of_a_thread_is_told_once_it_is_stored() -> None:
    world = World(pages={"c": [10], "t": [11, 12]}, threads={"c": ["t"]})
    told: list[int] = []
    world.reader.told["t"] = told
    world.inbox.error = StoreUnavailable("away")
    again = asyncio.create_task(world.backfill.read_again(world.reader, 1))
    await settle()
    assert told == []
    world.inbox.error = None
    await world.clock.advance(5)
    assert await again
    assert told == [12]


async def test_one_reread_serves_all_messages_of_a_channel_that_failed(world: World) -> None:
    world.reader.pages["c"] = [10]
    await world.start()
    world.reader.requests.clear()
    for _ in range(3):
        world.backfill.reread(world.reader.history("c"), 15.0)
    await world.clock.advance(16)
    assert len(world.reader.requests) == 1


async def test_a_reread_finds_messages_older_than_the_watermark(world: World) -> None:
    """The first watermark of all is the time of the first start: a message that was on its way then
    may be older. The lowest position counts, also after a failed read."""
    world.reader.pages["c"] = [10, 20]
    world.inbox.stored["c"] = 20
    await world.start()
    world.reader.requests.clear()
    world.inbox.error = StoreUnavailable("full")
    world.backfill.reread(world.reader.history("c"), 15.0, since=14)
    world.backfill.reread(world.reader.history("c"), 15.0, since=9)
    world.backfill.reread(world.reader.history("c"), 15.0)
    await world.clock.advance(16)
    world.inbox.error = None
    await world.clock.advance(600)
    assert min(after for _, after in world.reader.requests) == 9


async def test_a_reread_waits_for_the_stored_watermarks(world: World) -> None:
    """A read without watermarks would begin at the channel's first message."""
    world.reader.pages["c"] = [10, 20]
    world.inbox.stored["c"] = 10
    world.inbox.load_errors = [StoreUnavailable("full")] * 10
    await world.start()
    world.backfill.reread(world.reader.history("c"), 15.0)
    await world.clock.advance(16)
    assert world.reader.requests == []
    await world.clock.advance(60)
    assert min(after for _, after in world.reader.requests) == 10
