"""One person's flood of replies, and one workspace's, leave room for another's first text."""

from __future__ import annotations

import asyncio

import pytest

from bot.domain.replies import Action, Limit, Pace, Priority, ReplyOwner, Request
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.support.clock import ManualClock, settle

POSTS = Limit(3, 3.0, Pace.NONE)
EDITS = Limit(50, 60.0, Pace.FORECAST)
ANN, BEN = ReplyOwner("w1", "ann"), ReplyOwner("w1", "ben")


class Account:
    """A platform account like Slack's: each reply posts a page, then edits it until its end."""

    def __init__(self, posts: Limit = POSTS) -> None:
        self.clock = ManualClock()
        limits = {"posts": posts, "edits": EDITS}
        self.limiter = AccountRateLimiter(limits.get, self.clock)
        self.begun: list[ReplyOwner] = []
        self.tasks: list[asyncio.Task[None]] = []

    def reply(self, owner: ReplyOwner, keeps: tuple[str, ...] | None = ("edits",)) -> None:
        self.tasks.append(asyncio.create_task(self._grow(owner, keeps)))

    async def _grow(self, owner: ReplyOwner, keeps: tuple[str, ...] | None) -> None:
        reservation = self.limiter.reserve(owner)
        self.limiter.begin(reservation)
        try:
            since = self.clock.monotonic()
            post = Request(Action.POST, 0, ("posts",), keeps=keeps, grows="edits")
            edit = Request(Action.EDIT, 0, ("edits",))
            await self.limiter.acquire(lambda: post, lambda: (Priority.FIRST, since), reservation)
            self.begun.append(owner)
            while True:
                await self.limiter.acquire(
                    lambda: edit, lambda: (Priority.INTERIM, since), reservation
                )
        finally:
            self.limiter.release(reservation)

    async def abandon(self) -> None:
        await self.close()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)


@pytest.mark.parametrize("minutes", [0, 1, 3])
async def test_a_first_text_goes_before_the_flood_of_another(minutes: int) -> None:
    """This holds even when the flood has used its share of the edits and of the final requests."""
    account = Account()
    for _ in range(200):
        account.reply(ANN)
    await account.clock.advance(60 * minutes + 1)
    await settle()
    flood = len(account.begun)
    assert flood >= 2
    account.reply(BEN)
    await settle()
    assert account.begun[flood:] == [BEN]
    await account.close()


async def test_a_workspace_with_many_people_does_not_hold_back_another() -> None:
    """The first text of a workspace without replies is the next request in Discord's global
    limit."""
    account = Account(Limit(46, 1.0, Pace.NONE))
    for number in range(200):
        account.reply(ReplyOwner("w1", str(number)), None)
    await account.clock.advance(2)
    flood = len(account.begun)
    account.reply(ReplyOwner("w2", "cem"), None)
    await account.clock.advance(2)
    assert account.begun[flood].workspace == "w2"
    await account.close()
