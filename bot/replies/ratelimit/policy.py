"""When one request may be sent: room in its budgets, the pace, and what is kept for ends.

Invariant: what is kept for the ends of other replies is not spent; everything else here is about
how soon, and is decided from the budgets and the forecast alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

from bot.domain.replies import Pace, Priority, Request, Stake
from bot.replies.ratelimit.forecast import Forecast
from bot.replies.ratelimit.queue import BEGIN, KEEP, Offer
from bot.replies.ratelimit.window import Bucket, paced, trusting

BEAR = 2.0
"""Seconds that a reply waits for a budget before it goes on in another way."""

ENOUGH = 3.0
"""A reply that may expect so many requests before its last one begins at once. One that may expect
fewer begins when that many are best spread: with one, in the middle of its time."""


class Rules:
    """Reads the budgets (`bucket` by scope) and the forecast, and changes neither."""

    def __init__(self, bucket: Callable[[str], Bucket], forecast: Forecast) -> None:
        self._bucket, self._forecast = bucket, forecast
        self._growing: Counter[str] = Counter()  # replies by the scope that they grow by

    def grows(self, stake: Stake, scope: str | None) -> None:
        """The reply grows by `scope` from now on; by nothing with None."""
        if stake.grows is not None:
            self._growing[stake.grows] -= 1
        if scope is not None:
            self._growing[scope] += 1
        stake.grows = scope

    def free_at(self, request: Request, offer: Offer, now: float) -> tuple[float, str]:
        """When the request may be sent (at or before `now` is now), and what is waited for last."""
        priority = offer.urgency[0]
        latest, where = now, ""
        for scope in request.scopes:
            bucket = self._bucket(scope)
            paces = self._paced_at(scope, bucket, now) if paced(priority) else bucket.spaced_at()
            free = max(paces, self._open_at(scope, request, offer, now))
            if free > latest:
                latest, where = free, scope
        if request.keeps and priority is not Priority.FINAL:
            for free, scope in self._kept_at(request, offer, now):
                if free > latest:
                    latest, where = free, scope
        return latest, where

    def _kept_at(self, request: Request, offer: Offer, now: float) -> Iterator[tuple[float, str]]:
        """When there is one to keep for the reply's end, and when it is time to begin."""
        for scope in set(request.keeps or ()).difference(offer.kept):
            spare = self._spare(scope, request, offer, now) + (scope in request.scopes)
            yield self._bucket(scope).open_at(now, spare), scope + KEEP
        if offer.urgency[0] is Priority.FIRST and request.grows is not None:
            yield offer.urgency[1] + self._patience(request, now), request.grows + BEGIN

    def used_up(self, request: Request, offer: Offer, now: float) -> bool:
        """Whether a budget of the request has nothing left for a while, whatever its pace."""
        needed = {*request.scopes, *set(request.keeps or ()).difference(offer.kept)}
        return any(self._open_at(scope, request, offer, now) > now + BEAR for scope in needed)

    # ── its parts ─────────────────────────────────────────────────────────────────────────────
    def _open_at(self, scope: str, request: Request, offer: Offer, now: float) -> float:
        bucket = self._bucket(scope)
        if trusting(offer.urgency[0]):
            return bucket.urgent_at(now)
        return bucket.open_at(now, self._spare(scope, request, offer, now))

    def _spare(self, scope: str, request: Request, offer: Offer, now: float) -> int:
        """How many requests are to be left for the ends of replies.

        Those that are expected to end only after a window's time need none of now. A reply's own
        is spent by its end, and by a request after which its end needs another one.
        """
        bucket = self._bucket(scope)
        if not bucket.kept or offer.urgency[0] <= Priority.CONTROL:
            return 0
        spent = request.keeps is not None and scope not in request.keeps and scope in offer.kept
        kept, remaining = bucket.kept - spent, self._forecast.remaining(now)
        share = bucket.window(now) / remaining if remaining > 0 else 1.0
        return math.ceil(kept * min(1.0, share))

    def _paced_at(self, scope: str, bucket: Bucket, now: float) -> float:
        if bucket.limit is None or bucket.limit.pace is not Pace.FORECAST:
            return bucket.paced_at(now, math.inf)
        horizon = self._forecast.horizon(now, bucket.window(now))
        extra = self._extra(scope, bucket, now)
        return bucket.paced_at(now, horizon, bucket.kept, extra)

    def _extra(self, scope: str, bucket: Bucket, now: float) -> float:
        """What replies that grow by `scope` may expect of the budget that they go on with."""
        then = bucket.limit.then if bucket.limit is not None else None
        if then is None:
            return 0.0
        other = self._bucket(then)
        mine, theirs = self._growing[scope], self._growing[then]
        here, there = max(0, bucket.room(now)), max(0, other.room(now, other.kept))
        fair = (here + there) * mine / (mine + theirs) if mine else 0.0
        return min(there, max(0.0, fair - here))

    def _patience(self, request: Request, now: float) -> float:
        """How old the first text of a reply is to be when it is shown, in seconds."""
        assert request.grows is not None  # noqa: S101 - asked for
        waiting = max(1, self._forecast.replies - self._growing.total())
        admitted = min([waiting, *(self._left(scope, now) for scope in request.keeps or ())])
        bucket = self._bucket(request.grows)
        room = self._left(request.grows, now) + self._extra(request.grows, bucket, now)
        if request.grows in (request.keeps or ()):
            room -= admitted
        each = 1 + max(0.0, room) / (self._growing[request.grows] + max(1, admitted))
        return 0.0 if each >= ENOUGH else self._forecast.typical / (each + 1)

    def _left(self, scope: str, now: float) -> int:
        bucket = self._bucket(scope)
        return bucket.room(now, bucket.kept)
