"""Decides when a request may be sent: room in its budgets, the pace, and reservations for endings.

Invariants: a waiting request never uses what is reserved for the ends of other replies. A person's
further replies leave part of each budget, and half of what can be reserved, to others. Everything
else here only decides how soon, from the budgets and the forecast alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bot.domain.replies import Pace, Priority, Request, Reservation
from bot.replies.ratelimit.forecast import TYPICAL, Forecast
from bot.replies.ratelimit.owners import Owners
from bot.replies.ratelimit.queue import BEGIN, RESERVE, Waiter
from bot.replies.ratelimit.window import SlidingWindow

PATIENCE = 2.0
"""Seconds that a reply waits for a budget before it uses its alternative (`otherwise`)."""

ENOUGH = 3.0
"""A reply that can expect this many requests begins immediately. With fewer, it begins when they
would be spread best: with one, in the middle of its expected time."""


OTHERS_SHARE = 20
"""A person's second and further replies leave one in this many requests of a budget to others.
Replies that are beginning leave at least one, if there are several."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Nothing in a waiter's plan may be sent before `until`; `key` names what blocks it."""

    key: str
    until: float


class AdmissionPolicy:
    """Decides from the windows (by scope) and the forecast, and changes neither."""

    def __init__(
        self,
        window: Callable[[str], SlidingWindow],
        forecast: Forecast,
        owners: Owners,
    ) -> None:
        self._window, self._forecast, self._owners = window, forecast, owners
        self._growing: Counter[str] = Counter()  # replies by the scope in which they grow

    def grow_by(self, reservation: Reservation, scope: str | None) -> None:
        """Record the scope whose requests make the reply grow from now on; None for no scope."""
        if reservation.grows is not None:
            self._growing[reservation.grows] -= 1
        if scope is not None:
            self._growing[scope] += 1
        reservation.grows = scope

    def decide(self, waiter: Waiter, now: float) -> Request | Blocked:
        """The first of the waiter's alternatives that may be sent now.

        An alternative is considered only if the one before it lacks a budget for longer than
        PATIENCE, whatever its pace.
        """
        blocked = Blocked("", math.inf)
        for way in self._ways(waiter, now):
            at, key = self._free_at(way, waiter, now)
            if at <= now:
                return way
            if at < blocked.until:
                blocked = Blocked(key, at)
            if not self._used_up(way, waiter, now):
                break
        return blocked

    def _ways(self, waiter: Waiter, now: float) -> list[Request]:
        """The plan and its alternatives; for a beginning reply, the largest share first."""
        ways, way = [], waiter.planned
        while way is not None:
            ways.append(way)
            way = way.otherwise
        if waiter.urgency[0] is Priority.FIRST and len(ways) > 1:
            ways.sort(key=lambda way: self._share(way.grows, now), reverse=True)
        return ways

    def _share(self, scope: str | None, now: float) -> float:
        """The number of requests that one more reply could expect in this scope."""
        return max(0.0, self._left(scope, now)) / (self._growing[scope] + 1) if scope else 0.0

    def _free_at(self, request: Request, waiter: Waiter, now: float) -> tuple[float, str]:
        """When the request may be sent (`now` or earlier: now), and the key it waits for."""
        latest, where = now, ""
        for at, key in self._conditions(request, waiter, now):
            if at > latest:
                latest, where = at, key
        return latest, where

    def _conditions(
        self, request: Request, waiter: Waiter, now: float
    ) -> Iterator[tuple[float, str]]:
        priority, since = waiter.urgency
        for scope in request.scopes:
            yield self._open_at(scope, request, waiter, now), scope
            if priority >= Priority.INTERIM:
                yield self._paced_at(scope, now), scope
        if priority is Priority.FINAL:
            return
        for scope in waiter.missing(request):
            spare = self._spare(scope, request, waiter) + (scope in request.scopes)
            spare += self._owners.kept(waiter.reservation, scope)
            yield self._window(scope).open_at(now, spare), scope + RESERVE
        if priority is not Priority.FIRST or not request.keeps or request.grows is None:
            return
        if not self._is_beside_flood(request.grows, waiter):
            yield since + self._delay(request.grows, request.keeps, now), request.grows + BEGIN

    def _used_up(self, request: Request, waiter: Waiter, now: float) -> bool:
        needed = {*request.scopes, *waiter.missing(request)}
        return any(self._open_at(scope, request, waiter, now) > now + PATIENCE for scope in needed)

    def _open_at(self, scope: str, request: Request, waiter: Waiter, now: float) -> float:
        if waiter.urgency[0] <= Priority.CONTROL and not waiter.begins_late:
            return self._window(scope).urgent_at(now)
        return self._window(scope).open_at(now, self._spare(scope, request, waiter))

    def _spare(self, scope: str, request: Request, waiter: Waiter) -> int:
        """How many requests must stay free. If a request replaces the reply's reservation in this
        scope with another, it may spend the reserved request."""
        replaces = request.keeps is not None and scope not in request.keeps
        left = self._left_to_others(scope, waiter)
        return self._window(scope).reserved - (replaces and scope in waiter.kept) + left

    def _left_to_others(self, scope: str, waiter: Waiter) -> int:
        limit = self._window(scope).limit
        if limit is None or waiter.reservation is None or not waiter.reservation.own:
            return 0
        left, begins = limit.count // OTHERS_SHARE, waiter.place[0] is Priority.FIRST
        return max(left, 1) if begins and limit.count > 1 else left

    # ── how soon ──────────────────────────────────────────────────────────────────────────────
    def _paced_at(self, scope: str, now: float) -> float:
        window = self._window(scope)
        if window.limit is None or window.limit.pace is not Pace.FORECAST:
            return window.paced_at(now, math.inf)
        horizon = self._forecast.horizon(now, window.seconds(now))
        return window.paced_at(now, horizon, self._extra(scope, now))

    def _extra(self, scope: str, now: float) -> float:
        """The requests that replies growing by `scope` can expect from their next scope."""
        limit = self._window(scope).limit
        if limit is None or limit.then is None or not self._growing[scope]:
            return 0.0
        mine, theirs = self._growing[scope], self._growing[limit.then]
        here, there = max(0.0, self._left(scope, now)), max(0.0, self._left(limit.then, now))
        return min(there, max(0.0, (here + there) * mine / (mine + theirs) - here))

    def _delay(self, scope: str, keeps: tuple[str, ...], now: float) -> float:
        """Seconds from a reply's first text until the reply begins to grow by `scope`."""
        waiting = max(1, self._forecast.replies - self._growing.total())
        admitted = max(1, min(waiting, *(self._left(kept, now) for kept in keeps)))
        left = self._left(scope, now) + self._extra(scope, now) - admitted * (scope in keeps)
        each = 1 + max(0.0, left) / (self._growing[scope] + admitted)
        return 0.0 if each >= ENOUGH else TYPICAL / (each + 1)

    def _is_beside_flood(self, scope: str, waiter: Waiter) -> bool:
        """Whether little room is left only because others have several replies.

        That must not delay a person's only reply.
        """
        limit, held = self._window(scope).limit, waiter.reservation
        if limit is None or held is None or held.owner is None or held.own:
            return False
        return self._owners.has_flood and limit.count >= ENOUGH * self._owners.people

    def _left(self, scope: str, now: float) -> float:
        window = self._window(scope)
        return window.room(now, window.reserved)
