"""How many turns run at once, and who of those that wait is next: people in turn, not turns.

Invariant: the last free slot is for a person who has none, so that a first question never waits
for a second one; of those who wait, the next slot goes to the one who has the fewest. A person may
fill half of what the queue has left, so that there is always a place for another.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from itertools import count

from bot.domain.errors import QueueFull

# A wait shorter than this, in seconds, is not worth a word.
QUEUE_NOTE_AFTER = 1.0


class Slots:
    """At most `running` turns at once, and `queued` ones that wait."""

    def __init__(self, *, running: int, queued: int) -> None:
        self._only_one = running == 1
        self._free, self._queued = running, queued
        self._held: Counter[Hashable] = Counter()
        self._lines: dict[Hashable, deque[asyncio.Future[None]]] = {}
        self._waiting = 0
        self._served: dict[Hashable, int] = {}  # when they got one last, of those who are here
        self._grants = count(1)

    @asynccontextmanager
    async def take(self, person: Hashable, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Hold a slot; `on_wait` is called once if that takes noticeably long.

        Raises QueueFull at once where it would have to wait, and may not.
        """
        if not self._may_take(person):
            self._require_room(person)
            await self._wait(person, on_wait)
        else:
            self._grant(person)
        try:
            yield
        finally:
            self._give_back(person)

    def _may_take(self, person: Hashable) -> bool:
        return self._free > 1 or (self._free == 1 and (self._only_one or not self._held[person]))

    def _require_room(self, person: Hashable) -> None:
        if self._waiting >= self._queued:
            raise QueueFull(own=False)
        own = len(self._lines.get(person, ()))
        if own >= max(1, self._queued - self._waiting):
            raise QueueFull(own=True)

    async def _wait(self, person: Hashable, on_wait: Callable[[], None]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = asyncio.get_running_loop().call_later(QUEUE_NOTE_AFTER, on_wait)
        self._lines.setdefault(person, deque()).append(turn)
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was granted in this very moment
                self._give_back(person)
            elif turn in self._lines.get(person, ()):
                self._leave(person, turn)
            raise
        finally:
            timer.cancel()

    def _leave(self, person: Hashable, turn: asyncio.Future[None]) -> None:
        self._lines[person].remove(turn)
        self._waiting -= 1
        if not self._lines[person]:
            del self._lines[person]
        self._forget(person)

    def _forget(self, person: Hashable) -> None:
        if person not in self._held and person not in self._lines:
            self._served.pop(person, None)

    def _grant(self, person: Hashable) -> None:
        self._free -= 1
        self._held[person] += 1
        self._served[person] = next(self._grants)

    def _give_back(self, person: Hashable) -> None:
        self._free += 1
        self._held[person] -= 1
        if not self._held[person]:
            del self._held[person]
        self._forget(person)
        while (chosen := self._next()) is not None:
            turn = self._lines[chosen][0]
            self._leave(chosen, turn)
            if turn.done():  # cancelled, and its owner does not know yet
                continue
            self._grant(chosen)
            turn.set_result(None)

    def _next(self) -> Hashable | None:
        """Who waits and has the fewest slots, of several who got one least lately; None when
        no one may.
        """
        if not self._free or not self._lines:
            return None
        fewest = min(self._lines, key=lambda one: (self._held[one], self._served.get(one, 0)))
        return fewest if self._may_take(fewest) else None
