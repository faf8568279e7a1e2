"""Full garbage collections wait for idle moments, but not indefinitely."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from bot.common import gc_tuning
from tests.support.clock import ManualClock


@pytest.fixture
def full() -> Iterator[list[int]]:
    """One entry for each full collection that the interpreter reports."""
    seen: list[int] = []

    def record(phase: str, info: dict[str, Any]) -> None:
        if phase == "start" and info["generation"] == 2:
            seen.append(2)

    gc.callbacks.append(record)
    yield seen
    gc.callbacks.remove(record)


async def test_a_full_collection_waits_until_no_turn_runs(full: list[int]) -> None:
    """However many objects busy turns create, collection starts only afterwards."""
    clock, busy = ManualClock(), [True]
    async with gc_tuning.collect_when_idle(lambda: bool(busy), clock):
        kept = [[n] for n in range(300_000)]
        await clock.advance(gc_tuning.MIN_INTERVAL_SECONDS + gc_tuning.CHECK_SECONDS)
        assert full == []
        busy.clear()
        await clock.advance(gc_tuning.CHECK_SECONDS)
        assert len(full) == 1
        await clock.advance(gc_tuning.MIN_INTERVAL_SECONDS / 2)
        assert len(full) == 1
    assert len(kept) == 300_000


async def test_a_full_collection_waits_ten_minutes_at_most(full: list[int]) -> None:
    """Otherwise the memory of a bot that is never idle would grow."""
    clock = ManualClock()
    async with gc_tuning.collect_when_idle(lambda: True, clock):
        await clock.advance(gc_tuning.MAX_INTERVAL_SECONDS + gc_tuning.CHECK_SECONDS)
        assert len(full) == 1


async def test_the_interpreters_thresholds_are_restored_afterwards() -> None:
    """Another program may embed the bot."""
    before = gc.get_threshold()
    async with gc_tuning.collect_when_idle(lambda: False, ManualClock()):
        assert gc.get_threshold() != before
    await asyncio.sleep(0)
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
