"""The sign that the bot is at work: nothing waits for it, and none stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.slack.adapter import SlackAdapter
from adapters.slack.status import CLEAR_SECONDS, SESSIONS
from bot.domain.conversations import Conversation
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.slack_isolation import JumpClock
from tests.support.slack_kit import FakeInbox, claim, key, running

CHANNEL = ids.GENERAL


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
def clock() -> JumpClock:
    return JumpClock()


@pytest.fixture
def inbox() -> FakeInbox:
    return FakeInbox()


@pytest.fixture
async def slack(sim: SlackSim, inbox: FakeInbox, clock: JumpClock) -> AsyncIterator[SlackAdapter]:
    async with running(sim, inbox, clock=clock) as adapter:
        yield adapter


async def processing(sim: SlackSim) -> list[str]:
    """The threads whose session says that the bot is at work."""
    sessions: list[dict[str, Any]] = (await sim.state())["sessions"]
    return [one["thread_ts"] for one in sessions if one["status"] == "processing"]


async def until_processing(sim: SlackSim, *threads: str) -> None:
    async def so() -> bool:
        return await processing(sim) == list(threads)

    await sim.until(so)


async def test_a_turn_ends_though_its_status_cannot_be_cleared(
    sim: SlackSim, slack: SlackAdapter, clock: JumpClock
) -> None:
    """Slack refuses for five minutes; it is cleared behind the turn."""
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


async def test_the_next_turn_takes_a_status_over(
    sim: SlackSim, slack: SlackAdapter, clock: JumpClock
) -> None:
    """What is cleared for the earlier turn must not clear the later one's."""
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


async def test_a_status_that_never_got_an_answer_is_cleared(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """The connection was dropped after Slack had set it."""
    ts = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    await sim.call("fault", match=SESSIONS, drop=True, after=True)
    surface = slack.surface(claim(CHANNEL, ts))
    await surface.open()
    await until_processing(sim, ts)
    await surface.close()
    await until_processing(sim)


async def test_a_start_clears_what_a_process_left_behind_its_turns(
    sim: SlackSim, clock: JumpClock
) -> None:
    """The turn had ended, its status was still to be cleared, and the process died."""
    left = await sim.say(ids.ALICE, CHANNEL, "?", mention=True)
    inbox = FakeInbox()
    async with running(sim, inbox, clock=clock) as slack:
        surface = slack.surface(claim(CHANNEL, left))
        await surface.open()
        await until_processing(sim, left)
    now = clock.time()
    inbox.talked_in = [Conversation(1, key(CHANNEL, left), "q", None, 1, now, now)]
    async with running(sim, inbox, clock=clock):
        await until_processing(sim)
