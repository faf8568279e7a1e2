"""The queue of reads: order, retries and failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bot.catchup.backfill_queue import ATTEMPTS, CONCURRENCY, BackfillQueue
from bot.common.clock import SystemClock
from bot.domain.errors import Gone, Refused, StoreUnavailable, Throttled, Unsettled
from tests.support.clock import ManualClock


def failing(error: Exception) -> Callable[[], Awaitable[bool]]:
    async def step() -> bool:
        raise error

    return step


async def test_reads_run_by_rank_and_repeat_while_there_is_more() -> None:
    queue, order = BackfillQueue(SystemClock()), []
    pages = {"long": 3, "first": 1, "last": 1}

    def step_of(name: str) -> Callable[[], Awaitable[bool]]:
        async def step() -> bool:
            order.append(name)
            pages[name] -= 1
            await asyncio.sleep(0)
            return pages[name] > 0

        return step

    reads = [("last", 9), ("long", 5), ("first", 1)]
    results = [queue.add(name, (rank,), step_of(name)) for name, rank in reads]
    assert await asyncio.gather(*results) == [True, True, True]
    assert sorted(order) == ["first", "last", "long", "long", "long"]


async def test_a_waiting_read_with_a_lower_rank_overtakes_the_others() -> None:
    queue, order, doors = BackfillQueue(SystemClock()), [], asyncio.Event()

    def step_of(name: str) -> Callable[[], Awaitable[bool]]:
        async def step() -> bool:
            order.append(name)
            await doors.wait()
            return False

        return step

    results = [queue.add("busy", (0,), step_of("busy")) for _ in range(CONCURRENCY)]
    results += [queue.add(str(rank), (rank,), step_of(str(rank))) for rank in (3, 1, 2)]
    await asyncio.sleep(0)
    assert order == ["busy"] * CONCURRENCY
    doors.set()
    await asyncio.gather(*results)
    assert order[CONCURRENCY:] == ["1", "2", "3"]


@pytest.mark.parametrize("error", [Unsettled("?"), StoreUnavailable("full"), Throttled(3.0)])
async def test_a_failing_read_is_retried_a_limited_number_of_times(error: Exception) -> None:
    clock = ManualClock()
    queue, attempts = BackfillQueue(clock), 0

    async def step() -> bool:
        nonlocal attempts
        attempts += 1
        raise error

    result = queue.add("x", (0,), step)
    for _ in range(2 * ATTEMPTS):
        await clock.advance(60)
    assert await result is False
    assert attempts == ATTEMPTS


@pytest.mark.parametrize("error", [Gone("no such channel"), Refused("never")])
async def test_a_refused_read_is_skipped_without_a_retry(error: Exception) -> None:
    assert await BackfillQueue(SystemClock()).add("x", (0,), failing(error)) is True


async def test_a_bug_in_one_read_does_not_stop_the_others() -> None:
    queue = BackfillQueue(SystemClock())

    async def succeed() -> bool:
        return False

    results = [
        queue.add("broken", (0,), failing(KeyError("ts"))),
        queue.add("fine", (1,), succeed),
    ]
    assert await asyncio.gather(*results) == [False, True]
