"""What a process could not remove is removed by the next one, once, unless it is in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from bot.catchup.leftovers import KEPT_SECONDS, LOOK_SECONDS, PAUSES, Leftovers
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone, Refused, StoreUnavailable, Throttled, Unsettled
from bot.domain.leftovers import Leftover, LeftoverKind
from tests.support.clock import ManualClock, settle
from tests.support.fake_inbox import FakeInbox

PAGE = Leftover(1, LeftoverKind.MESSAGE, "c", "m", "w")
STATUS = Leftover(1, LeftoverKind.STATUS, "c", "t", "w")


class Rig:
    """Leftovers whose removals raise the errors that the test sets, by name."""

    def __init__(self) -> None:
        self.inbox, self.clock = FakeInbox(), ManualClock()
        self.sent: list[str] = []
        self.raises: dict[str, Exception] = {}
        self.leftovers = Leftovers(
            platform="sim", inbox=self.inbox, clock=self.clock, remove=self.remove
        )

    async def remove(self, leftover: Leftover) -> None:
        self.sent.append(leftover.name)
        if (error := self.raises.get(leftover.name)) is not None:
            raise error

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.leftovers.running():
            await settle()
            yield


async def test_a_start_removes_each_thing_once() -> None:
    rig = Rig()
    for each in (PAGE, STATUS):
        await rig.inbox.add_leftover(each)
    async with rig.running():
        await rig.clock.advance(3 * LOOK_SECONDS)
    assert rig.sent == ["m", "t"]
    assert rig.inbox.left == []


async def test_what_this_process_still_removes_is_left_to_it() -> None:
    rig = Rig()
    async with rig.running():
        await rig.leftovers.record(PAGE)
        await rig.clock.advance(5 * LOOK_SECONDS)
        assert rig.sent == []
        rig.leftovers.release(PAGE)
        await rig.clock.advance(LOOK_SECONDS)
        assert rig.sent == ["m"]


async def test_a_leftover_that_another_process_recorded_is_checked_once_more() -> None:
    """The other process is probably still trying."""
    rig = Rig()
    async with rig.running():
        await rig.inbox.add_leftover(PAGE)
        await rig.clock.advance(LOOK_SECONDS)
        assert rig.sent == []
        await rig.clock.advance(LOOK_SECONDS)
        assert rig.sent == ["m"]


@pytest.mark.parametrize("error", [Gone("it is gone"), Refused("no")])
async def test_what_the_platform_refuses_for_good_is_forgotten(error: Exception) -> None:
    rig = Rig()
    rig.raises["m"] = error
    await rig.inbox.add_leftover(PAGE)
    async with rig.running():
        await rig.clock.advance(5 * LOOK_SECONDS)
    assert rig.sent == ["m"]
    assert rig.inbox.left == []


@pytest.mark.parametrize("error", [Unsettled("?"), Throttled(30.0), RuntimeError("a bug")])
async def test_one_failure_costs_one_thing_and_is_repeated_later(error: Exception) -> None:
    rig = Rig()
    rig.raises["m"] = error
    for each in (PAGE, STATUS):
        await rig.inbox.add_leftover(each)
    async with rig.running():
        assert rig.sent == ["m", "t"]
        assert rig.inbox.left == [PAGE]
        del rig.raises["m"]
        await rig.clock.advance(PAUSES.first + LOOK_SECONDS + 30.0)
        assert rig.sent == ["m", "t", "m"]
    assert rig.inbox.left == []


async def test_a_removal_that_hangs_ends() -> None:
    rig = Rig()

    async def hang(leftover: Leftover) -> None:
        rig.sent.append(leftover.name)
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    rig.leftovers = Leftovers(platform="sim", inbox=rig.inbox, clock=rig.clock, remove=hang)
    for each in (PAGE, STATUS):
        await rig.inbox.add_leftover(each)
    async with rig.running():
        assert rig.sent == ["m", "t"]
    assert rig.inbox.left == [PAGE, STATUS]


async def test_a_message_that_became_a_page_after_all_stays() -> None:
    rig = Rig()
    rig.inbox.conversations["sim/w/c/m"] = ConversationKey("sim", "w", "c", "t")
    await rig.inbox.add_leftover(PAGE)
    async with rig.running():
        await rig.clock.advance(LOOK_SECONDS)
    assert rig.sent == []
    assert rig.inbox.left == []


async def test_a_leftover_is_given_up_after_a_day() -> None:
    rig = Rig()
    rig.raises["m"] = Unsettled("?")
    await rig.inbox.add_leftover(replace(PAGE, created_at=rig.clock.time()))
    with capture_logs() as lines:
        async with rig.running():
            await rig.clock.advance(KEPT_SECONDS + PAUSES.longest + LOOK_SECONDS)
    assert rig.inbox.left == []
    warned = [line["event"] for line in lines if line["log_level"] == "warning"]
    assert warned == ["a leftover is given up"]


async def test_removals_that_hang_do_not_hold_up_another() -> None:
    rig = Rig()

    async def hang_or_remove(leftover: Leftover) -> None:
        if leftover.name.startswith("hangs"):
            await asyncio.Event().wait()
        await rig.remove(leftover)

    rig.leftovers = Leftovers(
        platform="sim", inbox=rig.inbox, clock=rig.clock, remove=hang_or_remove
    )
    for number in range(5):
        await rig.inbox.add_leftover(replace(PAGE, name=f"hangs {number}"))
    await rig.inbox.add_leftover(PAGE)
    async with rig.running():
        assert rig.sent == ["m"]
    assert len(rig.inbox.left) == 5


@pytest.mark.parametrize("kind", [LeftoverKind.STATUS, LeftoverKind.THREAD, LeftoverKind.FILE])
async def test_a_leftover_that_an_unfinished_turn_may_need_waits_for_its_end(
    kind: LeftoverKind,
) -> None:
    """An example is a thread that an earlier attempt abandoned before it posted anything."""
    rig = Rig()
    rig.inbox.busy = {PAGE.conversation}
    await rig.inbox.add_leftover(replace(PAGE, kind=kind))
    async with rig.running():
        await rig.clock.advance(5 * LOOK_SECONDS)
        assert rig.sent == []
        rig.inbox.busy = set()
        await rig.clock.advance(PAUSES.longest + LOOK_SECONDS)
    assert rig.sent == ["m"]


@pytest.mark.parametrize("method", ["leave", "record"])
async def test_a_leftover_that_a_cancelled_task_was_recording_is_removed(method: str) -> None:
    """The record may or may not be in the database, which did not say."""
    rig = Rig()
    async with rig.running():
        rig.inbox.error = StoreUnavailable("slow")
        recording = asyncio.create_task(getattr(rig.leftovers, method)(PAGE))
        await settle()
        recording.cancel()
        rig.inbox.error = None
        await settle()
        await rig.inbox.add_leftover(PAGE)
        await rig.clock.advance(2 * LOOK_SECONDS)
    assert rig.sent == ["m"]


async def test_recording_waits_for_the_database() -> None:
    """Otherwise the turn could end without anyone knowing about the leftover."""
    rig = Rig()
    rig.inbox.error = StoreUnavailable("the disk is full")
    recording = asyncio.create_task(rig.leftovers.record(PAGE))
    await rig.clock.advance(5.0)
    assert not recording.done()
    rig.inbox.error = None
    await rig.clock.advance(10.0)
    await recording
    assert rig.inbox.left == [PAGE]
