"""The status in a thread: no turn waits for it, and it is always cleared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.slack.adapter import SlackAdapter
from adapters.slack.status import CLEAR_SECONDS, SESSIONS, SHOW_SECONDS
from bot.domain.leftovers import LeftoverKind
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_isolation import JumpClock
from tests.support.slack_kit import claim, running

CHANNEL = ids.GENERAL


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
def clock() -> JumpClock:
    return JumpClock()


@pytest.fixture
async def slack(sim: SlackSim, inbox: FakeInbox, clock: JumpClock) -> AsyncIterator[SlackAdapter]:
    async with running(sim, inbox, clock=clock) as adapter:
        yield adapter


async def processing(sim: SlackSim) -> list[str]:
    """The threads whose session has the status "processing"."""
    sessions: list[dict[str, Any]] = (await sim.state())["sessions"]
    return [one["thread_ts"] for one in sessions if one["status"] == "processing"]


async def until_processing(sim: SlackSim, *threads: str) -> None:
    async def matches() -> bool:
        return await processing(sim) == list(threads)

    await sim.until(matches)


async def test_a_turn_ends_though_its_status_cannot_be_cleared(
    sim: SlackSim, slack: SlackAdapter, clock: JumpClock
) -> None:
    """Slack refuses for five minutes; then the status is cleared in the background."""
    ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    surface = slack.surface(claim(CHANNEL, ts))
    await surface.open()
    await until_processing(sim, ts)
    await sim.throttle(SESSIONS, 300.0)
    began = clock.monotonic()
    await surface.close()
    assert clock.monotonic() - began < CLEAR_SECONDS + 3
    assert await processing(sim) == [ts]
    await sim.throttle(SESSIONS, 0.0)
    clock.jump(301.0)
    await until_processing(sim)


async def test_the_next_turn_takes_over_the_status(
    sim: SlackSim, slack: SlackAdapter, clock: JumpClock
) -> None:
    """Clearing the earlier turn's status must not clear the later turn's."""
    ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    first, second = (slack.surface(claim(CHANNEL, ts, turn=turn)) for turn in (7, 8))
    await first.open()
    await until_processing(sim, ts)
    await sim.throttle(SESSIONS, 300.0)
    await first.close()
    await sim.throttle(SESSIONS, 0.0)
    await second.open()
    clock.jump(301.0)
    await asyncio.sleep(0)
    await until_processing(sim, ts)
    await second.close()
    await until_processing(sim)


async def test_a_status_whose_response_was_lost_is_cleared(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """The connection was lost after Slack had set the status."""
    ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    await sim.call("fault", match=SESSIONS, drop=True, after=True)
    surface = slack.surface(claim(CHANNEL, ts))
    await surface.open()
    await until_processing(sim, ts)
    await surface.close()
    await until_processing(sim)


async def leave_a_status(sim: SlackSim, inbox: FakeInbox, clock: JumpClock) -> str:
    """A process whose turn ends while Slack refuses to clear its status, and which then ends too.

    Returns the thread.
    """
    ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    async with running(sim, inbox, clock=clock) as slack:
        surface = slack.surface(claim(CHANNEL, ts))
        await surface.open()
        await until_processing(sim, ts)
        await sim.throttle(SESSIONS, 300.0)
        await surface.close()
        assert [each.kind for each in inbox.left] == [LeftoverKind.STATUS]  # before the turn ends
    await sim.throttle(SESSIONS, 0.0)
    return ts


async def until_settled(sim: SlackSim, inbox: FakeInbox, clock: JumpClock) -> None:
    """Wait until no status and no leftover remain."""

    async def is_settled() -> bool:
        clock.jump(1.0)
        return not await processing(sim) and not inbox.left

    await sim.until(is_settled, 60.0, pause=0.02)


async def test_the_next_start_clears_a_status_that_a_finished_turn_left(
    sim: SlackSim, clock: JumpClock
) -> None:
    """One request is enough, however many other conversations there are."""
    inbox = FakeInbox()
    await leave_a_status(sim, inbox, clock)
    before = len(await sim.requests(SESSIONS))
    async with running(sim, inbox, clock=clock):
        await until_settled(sim, inbox, clock)
    assert len(await sim.requests(SESSIONS)) == before + 1


async def test_another_process_clears_it_once_no_turn_is_at_work_there(
    sim: SlackSim, clock: JumpClock
) -> None:
    """The other process has been running all along; the thread's next turn does not know about the
    status."""
    inbox = FakeInbox()
    async with running(sim, inbox, clock=clock):
        ts = await leave_a_status(sim, FakeInbox(left=inbox.left), clock)
        inbox.busy = {inbox.left[0].conversation}
        for _ in range(60):
            clock.jump(1.0)
            await asyncio.sleep(0.005)
        assert await processing(sim) == [ts]
        inbox.busy = set()
        await until_settled(sim, inbox, clock)


async def test_a_status_that_is_cleared_in_time_costs_no_commit(
    sim: SlackSim, slack: SlackAdapter, inbox: FakeInbox
) -> None:
    ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    surface = slack.surface(claim(CHANNEL, ts))
    await surface.open()
    await until_processing(sim, ts)
    await surface.close()
    await until_processing(sim)
    assert inbox.left == []


async def test_a_later_turn_that_takes_the_status_over_settles_it(
    sim: SlackSim, slack: SlackAdapter, inbox: FakeInbox, clock: JumpClock
) -> None:
    ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    first, second = (slack.surface(claim(CHANNEL, ts, turn=turn)) for turn in (7, 8))
    await first.open()
    await until_processing(sim, ts)
    await sim.throttle(SESSIONS, 300.0)
    await first.close()
    assert len(inbox.left) == 1
    await sim.throttle(SESSIONS, 0.0)
    clock.jump(301.0)
    await second.open()
    await second.close()
    await until_settled(sim, inbox, clock)


async def test_a_turn_that_another_process_continues_leaves_the_status_to_be_cleared(
    sim: SlackSim, slack: SlackAdapter, inbox: FakeInbox, clock: JumpClock
) -> None:
    """The later turn had taken over the earlier one's record, and then lost its lease."""
    ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    first, second = (slack.surface(claim(CHANNEL, ts, turn=turn)) for turn in (7, 8))
    await first.open()
    await until_processing(sim, ts)
    await sim.throttle(SESSIONS, 300.0)
    await first.close()
    assert len(inbox.left) == 1
    await second.open()
    await asyncio.sleep(0)  # the status task takes over before its first request
    await second.abandon()
    await sim.throttle(SESSIONS, 0.0)
    await until_settled(sim, inbox, clock)


async def test_a_status_that_is_set_late_is_cleared_after_it(
    sim: SlackSim, slack: SlackAdapter, inbox: FakeInbox
) -> None:
    """Slack sets the status after the request timed out and the reply has ended."""
    ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    await sim.call("fault", match=SESSIONS, delay=SHOW_SECONDS + 1.0)
    surface = slack.surface(claim(CHANNEL, ts))
    await surface.open()
    await sim.until(lambda: sim.requests(SESSIONS))
    await surface.close()
    assert len(inbox.left) == 1

    async def is_settled() -> bool:
        return not inbox.left

    await sim.until(is_settled, 60.0)
    statuses = [one["body"]["status"] for one in await sim.requests(SESSIONS)]
    assert statuses == ["processing", "active"]
    assert await processing(sim) == []
