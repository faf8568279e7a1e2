"""Those who wait for budgets, each at the scope that has room last, and when to look there again.

Invariant: whoever waits is taken out when its scope may have room; who left is found nowhere.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from bot.frames import Priority, Request
from bot.reply.stakes import Stake

Plan = Callable[[], Request | None]
Rank = Callable[[], tuple[Priority, float]]


class Offer:
    """One who waits. `planned` is the last plan, so that most that have no room need not plan
    anew to know it; `granted` is the one that was granted, at `taken_at`.
    """

    __slots__ = (
        *("granted", "keeps", "order", "parked", "plan", "planned", "rank", "result", "stake"),
        *("taken_at", "urgency"),
    )

    def __init__(self, plan: Plan, rank: Rank, order: int, stake: Stake | None) -> None:
        self.plan, self.rank, self.order, self.stake = plan, rank, order, stake
        self.planned: Request | None = None
        self.granted: Request | None = None
        self.keeps: tuple[str, ...] = ()  # what the stake kept before the grant
        self.urgency = rank()
        self.parked: str | None = None
        self.taken_at: float | None = None
        self.result: asyncio.Future[Request | None] = asyncio.get_running_loop().create_future()

    @property
    def kept(self) -> tuple[str, ...]:
        """The budgets of which one request is kept for this one's reply."""
        return self.stake.keeps if self.stake is not None else ()


class WaitingRoom:
    """Offers by the scope at which they are parked."""

    def __init__(self) -> None:
        self._parked: dict[str, dict[Offer, None]] = {}
        self._wakes: list[tuple[float, str]] = []
        self._wake_of: dict[str, float] = {}

    def __len__(self) -> int:
        return sum(map(len, self._parked.values()))

    def __contains__(self, scope: str) -> bool:
        return scope in self._parked

    def park(self, offer: Offer, scope: str, until: float) -> None:
        """Let an offer wait at a scope that may have room at `until`."""
        offer.parked = scope
        self._parked.setdefault(scope, {})[offer] = None
        self.look(scope, until)

    def look(self, scope: str, at: float) -> None:
        """Those at a scope may have room at `at` already."""
        if scope in self._parked and at < self._wake_of.get(scope, float("inf")):
            self._wake_of[scope] = at
            heapq.heappush(self._wakes, (at, scope))

    def due(self, now: float) -> list[Offer]:
        """Take out those who wait for scopes that may have room now."""
        due: list[Offer] = []
        while self._wakes and self._wakes[0][0] <= now:
            at, scope = heapq.heappop(self._wakes)
            if self._wake_of.get(scope) == at:
                del self._wake_of[scope]
                due.extend(self._parked.pop(scope, ()))
        return due

    def leave(self, offer: Offer) -> None:
        """Take one out, wherever it waits."""
        if offer.parked is None or offer not in self._parked.get(offer.parked, ()):
            return
        del self._parked[offer.parked][offer]
        if not self._parked[offer.parked]:
            del self._parked[offer.parked]
            self._wake_of.pop(offer.parked, None)

    def next_look(self) -> float | None:
        """When to look again; None when nobody waits."""
        while self._wakes and self._wake_of.get(self._wakes[0][1]) != self._wakes[0][0]:
            heapq.heappop(self._wakes)
        return self._wakes[0][0] if self._wakes else None
