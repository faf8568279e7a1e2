"""429s and the platform's own counts, on a manual clock."""

from __future__ import annotations

import asyncio
import random

import pytest

from bot.domain.operation import ScopeBudget
from bot.domain.replies import Action, Limit, Pace, Priority, Request
from bot.replies.ratelimit.limiter import AccountRateLimiter
from bot.replies.ratelimit.window import MARGIN
from tests.support.clock import ManualClock, settle
from tests.support.surfaces import other_tasks

MINUTE = Limit(10, 60.0, pace=Pace.FORECAST)
RTT = 0.1


class Platform:
    """A sliding window that other programs share; it does not count refused requests."""

    def __init__(self, clock: ManualClock, used: int) -> None:
        self._clock = clock
        self.taken = [clock.monotonic() - 60.0 + 4.0 * (number + 1) for number in range(used)]
        self.refused = 0
        self.frees = sorted(at + 60.0 for at in self.taken)

    def take(self) -> float:
        """Take a request and return 0.0, or return the whole seconds to wait."""
        now = self._clock.monotonic()
        self.taken = [at for at in self.taken if at > now - 60.0]
        if len(self.taken) < MINUTE.count:
            self.taken.append(now)
            return 0.0
        self.refused += 1
        return max(1.0, float(-(-(self.taken[0] + 60.0 - now) // 1)))


class Desk:
    """A rate limiter and its callers."""

    def __init__(self, used: int = 0) -> None:
        self.clock = ManualClock()
        self.rate_limiter = AccountRateLimiter(
            lambda scope: MINUTE if scope == "edit" else None, self.clock
        )
        self.platform = Platform(self.clock, used)
        self.ended: list[float] = []

    async def end(self) -> None:
        """Send a final text until the platform accepts it."""
        request, since = Request(Action.EDIT, 0, ("edit",)), self.clock.monotonic()
        wait = 1.0
        while wait:
            await self.rate_limiter.acquire(lambda: request, lambda: (Priority.FINAL, since))
            await self.clock.sleep(RTT)
            wait = self.platform.take()
            if wait:
                self.rate_limiter.throttled(wait, "edit")
                self.rate_limiter.refund("edit")
        self.ended.append(self.clock.monotonic())


@pytest.mark.parametrize("seed", range(8))
async def test_a_final_text_follows_retry_after_despite_many_429s(
    seed: int,
) -> None:
    """When a process starts on a spent budget, each text is sent within 2 s of Retry-After, which
    is in whole seconds and so up to one second late."""
    dice = random.Random(seed)
    desk = Desk(used=10)
    asked, tasks = [], []
    for _ in range(9):
        asked.append(desk.clock.monotonic())
        tasks.append(asyncio.create_task(desk.end()))
        await desk.clock.advance(dice.choice((0.0, 0.3, 2.0, 9.0)))
    await desk.clock.advance(70.0)
    assert all(task.done() for task in tasks)
    possible = [max(pair) for pair in zip(asked, desk.platform.frees, strict=False)]
    late = [end - due for end, due in zip(desk.ended, possible, strict=True)]
    assert max(late) < 1.0 + 2.0
    # No storm: only a few of the waiting requests meet the next 429.
    assert desk.platform.refused < 4 * len(tasks)


async def test_a_refused_request_does_not_count() -> None:
    """The budget is unchanged after ten 429s."""
    desk = Desk()
    for _ in range(10):
        await desk.rate_limiter.spend("edit", priority=Priority.FINAL)
        desk.rate_limiter.refund("edit")
    for _ in range(10):
        await asyncio.wait_for(desk.rate_limiter.spend("edit", priority=Priority.FIRST), 60)
    waiting = asyncio.create_task(desk.rate_limiter.spend("edit", priority=Priority.FIRST))
    await settle()
    assert not waiting.done()
    waiting.cancel()


async def test_unknown_use_slows_interim_requests_to_an_even_pace() -> None:
    """One 429 reveals ten requests of another program; final texts get their room first."""
    desk = Desk(used=10)
    desk.rate_limiter.throttled(1.0, "edit")
    tasks = [
        asyncio.create_task(desk.rate_limiter.spend("edit", priority=Priority.FIRST))
        for _ in range(3)
    ]
    await desk.clock.advance(2.0)
    assert not any(task.done() for task in tasks)
    await desk.clock.advance(38.0)
    assert all(task.done() for task in tasks)


async def test_a_429_closes_the_named_scopes_and_nothing_else() -> None:
    """A 429 without scopes closes nothing."""
    desk = Desk()
    await desk.rate_limiter.spend("edit", "other")
    desk.rate_limiter.throttled(300.0)
    await asyncio.wait_for(desk.rate_limiter.spend("edit", "other"), 60)
    desk.rate_limiter.throttled(300.0, "other")
    await asyncio.wait_for(desk.rate_limiter.spend("edit", priority=Priority.FIRST), 60)
    assert desk.rate_limiter.delay("edit") == 0.0
    assert desk.rate_limiter.delay("edit", "other") == pytest.approx(300.0 + MARGIN)


async def test_a_reported_count_is_not_exceeded() -> None:
    """A scope without a limit spends the reported count, then waits for the reset."""
    desk = Desk()
    desk.rate_limiter.observed("x", remaining=2, reset_after=30.0)
    await desk.rate_limiter.spend("x")
    desk.rate_limiter.observed("x", remaining=2, reset_after=30.0)  # an older answer
    await desk.rate_limiter.spend("x")
    third = asyncio.create_task(desk.rate_limiter.spend("x"))
    await desk.clock.advance(29.0)
    assert not third.done()
    assert desk.rate_limiter.delay("x") == pytest.approx(1.0 + MARGIN)
    await desk.clock.advance(1.1)
    assert third.done()
    desk.rate_limiter.observed("x", remaining=1, reset_after=60.0)  # the next window
    await asyncio.wait_for(desk.rate_limiter.spend("x"), 60)
    assert desk.rate_limiter.delay("x") == pytest.approx(60.0 + MARGIN)


async def test_a_reported_count_expires_with_its_window() -> None:
    """No task is left."""
    desk = Desk()
    desk.rate_limiter.observed("edit", remaining=0, reset_after=5.0)
    waiting = asyncio.create_task(desk.rate_limiter.spend("edit", priority=Priority.BACKGROUND))
    await desk.clock.advance(5.0 + 2 * MARGIN)
    assert waiting.done()
    assert other_tasks() == set()


async def test_the_report_has_the_fewest_requests_left_by_class_of_scope() -> None:
    clock = ManualClock()
    limiter = AccountRateLimiter(
        lambda scope: Limit(5, 5.0) if scope.startswith("channel:") else None, clock
    )
    for scope in ("channel:1", "channel:1", "channel:2"):
        await limiter.spend(scope, "POST /odd/{route}:9")
    report = limiter.report()
    assert (report.waiting, report.throttled) == (0, {})
    assert report.budgets == {"channel": ScopeBudget(3, 5)}
    limiter.observed("global", remaining=7, reset_after=2.0)
    limiter.throttled(3.0, "channel:2", "POST /odd/{route}:9")
    limiter.throttled(3.0, "channel:3")
    report = limiter.report()
    assert report.throttled == {"channel": 2, "other": 1}
    assert report.budgets == {
        "channel": ScopeBudget(0, 5),
        "global": ScopeBudget(7, None),
        "other": ScopeBudget(0, None),
    }
    waiting = asyncio.create_task(limiter.spend("channel:2"))
    await settle()
    assert limiter.report().waiting == 1
    await clock.advance(4)
    await waiting
    assert limiter.report().waiting == 0
