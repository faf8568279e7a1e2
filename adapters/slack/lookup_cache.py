"""Caches values that Slack returns by id, such as people's names and channels' kinds.

A caller waits a limited time for a missing value; a response that arrives later serves the next
caller. An expired value is used until a newer one arrives, since names seldom change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog
from cachetools import LRUCache

from bot.domain.errors import PlatformError
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

MAX_VALUES = 5_000  # about 1 MB
FRESH_SECONDS = 3_600.0  # how long a value is fresh
FAILED_SECONDS = 60.0  # how long to wait before a failed lookup is repeated
MAX_IN_FLIGHT = 50  # concurrent lookups; the rate limit is about 100 a minute
FETCH_SECONDS = 30.0  # the timeout of a lookup, including the wait for the rate limit


class LookupCache:
    """Looks up ids with `fetch`, which returns a value or raises a PlatformError."""

    def __init__(self, *, fetch: Callable[[str], Awaitable[str]], clock: Clock) -> None:
        self._fetch, self._clock = fetch, clock
        self._values: LRUCache[str, tuple[float, str]] = LRUCache(MAX_VALUES)  # expiry, value
        self._in_flight: dict[str, asyncio.Task[None]] = {}

    async def get(self, ids: Iterable[str], within: float) -> dict[str, str]:
        """The values by id that are known after at most `within` seconds."""
        wanted = tuple(dict.fromkeys(ids))
        tasks = [task for id_ in wanted if (task := self._refresh(id_)) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within)
        return {id_: value for id_ in wanted if (value := self._latest(id_))}

    def store(self, id_: str, value: str, seconds: float = FRESH_SECONDS) -> None:
        """Store a value that is fresh for `seconds`; "" if the id has none."""
        self._values[id_] = (self._clock.monotonic() + seconds, value)

    async def aclose(self) -> None:
        """Cancel the lookups in flight."""
        tasks = tuple(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _latest(self, id_: str) -> str:
        """The last known value, even if it has expired."""
        return self._values.get(id_, (0.0, ""))[1]

    def _is_fresh(self, id_: str) -> bool:
        return self._clock.monotonic() < self._values.get(id_, (float("-inf"), ""))[0]

    def _refresh(self, id_: str) -> asyncio.Task[None] | None:
        if self._is_fresh(id_):
            return None
        if id_ not in self._in_flight and len(self._in_flight) < MAX_IN_FLIGHT:
            task = asyncio.create_task(self._look_up(id_))
            self._in_flight[id_] = task
            task.add_done_callback(lambda _: self._in_flight.pop(id_, None))
        return self._in_flight.get(id_)

    async def _look_up(self, id_: str) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                self.store(id_, await self._fetch(id_))
        except (PlatformError, TimeoutError) as error:
            log.debug("lookup failed", id=id_, error=repr(error))
            self.store(id_, self._latest(id_), FAILED_SECONDS)
