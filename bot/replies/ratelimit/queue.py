"""Those who wait for budgets, each for what it gets last, and when to look for that again.

Invariant: the most urgent of those who wait for the same comes first; who left is found nowhere.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from bot.domain.replies import Priority, Request, Stake

Plan = Callable[[], Request | None]
Rank = Callable[[], tuple[Priority, float]]


KEEP, BEGIN = " keep", " begin"
"""What is waited for besides a request of a scope: one to keep of it, or the time to begin."""


def keys_of(scope: str) -> tuple[str, str, str]:
    """All that may be waited for at a scope."""
    return scope, scope + KEEP, scope + BEGIN


class Offer:
    """One who waits. `planned` is the last plan, so that most that have no room need not plan
    anew to know it; `granted` is the one that was granted, at `taken_at`.
    """

    __slots__ = (
        *("granted", "keeps", "order", "parked", "plan", "planned", "rank", "result", "stake"),
        *("taken_at", "ticket", "urgency"),
    )

    def __init__(self, plan: Plan, rank: Rank, order: int, stake: Stake | None) -> None:
        self.plan, self.rank, self.order, self.stake = plan, rank, order, stake
        self.planned: Request | None = None
        self.granted: Request | None = None
        self.keeps: tuple[str, ...] = ()  # what the stake kept before the grant
        self.urgency = rank()
        self.parked: str | None = None
        self.ticket = 0  # which of its entries in the waiting room is the one that counts
        self.taken_at: float | None = None
        self.result: asyncio.Future[Request | None] = asyncio.get_running_loop().create_future()

    @property
    def kept(self) -> tuple[str, ...]:
        """The budgets of which one request is kept for this one's reply."""
        return self.stake.keeps if self.stake is not None else ()


@dataclass(slots=True)
class _Group:
    """Those who wait for one thing; who left stays in the heap until it comes to the top."""

    heap: list[tuple[tuple[Priority, float], int, int, Offer]] = field(default_factory=list)
    waiting: int = 0


class WaitingRoom:
    """Offers in groups by what they wait for (`keys_of`).

    Who is in a group is held up like the most urgent of it, so that one look tells of all.
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._tickets = count(1)  # no two entries are alike: offers have no order of their own
        self._wakes: list[tuple[float, str]] = []
        self._wake_of: dict[str, float] = {}

    def __len__(self) -> int:
        return sum(group.waiting for group in self._groups.values())

    def __contains__(self, scope: str) -> bool:
        return any(key in self._groups for key in keys_of(scope))

    def park(self, offer: Offer, key: str, until: float) -> None:
        """Let an offer wait for what may be there at `until`."""
        offer.parked, offer.ticket = key, next(self._tickets)
        group = self._groups.setdefault(key, _Group())
        group.waiting += 1
        heapq.heappush(group.heap, (offer.urgency, offer.order, offer.ticket, offer))
        self.wake(key, until)

    def look(self, scope: str, at: float) -> None:
        """Those who wait for anything of a scope may have it at `at` already."""
        for key in keys_of(scope):
            self.wake(key, at)

    def wake(self, key: str, at: float) -> None:
        """Those who wait for this may have it at `at` already."""
        if key in self._groups and at < self._wake_of.get(key, float("inf")):
            self._wake_of[key] = at
            heapq.heappush(self._wakes, (at, key))

    def due(self, now: float) -> list[str]:
        """What there may be now, by the keys of those who wait for it."""
        due: list[str] = []
        while self._wakes and self._wakes[0][0] <= now:
            at, key = heapq.heappop(self._wakes)
            if self._wake_of.get(key) == at:
                del self._wake_of[key]
                due.append(key)
        return due

    def first(self, key: str) -> Offer | None:
        """The most urgent of a group, ranked anew: waiting makes nobody more urgent than others.

        Each is ranked once a look: that of a reply which is all on the screen falls all the time.
        """
        group, ranked = self._groups.get(key), set[int]()
        while group is not None and group.heap:
            known, order, ticket, offer = group.heap[0]
            if offer.parked != key or offer.ticket != ticket or offer.result.done():
                heapq.heappop(group.heap)
                continue
            if ticket not in ranked:
                ranked.add(ticket)
                offer.urgency = offer.rank()
            if offer.urgency <= known:
                return offer
            heapq.heapreplace(group.heap, (offer.urgency, order, ticket, offer))
        return None

    def leave(self, offer: Offer) -> None:
        """Take one out, wherever it waits."""
        key, offer.parked = offer.parked, None
        group = self._groups.get(key) if key is not None else None
        if key is None or group is None:
            return
        group.waiting -= 1
        if group.heap and group.heap[0][3] is offer:
            heapq.heappop(group.heap)
        if not group.waiting:
            del self._groups[key]
            self._wake_of.pop(key, None)

    def next_look(self) -> float | None:
        """When to look again; None when nobody waits."""
        while self._wakes and self._wake_of.get(self._wakes[0][1]) != self._wakes[0][0]:
            heapq.heappop(self._wakes)
        return self._wakes[0][0] if self._wakes else None
