"""A process's first reads, its reconnects, and which budget a refused post exhausts."""

from __future__ import annotations

import asyncio

from adapters.slack.pace import AT_START, START_STEP, UNKNOWN_SECONDS, ReadPace
from adapters.slack.rate_limits import CHANNELS_THROTTLED, POSTS, PostThrottles
from adapters.slack.reconnect_pace import AT_ONCE, PAUSES, STABLE_SECONDS, ReconnectPace
from tests.support.clock import ManualClock


async def reads_within(seconds: float, starts: int) -> int:
    """How many reads processes send in that time, if each lives for an equal part of it."""
    clock, sent = ManualClock(), 0

    async def life() -> None:
        nonlocal sent
        pace = ReadPace(clock)
        while True:
            await pace.wait()
            sent += 1
            await clock.sleep(0.01)

    for _ in range(starts):
        task = asyncio.create_task(life())
        await clock.advance(seconds / starts)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return sent


async def test_a_minute_of_restarts_stays_within_slacks_tier() -> None:
    """Tier 3 allows 50 reads a minute: with one process, and with five of twelve seconds each."""
    assert await reads_within(59, starts=1) <= AT_START + 60 / START_STEP
    assert await reads_within(59, starts=5) <= 50  # it was 49 for each process


async def test_after_a_minute_the_budget_alone_decides() -> None:
    clock = ManualClock()
    pace = ReadPace(clock)
    await clock.advance(UNKNOWN_SECONDS)
    for _ in range(100):
        await asyncio.wait_for(pace.wait(), 60)


async def test_only_connections_that_keep_ending_wait_for_an_address() -> None:
    clock = ManualClock()
    pace = ReconnectPace(clock)

    async def count_within(seconds: float) -> int:
        """How many addresses are requested in that time if no connection lasts."""
        asked = 0

        async def ask() -> None:
            nonlocal asked
            while True:
                await pace.wait()
                asked += 1
                await clock.sleep(0.01)

        task = asyncio.create_task(ask())
        await clock.advance(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return asked

    assert await count_within(0.5) == AT_ONCE
    assert await count_within(3_600.0) <= 3_600.0 / PAUSES.longest + AT_ONCE
    await clock.advance(STABLE_SECONDS + PAUSES.longest)
    assert await count_within(0.5) == AT_ONCE


def test_429s_in_several_channels_exhaust_the_workspaces_limit() -> None:
    clock = ManualClock()
    posts = PostThrottles(clock)
    assert posts.record("C1", 300.0) == (f"{POSTS}:C1",)
    assert posts.record("C1", 300.0) == (f"{POSTS}:C1",)
    assert posts.record("C2", 300.0) == (f"{POSTS}:C2",)
    assert CHANNELS_THROTTLED == 3
    assert posts.record("C3", 300.0) == (f"{POSTS}:C3", POSTS)
    clock.jump(301.0)
    assert posts.record("C4", 1.0) == (f"{POSTS}:C4",)
