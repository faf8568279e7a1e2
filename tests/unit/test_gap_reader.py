"""Messages that another process may have lost are read until a read was complete."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bot.catchup.gap_reader import LOOK_SECONDS, READ_AGAIN, SHORTEST_REST, GapReader
from bot.domain.errors import StoreUnavailable, Unsettled
from bot.domain.inbox import Gap
from tests.support.clock import ManualClock, settle
from tests.support.fake_inbox import FakeInbox

WATERMARKS = 0.0


class Rig:
    """A reader whose reads behave as the test says."""

    def __init__(self) -> None:
        self.inbox, self.clock = FakeInbox(), ManualClock()
        self.reads: list[float] = []
        self.result: bool | Exception = True

    async def read(self, since: float, everything: bool) -> bool:
        self.reads.append(since)
        if self.inbox.open_gaps:
            assert everything == any(gap.is_settled for gap in self.inbox.open_gaps)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    async def catch_up(self) -> None:
        self.reads.append(WATERMARKS)

    @contextmanager
    def running(self) -> Iterator[GapReader]:
        reader = GapReader(
            name="sim", inbox=self.inbox, clock=self.clock, read=self.read, catch_up=self.catch_up
        )
        task = asyncio.create_task(reader.run())
        try:
            yield reader
        finally:
            task.cancel()


async def test_a_gap_is_read_soon_and_once_more_when_it_has_settled() -> None:
    rig = Rig()
    rig.inbox.open_gaps = [Gap("a", 70.0, False), Gap("b", 50.0, False)]
    with rig.running():
        await settle()
        await rig.clock.advance(10 * SHORTEST_REST)
        assert rig.reads == [50.0]
        rig.inbox.open_gaps = [Gap("a", 70.0, True), Gap("b", 50.0, False)]
        await rig.clock.advance(10 * LOOK_SECONDS)
        assert rig.reads == [50.0, 70.0]  # the other gap was read, and has not settled
        assert rig.inbox.open_gaps == [Gap("b", 50.0, False)]


async def test_what_the_platform_gave_up_is_read_soon_and_once_more_after_it_stops() -> None:
    rig = Rig()
    with rig.running() as reader:
        await rig.clock.advance(LOOK_SECONDS)
        begin = rig.clock.time() - 60.0
        reader.report_loss(60.0, lasts=100.0)
        await rig.clock.advance(5 * LOOK_SECONDS)
        assert rig.reads == [WATERMARKS, begin]
        reader.report_loss(10.0, lasts=100.0)  # what was reported before settles later
        await rig.clock.advance(200.0)
        assert rig.reads == [WATERMARKS, begin, begin, begin]
        await rig.clock.advance(200.0)
    assert len(rig.reads) == 4


async def test_a_loss_that_is_over_is_read_until_a_read_was_complete() -> None:
    rig = Rig()
    with rig.running() as reader:
        await rig.clock.advance(LOOK_SECONDS)
        rig.result = False
        reader.report_loss(60.0)
        await rig.clock.advance(2 * LOOK_SECONDS)
        rig.result = True
        await rig.clock.advance(10 * READ_AGAIN.longest)
    assert len(rig.reads) == 3


async def test_a_gap_of_later_is_read_at_once() -> None:
    rig = Rig()
    with rig.running():
        await rig.clock.advance(LOOK_SECONDS * 3)
        assert rig.reads == [WATERMARKS]
        rig.inbox.open_gaps = [Gap("a", 70.0, False)]
        await rig.clock.advance(LOOK_SECONDS)
        assert rig.reads == [WATERMARKS, 70.0]


async def test_where_gaps_are_open_one_read_catches_up() -> None:
    """The next process reads everything once."""
    rig = Rig()
    rig.inbox.open_gaps = [Gap("a", 70.0, False)]
    with rig.running():
        await settle()
    with rig.running():
        await settle()
    assert rig.reads == [70.0, 70.0]


@pytest.mark.parametrize("result", [False, Unsettled("later"), RuntimeError("a bug")])
async def test_what_was_not_read_completely_stays_and_is_read_again(
    result: bool | Exception,
) -> None:
    rig = Rig()
    rig.result = result
    rig.inbox.open_gaps = [Gap("a", 70.0, True)]
    with rig.running():
        await settle()
        assert len(rig.reads) == 1
        rig.result = True
        await rig.clock.advance(READ_AGAIN.first)
        assert len(rig.reads) == 2
        assert rig.inbox.open_gaps == []


async def test_a_failing_database_costs_no_gap() -> None:
    rig = Rig()
    rig.inbox.open_gaps, rig.inbox.error = [Gap("a", 70.0, True)], StoreUnavailable("away")
    with rig.running():
        await settle()
        rig.inbox.error = None
        await rig.clock.advance(LOOK_SECONDS)
        assert rig.inbox.open_gaps == []
