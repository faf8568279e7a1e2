"""A publisher with a fake surface and ledger, on a clock that the test advances."""

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


def one_edit_per_second(scope: str) -> Limit | None:
    """One edit per second in a channel, and no limit elsewhere."""
    return Limit(1, 1.0) if scope.startswith("channel") else None


class ReplyRig:
    """A publisher's fake environment; `publisher()` creates a publisher in it."""

    def __init__(self, limits: Callable[[str], Limit | None] = one_edit_per_second) -> None:
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
    def messages(self) -> list[str]:
        return self.surface.platform.messages

    @property
    def actions(self) -> list[tuple[Action, int]]:
        return [(request.action, request.page) for request in self.surface.requests]

    async def wait_shown(self, reply: Publisher, seconds: float = 60.0) -> None:
        """Advance the clock until the finished reply is shown, by `seconds` at most."""
        shown = asyncio.create_task(reply.wait_until_shown())
        await settle()
        while not shown.done() and seconds > 0:
            await self.clock.advance(0.25)
            seconds -= 0.25
        assert shown.done(), "the reply is not shown"
        await shown
