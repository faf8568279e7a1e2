"""A publisher with everything around it, on a clock that the test drives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bot.domain.replies import Action, Limit
from bot.domain.turns import Fence
from bot.replies.publisher import Publisher
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.support.clock import ManualClock, settle
from tests.support.surfaces import FakeLedger, FakeSurface

FENCE = Fence(turn=7, attempt=1)


def a_second(scope: str) -> Limit | None:
    """One request a second in a channel; no limit elsewhere."""
    return Limit(1, 1.0) if scope.startswith("channel") else None


class Stage:
    """A publisher with everything around it."""

    def __init__(self, limits: Callable[[str], Limit | None] = a_second) -> None:
        self.clock = ManualClock()
        self.rate_limiter = AccountRateLimiter(limits, self.clock)
        self.surface = FakeSurface(rate_limiter=self.rate_limiter, clock=self.clock)
        self.ledger = FakeLedger()

    def publisher(self, **options: object) -> Publisher:
        return Publisher(
            surface=self.surface,
            ledger=self.ledger,
            fence=FENCE,
            clock=self.clock,
            **options,  # type: ignore[arg-type]
        )

    @property
    def reading(self) -> list[str]:
        return self.surface.platform.reading

    @property
    def actions(self) -> list[tuple[Action, int]]:
        return [(request.action, request.page) for request in self.surface.requests]

    async def whole(self, reply: Publisher, seconds: float = 60.0) -> None:
        """Let the finished reply settle, at most so long; raises what `settled` raises."""
        settled = asyncio.create_task(reply.settled())
        await settle()
        while not settled.done() and seconds > 0:
            await self.clock.advance(0.25)
            seconds -= 0.25
        assert settled.done(), "the reply did not settle"
        await settled
