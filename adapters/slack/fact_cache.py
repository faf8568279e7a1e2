"""Caches the facts that decide what people may do; none is older than `seconds` or survives an
event that it changed.

Unlike in `LookupCache`, a failed lookup raises: an unknown fact must not look like a known one.
Callers that ask for the same fact concurrently share a request, which continues even if they give
up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TTLCache

from adapters.slack.shared_tasks import result_of
from bot.domain.errors import Gone, PlatformError, Unsettled
from bot.ports.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

FRESH_SECONDS = 60.0
"""How old a fact may be, in seconds: see `bot.ports.policy.Directory`."""

MISSING_SCOPE = "missing_scope"
"""An error that is cached like a fact: the scope stays missing until the app is installed again,
and each attempt would count against the rate limit."""


class FactCache(Generic[K, V]):
    """Facts by id. `fetch` returns a fact within `patience` seconds or raises a PlatformError."""

    def __init__(
        self,
        *,
        fetch: Callable[[K], Awaitable[V]],
        clock: Clock,
        size: int,
        patience: float = 30.0,
    ) -> None:
        self._fetch, self._patience = fetch, patience
        self._known: TTLCache[K, V] = TTLCache(size, FRESH_SECONDS, clock.monotonic)
        self._unscoped: TTLCache[K, bool] = TTLCache(size, FRESH_SECONDS, clock.monotonic)
        self._in_flight: dict[K, asyncio.Task[V]] = {}
        self._tasks: set[asyncio.Task[V]] = set()  # also those whose answers no longer count

    async def get(self, id_: K) -> V:
        """Return the fact. Raises a PlatformError: Unsettled if the workspace closes first."""
        if (found := self._known.get(id_)) is not None:
            return found
        if id_ in self._unscoped:
            raise Gone(code=MISSING_SCOPE)
        if id_ not in self._in_flight:
            self._in_flight[id_] = asyncio.create_task(self._look_up(id_))
            self._tasks.add(self._in_flight[id_])
            self._in_flight[id_].add_done_callback(self._end)
        return await result_of(self._in_flight[id_])

    def forget(self, id_: K) -> None:
        """Look the fact up again; a response already under way may predate the change."""
        self._known.pop(id_, None)
        self._in_flight.pop(id_, None)

    def forget_where(self, is_changed: Callable[[K, V], bool]) -> None:
        """Look up again all facts for which `is_changed(id, fact)`, and those being looked up."""
        for id_ in [id_ for id_, fact in self._known.items() if is_changed(id_, fact)]:
            self._known.pop(id_, None)
        self._in_flight.clear()

    async def aclose(self) -> None:
        """Cancel the lookups in flight."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end(self, task: asyncio.Task[V]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # all callers may have stopped waiting

    async def _look_up(self, id_: K) -> V:
        task = asyncio.current_task()
        try:
            async with asyncio.timeout(self._patience):
                fact = await self._fetch(id_)
        except TimeoutError as error:
            raise Unsettled(f"Slack does not say in {self._patience:.0f} s") from error
        except PlatformError as error:
            if error.code == MISSING_SCOPE:
                self._unscoped[id_] = True
            raise
        else:
            if self._in_flight.get(id_) is task:
                self._known[id_] = fact
            return fact
        finally:
            if self._in_flight.get(id_) is task:
                del self._in_flight[id_]
