"""The rate limiter: one budget for all requests of a platform account.

Invariant: a request is granted only when all of its scopes have room, the most urgent request first
(invariant 7). A waiter never holds back another one that does not need the same scope.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import structlog

from bot.domain.operation import RateReport
from bot.domain.replies import Action, Limit, Priority, ReplyOwner, Request, Reservation
from bot.ports import tracing
from bot.ports.clock import Clock
from bot.replies.ratelimit.division import Division
from bot.replies.ratelimit.forecast import Forecast
from bot.replies.ratelimit.owners import Owners
from bot.replies.ratelimit.policy import AdmissionPolicy, Blocked
from bot.replies.ratelimit.queue import RESERVE, Plan, Rank, Urgency, Waiter, WaitQueue
from bot.replies.ratelimit.report import report_of
from bot.replies.ratelimit.window import MARGIN, SlidingWindow

log = structlog.stdlib.get_logger(__name__)

STEP_SECONDS = 0.005
"""Seconds that one pass may hold the event loop: half of what any step may take."""

LOG_SECONDS = 60.0
"""The shortest time between two log lines about overload, in seconds."""

MIN_SWEEP = 64
"""With fewer windows than this, idle ones are not searched for."""


@dataclass(slots=True)
class Counters:
    """Metrics: grants by priority, requests that had to wait, 429s by scope, and how often a reply
    could not begin because no request was free to reserve for its end."""

    granted: Counter[Priority] = field(default_factory=Counter)
    waited: int = 0
    throttled: Counter[str] = field(default_factory=Counter)
    held_back: int = 0


class AccountRateLimiter:
    """The rate limiter of one platform account; implements `ports.RateLimiter`.

    `limits` returns the limit of a scope (None: unlimited) when the scope is first used, and again
    after the scope was idle; `margin` is in seconds. `members` returns the number of processes that
    use the account: this process gets its part of each divided limit.
    """

    def __init__(
        self,
        limits: Callable[[str], Limit | None],
        clock: Clock,
        *,
        margin: float = MARGIN,
        forecast: Forecast | None = None,
        policy: type[AdmissionPolicy] = AdmissionPolicy,
        members: Callable[[], int] = lambda: 1,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._margin = margin
        self._division = Division(members)
        self._windows: dict[str, SlidingWindow] = {}
        self._sweep_at = MIN_SWEEP
        self._queue = WaitQueue()
        self._forecast = forecast or Forecast()
        self._owners = Owners()
        self._policy = policy(self._window, self._forecast, self._owners)
        self._waker: asyncio.Task[None] | None = None
        self._waker_at = 0.0
        self._order = count()
        self._silent_until = float("-inf")
        self._announced = 0
        self.counters = Counters()

    @property
    def busy(self) -> bool:
        """Whether a reply is announced or a request is waiting."""
        return bool(self._announced or self.waiting)

    @property
    def waiting(self) -> int:
        """The number of waiters."""
        return len(self._queue)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes with a window in memory."""
        return tuple(self._windows)

    def report(self) -> RateReport:
        """The state for metrics."""
        now = self._clock.monotonic()
        return report_of(self._windows, self.counters.throttled, self.waiting, now)

    async def acquire(
        self, plan: Plan, priority: Rank, reservation: Reservation | None = None
    ) -> Request | None:
        """Wait for the budget of the newest plan; see `ports.RateLimiter`. Raises what `plan` does.

        If a waiter's priority rises (its text became final), it must cancel and acquire again,
        because it may have room immediately.
        """
        waiter = Waiter(plan, priority, next(self._order), reservation)
        self._grant_due(waiter)
        try:
            if waiter.result.done():
                return waiter.result.result()
            self.counters.waited += 1
            with tracing.span("wait for rate limit") as span:
                granted = await waiter.result
                if granted is not None:
                    span.set({"threadline.rate_limit.scope": tracing.scope_of(granted.scopes)})
                return granted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    async def spend(self, *scopes: str, priority: Priority = Priority.CONTROL) -> None:
        """Wait for the budget of one request that belongs to no reply."""
        request = Request(Action.EDIT, 0, scopes)
        since = self._clock.monotonic()
        await self.acquire(lambda: request, lambda: (priority, since))

    def throttled(self, retry_after: float, *scopes: str) -> None:
        """After a 429, close these scopes (and no others) for `retry_after` seconds."""
        now = self._clock.monotonic()
        for scope in scopes:
            self.counters.throttled[scope] += 1
            self._window(scope).close(now, retry_after)

    def refund(self, *scopes: str) -> None:
        """Undo the count of a request that got a 429, because the platform did not count it."""
        for scope in scopes:
            self._window(scope).refund()
            self._queue.check_scope(scope, self._clock.monotonic())
        self._arm()

    def observed(self, scope: str, *, remaining: int, reset_after: float) -> None:
        """Record the platform's own count; see `ports.RateLimiter`."""
        self._window(scope).observe(self._clock.monotonic(), remaining, reset_after)

    def delay(self, *scopes: str) -> float:
        """Seconds until an urgent request may be sent; see `ports.RateLimiter`."""
        now = self._clock.monotonic()
        return max([0.0, *(self._window(scope).urgent_at(now) - now for scope in scopes)])

    # ── reservations ──────────────────────────────────────────────────────────────────────────
    def reserve(self, owner: ReplyOwner | None = None) -> Reservation:
        """Announce a reply; see `ports.RateLimiter`."""
        reservation = self._forecast.expect()
        self._announced += 1
        if owner is not None:
            self._owners.announce(reservation, owner)
        return reservation

    def begin(self, reservation: Reservation) -> None:
        """Record that the reply has its first text; see `ports.RateLimiter`."""
        self._forecast.begin(reservation, self._clock.monotonic())

    def release(self, reservation: Reservation) -> None:
        """End the reply, and free the requests that it reserved."""
        self._announced -= 1
        self._forecast.forget(reservation)
        self._reserve(reservation, (), None)
        self._owners.forget(reservation)
        self._arm()

    def _reserve(self, reservation: Reservation, keeps: tuple[str, ...], grows: str | None) -> None:
        for scope in reservation.keeps:
            self._window(scope).reserved -= 1
            self._queue.check_scope(scope, self._clock.monotonic())
        for scope in keeps:
            self._window(scope).reserved += 1
        self._owners.keep(reservation, keeps)
        reservation.keeps = keeps
        self._policy.grow_by(reservation, grows)

    # ── granting ──────────────────────────────────────────────────────────────────────────────
    def _grant_due(self, newcomer: Waiter | None = None) -> None:
        """Grant requests that have room, the most urgent first; the other waiters keep waiting."""
        began = now = self._clock.monotonic()
        if self._division.look(now):
            self._divide_again(now)
        line = [entry for key in self._queue.due(now) if (entry := self._first(key)) is not None]
        heapq.heapify(line)
        while line:
            _, _, key, waiter = heapq.heappop(line)
            now = self._clock.monotonic()
            if now - began > STEP_SECONDS:
                self._queue.check(key, now)
                continue
            self._queue.remove(waiter)
            self._try(waiter, now)
            # If it waits for the same key again, so would everyone behind it.
            if waiter.key != key and (entry := self._first(key)) is not None:
                heapq.heappush(line, entry)
        if newcomer is not None:
            self._try(newcomer, self._clock.monotonic())
        self._sweep(now)
        self._arm()

    def _first(self, key: str) -> tuple[Urgency, int, str, Waiter] | None:
        waiter = self._queue.first(key)
        return None if waiter is None else (waiter.place, waiter.order, key, waiter)

    def _try(self, waiter: Waiter, now: float) -> None:
        before = waiter.planned
        way = self._decide(waiter, now) if before is not None else None
        if before is not None and way is None:
            return
        try:
            request = waiter.plan()
        except Exception as error:  # noqa: BLE001 - raised in the waiter's task
            waiter.result.set_exception(error)
            return
        waiter.planned = request
        if request is not None:
            if way is None or way is not before or not request.costs_as(way):
                request = self._decide(waiter, now)
            if request is None:
                return
            self._take(waiter, request, now)
        waiter.result.set_result(request)

    def _decide(self, waiter: Waiter, now: float) -> Request | None:
        """The request in the waiter's plan that may be sent now; otherwise park the waiter."""
        decision = self._policy.decide(waiter, now)
        if not isinstance(decision, Blocked):
            return decision
        self._queue.park(waiter, decision.key, decision.until)
        if decision.key.endswith(RESERVE):
            self._overloaded(now)
        return None

    def _overloaded(self, now: float) -> None:
        self.counters.held_back += 1
        if now >= self._silent_until:
            self._silent_until = now + LOG_SECONDS
            log.warning("overload: some replies appear only when complete", waiting=self.waiting)

    def _take(self, waiter: Waiter, request: Request, now: float) -> None:
        waiter.granted, waiter.granted_at = request, now
        self.counters.granted[waiter.urgency[0]] += 1
        for scope in request.scopes:
            self._window(scope).take(now)
        reservation = waiter.reservation
        if reservation is None:
            return
        waiter.kept_before = reservation.keeps
        reservation.is_shown |= waiter.urgency[0] in (Priority.FINAL, Priority.FIRST)
        if waiter.urgency[0] is Priority.FINAL:  # this request is the reserved one
            self._forecast.end(reservation, now)
            self._reserve(reservation, (), None)
        elif request.keeps is not None:
            self._reserve(reservation, request.keeps, request.grows)

    def _window(self, scope: str) -> SlidingWindow:
        window = self._windows.get(scope)
        if window is None:
            part = self._division.part(self._limits(scope), self._clock.monotonic())
            window = self._windows[scope] = SlidingWindow(part, self._margin)
        return window

    def _divide_again(self, now: float) -> None:
        """Give each window the part that this process has now, and check its waiters again."""
        for scope, window in self._windows.items():
            whole = self._limits(scope)
            if whole is None or not whole.divided:
                continue
            part = self._division.part(whole, now)
            if part != window.limit:
                window.limit = part
                self._queue.check_scope(scope, now)

    # ── waiting ───────────────────────────────────────────────────────────────────────────────
    def _withdraw(self, waiter: Waiter) -> None:
        """Return what a cancelled waiter was just granted, or else its place in the queue."""
        if waiter.granted is not None:
            for scope in waiter.granted.scopes:
                self._window(scope).refund(waiter.granted_at)
                self._queue.check_scope(scope, self._clock.monotonic())
            self.counters.granted[waiter.urgency[0]] -= 1
            if waiter.reservation is not None:
                self._reserve(waiter.reservation, waiter.kept_before, waiter.reservation.grows)
        else:
            self._queue.remove(waiter)
        self._arm()

    def _arm(self) -> None:
        """Schedule a task for the next check; while no one waits, there is none."""
        at = self._queue.next_check()
        if self._waker is not None and (at is None or at < self._waker_at):
            self._waker.cancel()
            self._waker = None
        if at is not None and self._waker is None:
            self._waker_at = at
            self._waker = asyncio.create_task(self._wake(at), name="rate limiter")

    async def _wake(self, at: float) -> None:
        await self._clock.sleep(max(0.0, at - self._clock.monotonic()))
        self._waker = None
        try:
            self._grant_due()
        finally:  # even after an error, waiters need a task that wakes them
            self._arm()

    def _sweep(self, now: float) -> None:
        """Forget idle windows each time the number of windows has doubled."""
        if len(self._windows) <= self._sweep_at:
            return
        for scope in [scope for scope, window in self._windows.items() if window.idle(now)]:
            if scope not in self._queue:
                del self._windows[scope]
        self._sweep_at = max(MIN_SWEEP, 2 * len(self._windows))
