"""Full garbage collections: none while people are answered, and memory is bounded all the same."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from bot.common import gc_tuning
from tests.support.clock import ManualClock


@pytest.fixture
def full() -> Iterator[list[float]]:
    """The full collections, as the interpreter itself tells of them."""
    seen: list[float] = []

    def told(phase: str, info: dict[str, Any]) -> None:
        if phase == "start" and info["generation"] == 2:
            seen.append(0.0)

    gc.callbacks.append(told)
    yield seen
    gc.callbacks.remove(told)


async def test_a_full_collection_waits_until_nobody_is_answered(full: list[float]) -> None:
    """While somebody is answered none comes, however many objects are made; then one does."""
    clock, busy = ManualClock(), [True]
    async with gc_tuning.collecting(lambda: bool(busy), clock):
        kept = [[n] for n in range(300_000)]
        await clock.advance(gc_tuning.EVERY_SECONDS + gc_tuning.LOOK_SECONDS)
        assert full == []
        busy.clear()
        await clock.advance(gc_tuning.LOOK_SECONDS)
        assert len(full) == 1
        await clock.advance(gc_tuning.EVERY_SECONDS / 2)
        assert len(full) == 1
    assert len(kept) == 300_000


async def test_a_full_collection_does_not_wait_for_ever(full: list[float]) -> None:
    """A bot that is never idle is not left to grow."""
    clock = ManualClock()
    async with gc_tuning.collecting(lambda: True, clock):
        await clock.advance(gc_tuning.LATEST_SECONDS + gc_tuning.LOOK_SECONDS)
        assert len(full) == 1


async def test_afterwards_the_interpreter_is_as_it_was() -> None:
    """Whoever runs the bot inside of something else gets its own collector back."""
    before = gc.get_threshold()
    async with gc_tuning.collecting(lambda: False, ManualClock()):
        assert gc.get_threshold() != before
    await asyncio.sleep(0)
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
