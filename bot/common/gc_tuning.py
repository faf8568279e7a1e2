"""When the interpreter looks through all its objects for rings that nobody reaches any more.

Such a look takes a tenth of a second and more with a thousand replies at once, and comes when most
is made, which is when most replies are written. Invariant: it comes at a moment at which nobody is
answered; where there is none for ten minutes it comes all the same, so that memory is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Iterator

from bot.ports.clock import Clock

YOUNG, MIDDLE = 1_000, 5
"""New objects after which the new ones are looked through, and how many such looks make one through
the last 5,000, which takes a millisecond or a few."""

NEVER = 1_000_000_000
"""So many of those make one through all objects by itself."""

LOOK_SECONDS = 10.0
"""How often a quiet moment is looked for."""

EVERY_SECONDS = 60.0
"""How long after a full look the next one may come: an idle bot has nothing to look for."""

LATEST_SECONDS = 600.0
"""How long a full look waits for a quiet moment."""


@contextlib.contextmanager
def by_ourselves() -> Iterator[None]:
    """No full look comes by itself, and what was there before (mostly imports) is in none."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def collect_quietly(busy: Callable[[], bool], clock: Clock) -> None:
    """Look through all objects now and then, for ever; `busy` tells whether anybody is answered."""
    last = clock.monotonic()
    while True:
        await clock.sleep(LOOK_SECONDS)
        waited = clock.monotonic() - last
        if waited >= LATEST_SECONDS or (waited >= EVERY_SECONDS and not busy()):
            gc.collect()
            last = clock.monotonic()


@contextlib.asynccontextmanager
async def collecting(busy: Callable[[], bool], clock: Clock) -> AsyncIterator[None]:
    """Both of them, as long as the bot runs."""
    with by_ourselves():
        task = asyncio.create_task(collect_quietly(busy, clock), name="garbage")
        try:
            yield
        finally:
            task.cancel()
