"""One budget for all that an account is sent: who may send next, and when.

Invariant: a request is granted only when every scope that it costs has room, the most urgent first
(invariant 7); one that waits for a scope never holds back another that does not need this scope.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count

from bot.frames import Action, Limit, Priority, Request
from bot.ports import Clock
from bot.reply.budget import MARGIN, Bucket

STEP_SECONDS = 0.005
"""The longest that granting holds the event loop: half of what any step may take."""

KEPT_BUCKETS = 64
"""So many buckets are never worth a look for idle ones."""

Plan = Callable[[], Request | None]
Rank = Callable[[], tuple[Priority, float]]


@dataclass(slots=True)
class Counters:
    """What the pacer did, for metrics: grants by priority, offers that waited, 429s by scope."""

    granted: Counter[Priority] = field(default_factory=Counter)
    waited: int = 0
    throttled: Counter[str] = field(default_factory=Counter)


class _Offer:
    """One who waits. `scopes` is what the last plan would have cost, so that most that have no
    room need not plan to know it.
    """

    __slots__ = ("order", "parked", "plan", "rank", "result", "scopes", "taken_at", "urgency")

    def __init__(self, plan: Plan, rank: Rank, order: int) -> None:
        self.plan = plan
        self.rank = rank
        self.order = order
        self.scopes: tuple[str, ...] = ()
        self.urgency = rank()
        self.parked: str | None = None
        self.taken_at: float | None = None
        self.result: asyncio.Future[Request | None] = asyncio.get_running_loop().create_future()


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
        self._parked: dict[str, dict[_Offer, None]] = {}
        self._wakes: list[tuple[float, str]] = []
        self._wake_of: dict[str, float] = {}
        self._waker: asyncio.Task[None] | None = None
        self._waker_at = 0.0
        self._order = count()
        self.counters = Counters()

    @property
    def waiting(self) -> int:
        """How many offers wait now."""
        return sum(map(len, self._parked.values()))

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that are remembered now."""
        return tuple(self._buckets)

    async def grant(self, plan: Plan, priority: Rank) -> Request | None:
        """Wait for the budget of the newest plan; see `ports.Grants`. Raises what `plan` raises.

        A waiter whose priority rises (its text is final now) is to cancel and offer again: it may
        be free at once where it was not before.
        """
        offer = _Offer(plan, priority, next(self._order))
        self._serve([offer])
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
        """A 429 came: nobody sends in these scopes (none named: in any known one) so long."""
        now = self._clock.monotonic()
        for scope in scopes or self.scopes:
            self.counters.throttled[scope] += 1
            self._bucket(scope).close(now, retry_after)

    # ── granting ──────────────────────────────────────────────────────────────────────────────
    def _serve(self, fresh: Iterable[_Offer] = ()) -> None:
        """Grant what is free, in the order of urgency; park the rest where it is held up."""
        began = now = self._clock.monotonic()
        # Who was cancelled in this turn of the loop has not come to withdraw yet.
        ready = [offer for offer in (*self._due(now), *fresh) if not offer.result.done()]
        for offer in ready:
            offer.urgency = offer.rank()
        ready.sort(key=lambda offer: (offer.urgency, offer.order))
        for offer in ready:
            if now - began > STEP_SECONDS:
                self._park(offer, offer.scopes[0] if offer.scopes else "", now)
                continue
            self._try(offer, now)
            now = self._clock.monotonic()
        self._sweep(now)
        self._arm()

    def _try(self, offer: _Offer, now: float) -> None:
        if self._held_up(offer, now):
            return
        try:
            request = offer.plan()
        except Exception as error:  # noqa: BLE001 - it is the waiter's, who gets it
            offer.result.set_exception(error)
            return
        if request is not None:
            asked, offer.scopes = offer.scopes, request.scopes
            if asked != request.scopes and self._held_up(offer, now):
                return
            self._take(offer, now)
        offer.result.set_result(request)

    def _held_up(self, offer: _Offer, now: float) -> bool:
        """Whether a scope of the offer has no room; then it is parked at the last to have some."""
        priority = offer.urgency[0]
        latest, where = now, None
        for scope in offer.scopes:
            free = self._bucket(scope).free_at(now, priority)
            if free > latest:
                latest, where = free, scope
        if where is not None:
            self._park(offer, where, latest)
        return where is not None

    def _take(self, offer: _Offer, now: float) -> None:
        offer.taken_at = now
        self.counters.granted[offer.urgency[0]] += 1
        for scope in offer.scopes:
            self._bucket(scope).take(now)

    def _bucket(self, scope: str) -> Bucket:
        bucket = self._buckets.get(scope)
        if bucket is None:
            bucket = self._buckets[scope] = Bucket(self._limits(scope), self._margin)
        return bucket

    # ── waiting ───────────────────────────────────────────────────────────────────────────────
    def _park(self, offer: _Offer, scope: str, until: float) -> None:
        offer.parked = scope
        self._parked.setdefault(scope, {})[offer] = None
        self._wake(scope, until)

    def _wake(self, scope: str, at: float) -> None:
        if at < self._wake_of.get(scope, float("inf")):
            self._wake_of[scope] = at
            heapq.heappush(self._wakes, (at, scope))

    def _due(self, now: float) -> list[_Offer]:
        """Take out those who wait for scopes that may have room now."""
        due: list[_Offer] = []
        while self._wakes and self._wakes[0][0] <= now:
            at, scope = heapq.heappop(self._wakes)
            if self._wake_of.get(scope) == at:
                del self._wake_of[scope]
                due.extend(self._parked.pop(scope, ()))
        return due

    def _withdraw(self, offer: _Offer) -> None:
        """The waiter left: give back what it was granted in this very moment, or its place."""
        if offer.taken_at is not None:
            for scope in offer.scopes:
                self._bucket(scope).refund(offer.taken_at)
                if scope in self._parked:
                    self._wake(scope, self._clock.monotonic())
            self.counters.granted[offer.urgency[0]] -= 1
        elif offer.parked is not None and offer in self._parked.get(offer.parked, ()):
            del self._parked[offer.parked][offer]
            if not self._parked[offer.parked]:
                del self._parked[offer.parked]
                self._wake_of.pop(offer.parked, None)
        self._arm()

    def _arm(self) -> None:
        """See that somebody wakes up for the next scope; nobody does when no one waits."""
        while self._wakes and self._wake_of.get(self._wakes[0][1]) != self._wakes[0][0]:
            heapq.heappop(self._wakes)
        at = self._wakes[0][0] if self._wakes else None
        if self._waker is not None and (at is None or at < self._waker_at):
            self._waker.cancel()
            self._waker = None
        if at is not None and self._waker is None:
            self._waker_at = at
            self._waker = asyncio.create_task(self._sleep_until(at), name="pacer")

    async def _sleep_until(self, at: float) -> None:
        await self._clock.sleep(max(0.0, at - self._clock.monotonic()))
        self._waker = None
        self._serve()

    def _sweep(self, now: float) -> None:
        """Forget idle scopes each time their number has doubled: an idle place costs nothing."""
        if len(self._buckets) <= self._sweep_at:
            return
        idle = [scope for scope, bucket in self._buckets.items() if bucket.idle(now)]
        for scope in idle:
            if scope not in self._parked:
                del self._buckets[scope]
        self._sweep_at = max(KEPT_BUCKETS, 2 * len(self._buckets))
