"""Takes over the turns of processes that died, and those that no process holds.

Invariant: a turn in the database that no living process works on is found within seconds, whichever
signal was lost. In the normal course nothing waits for this.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from contextlib import suppress

import structlog

from bot.domain.cluster import Signal, SignalKind
from bot.domain.errors import StoreUnavailable
from bot.ports.cluster import Cluster, LeaseStore
from bot.turns.shared_scheduler import SharedScheduler

log = structlog.stdlib.get_logger(__name__)

LOOK_SECONDS = (1.5, 2.5)
"""Between two looks without a reason: random, so that the processes take turns."""

SOON = 0.05
"""After the end of a lease, or between two looks that found much, in seconds."""

RETRY_SECONDS = 0.5
"""After a look or a burial that failed: a cut connection should cost a take-over no whole pause."""

AT_ONCE = 32
"""Conversations that one look wakes: the rest is for other processes, or the next look."""


class Reaper:
    """Looks again and again. `platforms` returns those whose turns can run here now."""

    def __init__(
        self,
        *,
        store: LeaseStore,
        cluster: Cluster,
        scheduler: SharedScheduler,
        platforms: Callable[[], Collection[str]],
    ) -> None:
        self._store, self._cluster, self._scheduler = store, cluster, scheduler
        self._platforms = platforms
        self._asked = asyncio.Event()
        scheduler.connect(self._asked.set)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            pause = random.uniform(*LOOK_SECONDS)  # noqa: S311 - spreads the looks
            self._asked.clear()
            try:
                wait = await self._look()
                pause = pause if wait is None else min(pause, max(wait, 0.0) + SOON)
            except StoreUnavailable as error:
                log.debug("cannot look for turns", error=str(error))
                pause = RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._asked.wait()

    async def _look(self) -> float | None:
        """Wake what is free; returns the seconds to the next look, None if there is no reason."""
        platforms = sorted(self._platforms())
        if not platforms:
            return None
        found = await self._store.look(platforms, AT_ONCE)
        for conversation in found.conversations:
            self._scheduler.wake_here(conversation)
        if found.dead and self._cluster.is_steady:
            freed = await self._store.reap(found.at)
            if freed:
                log.warning("took over the turns of a dead process", turns=len(freed))
                self._cluster.send(Signal(SignalKind.WAKE))
            return 0.0
        if len(found.conversations) == AT_ONCE:
            return 0.0
        return 1.0 if found.dead else found.wait
