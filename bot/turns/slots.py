"""Limits how many turns run concurrently, fairly between people rather than between turns.

Invariant: the last free slot is for a person who holds none, so that a first question never waits
for another person's second. A freed slot goes to the waiting person with the fewest. One person may
fill half of the remaining queue, so that it always has room for another.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from itertools import count

from bot.domain.errors import QueueFull

QUEUE_NOTE_SECONDS = 1.0
"""People are not told of a shorter wait."""


class TurnSlots:
    """At most `running` turns run concurrently; at most `queued` more wait."""

    def __init__(self, *, running: int, queued: int) -> None:
        self._only_one = running == 1
        self._free, self._queued = running, queued
        self._held: Counter[Hashable] = Counter()
        self._waiters: dict[Hashable, deque[asyncio.Future[None]]] = {}
        self._waiting = 0
        # The latest grant of each person with a slot or a waiter, numbered in order.
        self._last_grant: dict[Hashable, int] = {}
        self._grant_numbers = count(1)

    @asynccontextmanager
    async def take(self, person: Hashable, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Hold a slot within the block; `on_wait` is called once if getting it takes long.

        Raises QueueFull immediately if the person would have to wait and the queue has no room.
        """
        if not self._may_take(person):
            self._require_room(person)
            await self._wait(person, on_wait)
        else:
            self._grant(person)
        try:
            yield
        finally:
            self._release(person)

    def _may_take(self, person: Hashable) -> bool:
        return self._free > 1 or (self._free == 1 and (self._only_one or not self._held[person]))

    def _require_room(self, person: Hashable) -> None:
        if self._waiting >= self._queued:
            raise QueueFull(own=False)
        own = len(self._waiters.get(person, ()))
        if own >= max(1, self._queued - self._waiting):
            raise QueueFull(own=True)

    async def _wait(self, person: Hashable, on_wait: Callable[[], None]) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = asyncio.get_running_loop().call_later(QUEUE_NOTE_SECONDS, on_wait)
        self._waiters.setdefault(person, deque()).append(waiter)
        self._waiting += 1
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():  # granted just before the cancellation
                self._release(person)
            elif waiter in self._waiters.get(person, ()):
                self._remove(person, waiter)
            raise
        finally:
            timer.cancel()

    def _remove(self, person: Hashable, waiter: asyncio.Future[None]) -> None:
        self._waiters[person].remove(waiter)
        self._waiting -= 1
        if not self._waiters[person]:
            del self._waiters[person]
        self._forget_if_absent(person)

    def _forget_if_absent(self, person: Hashable) -> None:
        if person not in self._held and person not in self._waiters:
            self._last_grant.pop(person, None)

    def _grant(self, person: Hashable) -> None:
        self._free -= 1
        self._held[person] += 1
        self._last_grant[person] = next(self._grant_numbers)

    def _release(self, person: Hashable) -> None:
        self._free += 1
        self._held[person] -= 1
        if not self._held[person]:
            del self._held[person]
        self._forget_if_absent(person)
        while (chosen := self._next_person()) is not None:
            waiter = self._waiters[chosen][0]
            self._remove(chosen, waiter)
            if waiter.done():  # cancelled; its task has not run since
                continue
            self._grant(chosen)
            waiter.set_result(None)

    def _next_person(self) -> Hashable | None:
        """The waiting person with the fewest slots, then with the oldest grant, if one may run."""
        if not self._free or not self._waiters:
            return None
        fewest = min(
            self._waiters, key=lambda person: (self._held[person], self._last_grant.get(person, 0))
        )
        return fewest if self._may_take(fewest) else None
