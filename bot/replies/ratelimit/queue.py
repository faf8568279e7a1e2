"""The wait queue: requests grouped by the limit that blocks each, with the next time to check.

Invariant: in each group the most urgent waiter comes first; a waiter that left is in no group. A
person's further replies begin as if their text were younger than it is, so that another person's
first text goes before them.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from bot.domain.replies import Priority, Request, Reservation

Plan = Callable[[], Request | None]
Urgency = tuple[Priority, float]
Rank = Callable[[], Urgency]

RESERVE, BEGIN = " reserve", " begin"
"""Suffixes of keys for what a waiter may need from a scope other than a request: a free request to
reserve, or its time to begin."""


OWN_SECONDS = 5.0
"""How many seconds younger a reply's text counts for each other reply that its owner had when the
reply was announced. The slowest budget, Slack's edits, lets one reply begin every 1.2 s, and one
person may use half of these: so only replies that could have begun before another person's text was
written go before that text."""

NEIGHBOR_SECONDS = 0.1
"""The same for each reply of another person in the workspace. Workspaces share only Discord's
global limit of 50 a second."""


def keys_of(scope: str) -> tuple[str, str, str]:
    """Every key that belongs to a scope."""
    return scope, scope + RESERVE, scope + BEGIN


@dataclass(eq=False, slots=True)
class Waiter:
    """A caller of `acquire`.

    `planned` is its last plan, so that a blocked waiter need not plan again. `granted` is the
    request granted at `granted_at`, when the reservation held `kept_before`. `key` is what the
    waiter waits for, and `ticket` its valid heap entry. `place` orders waiters by urgency and by
    what their owners already hold.
    """

    plan: Plan
    rank: Rank
    order: int
    reservation: Reservation | None
    urgency: Urgency = field(init=False)
    place: Urgency = field(init=False)
    planned: Request | None = None
    granted: Request | None = None
    granted_at: float = 0.0
    kept_before: tuple[str, ...] = ()
    key: str | None = None
    ticket: int = 0
    result: asyncio.Future[Request | None] = field(init=False)

    def __post_init__(self) -> None:
        self.update()
        self.result = asyncio.get_running_loop().create_future()

    def update(self) -> None:
        """Update the waiter's current urgency and place."""
        self.urgency = self.rank()
        priority, since = self.urgency
        held = self.reservation
        if held is None or not (priority is Priority.FIRST or self.begins_late):
            self.place = self.urgency
        else:
            share = OWN_SECONDS * held.own + NEIGHBOR_SECONDS * held.neighbors
            self.place = (Priority.FIRST, since + share)

    @property
    def begins_late(self) -> bool:
        """Whether the reply was complete before any of it was shown, while others of its owner are
        shown: it is no more urgent than a first text."""
        held = self.reservation
        is_final = self.urgency[0] is Priority.FINAL
        return is_final and held is not None and held.own > 0 and not held.is_shown

    @property
    def kept(self) -> tuple[str, ...]:
        """The scopes where the reply holds a reserved request."""
        return self.reservation.keeps if self.reservation is not None else ()

    def missing(self, request: Request) -> set[str]:
        """The scopes where `request` needs a reservation that the reply does not hold."""
        return set(request.keeps or ()).difference(self.kept)


@dataclass(slots=True)
class _Group:
    """Waiters for one key. The entries of waiters that left stay until they reach the top."""

    heap: list[tuple[Urgency, int, int, Waiter]] = field(default_factory=list)
    waiting: int = 0


class WaitQueue:
    """Waiters in groups by key: if a group's most urgent waiter is blocked, so are the others."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._tickets = count(1)  # unique, because waiters are not comparable
        self._checks: list[tuple[float, str]] = []
        self._check_at: dict[str, float] = {}

    def __len__(self) -> int:
        return sum(group.waiting for group in self._groups.values())

    def __contains__(self, scope: str) -> bool:
        return any(key in self._groups for key in keys_of(scope))

    def park(self, waiter: Waiter, key: str, until: float) -> None:
        """Add a waiter to a group to be checked at `until`."""
        waiter.key, waiter.ticket = key, next(self._tickets)
        group = self._groups.setdefault(key, _Group())
        group.waiting += 1
        heapq.heappush(group.heap, (waiter.place, waiter.order, waiter.ticket, waiter))
        self.check(key, until)

    def check_scope(self, scope: str, at: float) -> None:
        """Check every group of a scope at `at` or earlier."""
        for key in keys_of(scope):
            self.check(key, at)

    def check(self, key: str, at: float) -> None:
        """Check this group at `at` or earlier."""
        if key in self._groups and at < self._check_at.get(key, float("inf")):
            self._check_at[key] = at
            heapq.heappush(self._checks, (at, key))

    def due(self, now: float) -> list[str]:
        """The keys of the groups to check now."""
        due: list[str] = []
        while self._checks and self._checks[0][0] <= now:
            at, key = heapq.heappop(self._checks)
            if self._check_at.get(key) == at:
                del self._check_at[key]
                due.append(key)
        return due

    def first(self, key: str) -> Waiter | None:
        """The most urgent waiter of a group by current rank.

        Each waiter is ranked once per call, because the rank of a reply without unseen text falls
        with every call. A rank never rises while its waiter waits.
        """
        group, ranked = self._groups.get(key), set[int]()
        while group is not None and group.heap:
            known, order, ticket, waiter = group.heap[0]
            if waiter.key != key or waiter.ticket != ticket or waiter.result.done():
                heapq.heappop(group.heap)
                continue
            if ticket not in ranked:
                ranked.add(ticket)
                waiter.update()
            if waiter.place <= known:
                return waiter
            heapq.heapreplace(group.heap, (waiter.place, order, ticket, waiter))
        return None

    def remove(self, waiter: Waiter) -> None:
        """Remove a waiter from its group."""
        key, waiter.key = waiter.key, None
        group = self._groups.get(key) if key is not None else None
        if key is None or group is None:
            return
        group.waiting -= 1
        if group.heap and group.heap[0][3] is waiter:
            heapq.heappop(group.heap)
        if not group.waiting:
            del self._groups[key]
            self._check_at.pop(key, None)

    def next_check(self) -> float | None:
        """The time of the next check; None if the queue is empty."""
        while self._checks and self._check_at.get(self._checks[0][1]) != self._checks[0][0]:
            heapq.heappop(self._checks)
        return self._checks[0][0] if self._checks else None
