"""Schedules full garbage collections for idle moments.

A full collection takes a tenth of a second and more with a thousand replies in memory, and would
otherwise start while most objects are created, which is when most replies are being written.
Invariant: full collections run while no turn does, or after ten busy minutes, to bound memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Iterator

from bot.ports.clock import Clock

YOUNG_THRESHOLD, MIDDLE_THRESHOLD = 1_000, 5
"""Allocations between two collections of the youngest generation, and how many of those lead to one
of the last 5,000 objects, which takes a millisecond or a few."""

NEVER = 1_000_000_000
"""As the third threshold: CPython starts no full collection."""

CHECK_SECONDS = 10.0
"""Time between two checks for an idle moment."""

MIN_INTERVAL_SECONDS = 60.0
"""Time between two full collections: an idle bot has nothing to collect."""

MAX_INTERVAL_SECONDS = 600.0
"""How long a full collection waits for an idle moment."""


@contextlib.asynccontextmanager
async def collect_when_idle(busy: Callable[[], bool], clock: Clock) -> AsyncIterator[None]:
    """Run full collections only while `busy` is false, as long as the block runs."""
    with _no_automatic_full_collections():
        task = asyncio.create_task(_collect_when_idle(busy, clock), name="garbage collection")
        try:
            yield
        finally:
            task.cancel()


@contextlib.contextmanager
def _no_automatic_full_collections() -> Iterator[None]:
    """Also exempts existing objects, mostly of imported modules, from collections."""
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
