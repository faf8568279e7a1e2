"""One budget for all that an account is sent: who may send next, and when.

Invariant: a request is granted only when every scope that it costs has room, the most urgent first
(invariant 7); one that waits for a scope never holds back another that does not need this scope.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import structlog

from bot.domain.replies import Action, Limit, Priority, Request, Stake
from bot.ports.clock import Clock
from bot.replies.ratelimit.forecast import Forecast
from bot.replies.ratelimit.policy import Rules
from bot.replies.ratelimit.queue import KEEP, Offer, Plan, Rank, WaitingRoom
from bot.replies.ratelimit.window import MARGIN, Bucket

log = structlog.stdlib.get_logger(__name__)

STEP_SECONDS = 0.005
"""The longest that granting holds the event loop: half of what any step may take."""

TOLD_SECONDS = 60.0
"""An overload is said in the log once in so many seconds."""

KEPT_BUCKETS = 64
"""So many buckets are never worth a look for idle ones."""


@dataclass(slots=True)
class Counters:
    """What the pacer did, for metrics: grants by priority, offers that waited, 429s by scope, and
    how often a reply could not begin because nothing was left to keep for its end.
    """

    granted: Counter[Priority] = field(default_factory=Counter)
    waited: int = 0
    throttled: Counter[str] = field(default_factory=Counter)
    held_back: int = 0


class Pacer:
    """The budget of one platform account; satisfies `ports.Grants`.

    `limits` names the budget of a scope (None: unlimited) and is asked when the scope is first
    used, and again after it was idle; `margin` is in seconds.
    """

    def __init__(
        self, limits: Callable[[str], Limit | None], clock: Clock, *, margin: float = MARGIN
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._margin = margin
        self._buckets: dict[str, Bucket] = {}
        self._sweep_at = KEPT_BUCKETS
        self._room = WaitingRoom()
        self._forecast = Forecast()
        self._rules = Rules(self._bucket, self._forecast)
        self._waker: asyncio.Task[None] | None = None
        self._waker_at = 0.0
        self._order = count()
        self._silent_until = float("-inf")
        self.counters = Counters()

    @property
    def waiting(self) -> int:
        """How many offers wait now."""
        return len(self._room)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that are remembered now."""
        return tuple(self._buckets)

    async def grant(self, plan: Plan, priority: Rank, stake: Stake | None = None) -> Request | None:
        """Wait for the budget of the newest plan; see `ports.Grants`. Raises what `plan` raises.

        A waiter whose priority rises (its text is final now) is to cancel and offer again: it may
        be free at once where it was not before.
        """
        offer = Offer(plan, priority, next(self._order), stake)
        self._serve(offer)
        if not offer.result.done():
            self.counters.waited += 1
        try:
            return await offer.result
        except asyncio.CancelledError:
            self._withdraw(offer)
            raise

    async def spend(self, *scopes: str, priority: Priority = Priority.CONTROL) -> None:
        """Wait for the budget of one request that is not a reply's."""
        request = Request(Action.EDIT, 0, scopes)
        since = self._clock.monotonic()
        await self.grant(lambda: request, lambda: (priority, since))

    def throttled(self, retry_after: float, *scopes: str) -> None:
        """A 429 came: these scopes send nothing for so long; others are not concerned."""
        now = self._clock.monotonic()
        for scope in scopes:
            self.counters.throttled[scope] += 1
            self._bucket(scope).close(now, retry_after)

    def refund(self, *scopes: str) -> None:
        """A request that was granted got a 429, so the platform did not count it."""
        for scope in scopes:
            self._bucket(scope).refund_last()
            self._room.look(scope, self._clock.monotonic())
        self._arm()

    def observed(self, scope: str, *, remaining: int, reset_after: float) -> None:
        """The platform's own count; see `ports.Grants`."""
        self._bucket(scope).tell(self._clock.monotonic(), remaining, reset_after)

    def delay(self, *scopes: str) -> float:
        """Seconds until a request is likely to be granted; see `ports.Grants`."""
        now = self._clock.monotonic()
        return max([0.0, *(self._bucket(scope).urgent_at(now) - now for scope in scopes)])

    # ── what replies hold ─────────────────────────────────────────────────────────────────────
    def expect(self) -> Stake:
        """There will be a reply; see `ports.Grants`."""
        return self._forecast.expect()

    def begin(self, stake: Stake) -> None:
        """The reply has its first text; see `ports.Grants`."""
        self._forecast.begin(stake, self._clock.monotonic())

    def leave(self, stake: Stake) -> None:
        """The reply is over: what was kept for its end is anybody's."""
        self._forecast.forget(stake)
        self._hold(stake, (), None)
        self._arm()

    def _hold(self, stake: Stake, keeps: tuple[str, ...], grows: str | None) -> None:
        for scope in stake.keeps:
            self._bucket(scope).kept -= 1
            self._room.look(scope, self._clock.monotonic())
        for scope in keeps:
            self._bucket(scope).kept += 1
        stake.keeps = keeps
        self._rules.grows(stake, grows)

    # ── granting ──────────────────────────────────────────────────────────────────────────────
    def _serve(self, fresh: Offer | None = None) -> None:
        """Grant what is free, in the order of urgency; who finds no room waits on."""
        began = now = self._clock.monotonic()
        line = [entry for key in self._room.due(now) if (entry := self._first(key)) is not None]
        heapq.heapify(line)
        while line:
            _, _, key, offer = heapq.heappop(line)
            now = self._clock.monotonic()
            if now - began > STEP_SECONDS:
                self._room.wake(key, now)
                continue
            self._room.leave(offer)
            self._try(offer, now)
            # Who waits for the same again tells that those behind it would.
            if offer.parked != key and (entry := self._first(key)) is not None:
                heapq.heappush(line, entry)
        if fresh is not None:
            self._try(fresh, self._clock.monotonic())
        self._sweep(now)
        self._arm()

    def _first(self, key: str) -> tuple[tuple[Priority, float], int, str, Offer] | None:
        offer = self._room.first(key)
        return None if offer is None else (offer.urgency, offer.order, key, offer)

    def _try(self, offer: Offer, now: float) -> None:
        before = offer.planned
        way = self._choice(offer, now) if before is not None else None
        if before is not None and way is None:
            return
        try:
            request = offer.plan()
        except Exception as error:  # noqa: BLE001 - it is the waiter's, who gets it
            offer.result.set_exception(error)
            return
        offer.planned = request
        if request is not None:
            if way is None or way is not before or not request.costs_as(way):
                request = self._choice(offer, now)
            if request is None:
                return
            self._take(offer, request, now)
        offer.result.set_result(request)

    def _choice(self, offer: Offer, now: float) -> Request | None:
        """The one of the offer's ways that has room; None when it is parked, as none has."""
        soonest, where = float("inf"), ""
        way = offer.planned
        while way is not None:
            free, scope = self._rules.free_at(way, offer, now)
            if free <= now:
                return way
            if free < soonest:
                soonest, where = free, scope
            way = way.otherwise if self._rules.used_up(way, offer, now) else None
        self._room.park(offer, where, soonest)
        if where.endswith(KEEP):
            self._overloaded(now)
        return None

    def _overloaded(self, now: float) -> None:
        """Some replies begin later or come whole: said in the log once a minute."""
        self.counters.held_back += 1
        if now >= self._silent_until:
            self._silent_until = now + TOLD_SECONDS
            log.warning("overload: some replies come whole", waiting=self.waiting)

    def _take(self, offer: Offer, request: Request, now: float) -> None:
        offer.granted, offer.taken_at = request, now
        self.counters.granted[offer.urgency[0]] += 1
        for scope in request.scopes:
            self._bucket(scope).take(now)
        if request.grows is not None:
            self._bucket(request.grows).joined_at = now
        stake = offer.stake
        if stake is None:
            return
        offer.keeps = stake.keeps
        if offer.urgency[0] is Priority.FINAL:  # this is what was kept
            self._forecast.end(stake, now)
            self._hold(stake, (), None)
        elif request.keeps is not None:
            self._hold(stake, request.keeps, request.grows)

    def _bucket(self, scope: str) -> Bucket:
        bucket = self._buckets.get(scope)
        if bucket is None:
            bucket = self._buckets[scope] = Bucket(self._limits(scope), self._margin)
        return bucket

    # ── waiting ───────────────────────────────────────────────────────────────────────────────
    def _withdraw(self, offer: Offer) -> None:
        """The waiter left: give back what it was granted in this very moment, or its place."""
        if offer.granted is not None and offer.taken_at is not None:
            for scope in offer.granted.scopes:
                self._bucket(scope).refund(offer.taken_at)
                self._room.look(scope, self._clock.monotonic())
            self.counters.granted[offer.urgency[0]] -= 1
            if offer.stake is not None:
                self._hold(offer.stake, offer.keeps, offer.stake.grows)
        else:
            self._room.leave(offer)
        self._arm()

    def _arm(self) -> None:
        """See that somebody wakes up for the next scope; nobody does when no one waits."""
        at = self._room.next_look()
        if self._waker is not None and (at is None or at < self._waker_at):
            self._waker.cancel()
            self._waker = None
        if at is not None and self._waker is None:
            self._waker_at = at
            self._waker = asyncio.create_task(self._sleep_until(at), name="pacer")

    async def _sleep_until(self, at: float) -> None:
        await self._clock.sleep(max(0.0, at - self._clock.monotonic()))
        self._waker = None
        try:
            self._serve()
        finally:  # whatever went wrong, nobody waits for ever
            self._arm()

    def _sweep(self, now: float) -> None:
        """Forget idle scopes each time their number has doubled: an idle place costs nothing."""
        if len(self._buckets) <= self._sweep_at:
            return
        idle = [scope for scope, bucket in self._buckets.items() if bucket.idle(now)]
        for scope in idle:
            if scope not in self._room:
                del self._buckets[scope]
        self._sweep_at = max(KEPT_BUCKETS, 2 * len(self._buckets))
