"""The status in a thread: no turn waits for it, and it is always cleared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.slack.adapter import SlackAdapter
from adapters.slack.status import CLEAR_SECONDS, MAX_REFUSALS, SESSIONS
from bot.domain.conversations import Conversation
from bot.domain.inbox import Gap
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_isolation import JumpClock
from tests.support.slack_kit import claim, key, running, until

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


def conversation_at(thread: str, at: float) -> Conversation:
    """A conversation in which people talked last at `at`, in Unix seconds."""
    return Conversation(1, key(CHANNEL, thread), "q", None, 1, at, at)


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
    """Clearing for the earlier turn must not clear the later turn's status."""
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


async def test_a_start_clears_the_status_of_a_finished_turn(
    sim: SlackSim, clock: JumpClock
) -> None:
    """The process died after the turn and before its status was cleared."""
    left = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    inbox = FakeInbox()
    async with running(sim, inbox, clock=clock) as slack:
        surface = slack.surface(claim(CHANNEL, left))
        await surface.open()
        await until_processing(sim, left)
    inbox.active_conversations = [conversation_at(left, clock.time())]
    async with running(sim, inbox, clock=clock):
        await until_processing(sim)


async def test_a_start_sweeps_all_threads_of_the_last_day(sim: SlackSim, clock: JumpClock) -> None:
    """A left-over status is found behind a hundred later threads and after several hours."""
    await sim.limits(enabled=False)
    left = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    inbox = FakeInbox()
    async with running(sim, inbox, clock=clock) as slack:
        await slack.surface(claim(CHANNEL, left)).open()
        await until_processing(sim, left)
    now = clock.time()
    later = [conversation_at(f"{now - number:.6f}", now - number) for number in range(100)]
    inbox.active_conversations = [*later, conversation_at(left, now - 6 * 3_600)]
    async with running(sim, inbox, clock=clock):

        async def is_cleared() -> bool:
            clock.jump(1.0)
            return not await processing(sim)

        await sim.until(is_cleared, 60.0, pause=0.02)


async def test_what_another_process_left_is_cleared_with_the_read_of_its_gap(
    sim: SlackSim, clock: JumpClock
) -> None:
    """The process that sweeps started long before the other one died."""
    left = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    inbox = FakeInbox()
    async with running(sim, inbox, clock=clock):
        await until(lambda: inbox.marks)
        async with running(sim, FakeInbox(), clock=clock) as other:
            await other.surface(claim(CHANNEL, left)).open()
            await until_processing(sim, left)
        now = clock.time()
        inbox.active_conversations = [conversation_at(left, now)]
        inbox.open_gaps = [Gap("dead", now - 60.0, False)]

        async def is_cleared() -> bool:
            clock.jump(1.0)
            return not await processing(sim)

        await sim.until(is_cleared, 60.0, pause=0.02)


async def test_the_sweep_ends_if_the_app_is_no_agent(sim: SlackSim, clock: JumpClock) -> None:
    """Slack then refuses every request."""
    await sim.limits(enabled=False)
    await sim.agent(False)
    inbox, now = FakeInbox(), clock.time()
    async with running(sim, inbox, clock=clock):
        await until(lambda: inbox.marks)  # the first start has nothing to sweep
    inbox.active_conversations = [
        conversation_at(f"{now - number:.6f}", now - number) for number in range(2 * MAX_REFUSALS)
    ]
    async with running(sim, inbox, clock=clock):

        async def enough() -> bool:
            clock.jump(1.0)
            return len(await sim.requests(SESSIONS)) >= MAX_REFUSALS

        await sim.until(enough, 60.0, pause=0.02)
        for _ in range(20):
            clock.jump(1.0)
            await asyncio.sleep(0.01)
        assert len(await sim.requests(SESSIONS)) == MAX_REFUSALS
