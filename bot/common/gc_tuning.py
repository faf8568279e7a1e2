"""Schedules full garbage collections for idle moments.

With a thousand replies in memory, a full collection takes a tenth of a second or more. CPython
would start it while most objects are created, which is when most replies are being written.
Invariant: full collections run only when no turn is running, or after ten busy minutes, to bound
memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Iterator

from bot.ports.clock import Clock

YOUNG_THRESHOLD, MIDDLE_THRESHOLD = 1_000, 5
"""The number of allocations between two collections of the youngest generation, and the number of
these between two of the middle generation, which scans the last 5,000 objects in a few
milliseconds."""

NEVER = 1_000_000_000
"""As the third threshold, this keeps CPython from ever starting a full collection."""

CHECK_SECONDS = 10.0
"""Seconds between two checks for an idle moment."""

MIN_INTERVAL_SECONDS = 60.0
"""Minimum seconds between two full collections, because an idle bot has nothing to collect."""

MAX_INTERVAL_SECONDS = 600.0
"""The longest wait of a full collection for an idle moment."""


@contextlib.asynccontextmanager
async def collect_when_idle(busy: Callable[[], bool], clock: Clock) -> AsyncIterator[None]:
    """While inside the block, run full collections only when `busy` returns false."""
    with _no_automatic_full_collections():
        task = asyncio.create_task(_collect_when_idle(busy, clock), name="garbage collection")
        try:
            yield
        finally:
            task.cancel()


@contextlib.contextmanager
def _no_automatic_full_collections() -> Iterator[None]:
    """Disable full collections, and exempt existing objects, mostly of imported modules, from
    collections."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(YOUNG_THRESHOLD, MIDDLE_THRESHOLD, NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _collect_when_idle(busy: Callable[[], bool], clock: Clock) -> None:
    last = clock.monotonic()
    while True:
        await clock.sleep(CHECK_SECONDS)
        waited = clock.monotonic() - last
        if waited >= MAX_INTERVAL_SECONDS or (waited >= MIN_INTERVAL_SECONDS and not busy()):
            gc.collect()
            last = clock.monotonic()
