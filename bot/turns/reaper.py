"""Takes over the turns of dead processes, and turns that no process holds.

Invariant: a turn that no living process works on is found within seconds, whichever signal was
lost. In normal operation nothing waits for the reaper.
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
"""Seconds between routine checks: a random pause in this range, so that processes alternate."""

SOON = 0.05
"""Seconds to wait after a lease ends, or after a check that found much."""

RETRY_SECONDS = 0.5
"""After a look or a burial that failed: a cut connection should cost a take-over no whole pause."""

AT_ONCE = 32
"""The most conversations that one check wakes; other processes or the next check wake the rest."""


class Reaper:
    """Checks repeatedly for turns to take over. `platforms` returns those that can run here now."""

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
        """Check until cancelled."""
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
        """Wake free turns; return the seconds until something is due, or None."""
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
