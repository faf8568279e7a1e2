"""A waiter that is cancelled at an unlucky moment takes nobody with it."""

from __future__ import annotations

import asyncio

from bot.domain.replies import Action, Limit, Priority, Request
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.support.clock import ManualClock, settle

INTERIM = (Priority.INTERIM, 0.0)


async def test_waiter_cancelled_in_the_turn_that_serves_it_leaves_the_others_served() -> None:
    """Its future is cancelled at once, but it withdraws only when its task runs again."""
    clock = ManualClock()
    rate_limiter = AccountRateLimiter(lambda scope: Limit(1, 1.0), clock)
    request = Request(Action.EDIT, 0, ("channel:1",))
    assert await rate_limiter.acquire(lambda: request, lambda: INTERIM) == request
    leaving = asyncio.create_task(rate_limiter.acquire(lambda: request, lambda: INTERIM))
    staying = asyncio.create_task(rate_limiter.acquire(lambda: request, lambda: INTERIM))
    await settle()
    assert rate_limiter.waiting == 2
    clock.jump(5.0)
    leaving.cancel()
    rate_limiter._grant_due()  # what the waker does, in this very turn of the loop
    assert await staying == request
    assert leaving.cancelled()
    await clock.advance(5.0)
    assert rate_limiter.waiting == 0
