"""When shards of several processes begin their sessions, on a simulated clock."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, cast

import pytest

from adapters.discord import session_starts
from adapters.discord.rest import RestApi
from adapters.discord.session_starts import GatewayInfo, SessionStarts
from bot.domain.errors import Unsettled
from bot.ports.platform import RateLimiter
from tests.support.clock import ManualClock, settle
from tests.support.fake_cluster import FakeClusters


class Discord(SessionStarts):
    """The test sets Discord's responses about how many sessions are left."""

    def __init__(self, clock: ManualClock, cluster: Any, account: Account) -> None:
        rest = RestApi(rate_limiter=cast(RateLimiter, None), clock=clock)
        super().__init__(rest=rest, cluster=cluster, application=1)
        self.account = account

    async def read(self) -> GatewayInfo:
        if self.account.fails:
            raise Unsettled("no answer")
        self._granted = 0
        self.info = GatewayInfo(
            total=self.account.total,
            remaining=self.account.total - len(self.account.begun),
            max_concurrency=self.account.max_concurrency,
            reset_after=3_600.0,
            at=self._rest.clock.monotonic(),
        )
        return self.info


class Account:
    """Discord's own count."""

    def __init__(self, total: int = 1_000, max_concurrency: int = 1) -> None:
        self.total, self.max_concurrency, self.fails = total, max_concurrency, False
        self.begun: list[tuple[float, int]] = []  # times and shards


class Fleet:
    """Processes that begin their shards' sessions, each as soon as it may."""

    def __init__(self, account: Account, processes: int) -> None:
        self.clock, self.account, clusters = ManualClock(), account, FakeClusters()
        self.starts = [
            Discord(self.clock, clusters.process(str(n)), account) for n in range(processes)
        ]
        self.tasks: list[asyncio.Task[None]] = []

    def begin(self, shards: int) -> None:
        for shard in range(shards):
            starts = self.starts[shard % len(self.starts)]
            self.tasks.append(asyncio.create_task(self._begin(starts, shard)))

    async def _begin(self, starts: SessionStarts, shard: int) -> None:
        async with starts.turn(shard):
            await self.clock.sleep(0.4)  # connecting, and the session's handshake
            self.account.begun.append((self.clock.monotonic(), shard))

    async def run(self, seconds: float) -> float:
        """Advance until everyone has begun, and return how long that took."""
        began = self.clock.monotonic()
        while (
            not all(task.done() for task in self.tasks) and self.clock.monotonic() < began + seconds
        ):
            await self.clock.advance(1.0)
        return self.clock.monotonic() - began

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for starts in self.starts:
            await starts.aclose()
        await settle()


@pytest.mark.parametrize(("max_concurrency", "minutes"), [(1, 9.5), (16, 0.7)])
async def test_a_hundred_shards_of_four_processes_begin_in_turn(
    max_concurrency: int, minutes: float
) -> None:
    """100,000 guilds: at most one session per five seconds in each max_concurrency bucket."""
    fleet = Fleet(Account(max_concurrency=max_concurrency), processes=4)
    fleet.begin(100)
    taken = await fleet.run(3_600.0)
    assert len(fleet.account.begun) == 100
    for bucket in range(max_concurrency):
        times = sorted(at for at, shard in fleet.account.begun if shard % max_concurrency == bucket)
        assert all(later - at >= 5.0 for at, later in itertools.pairwise(times))
    assert taken <= minutes * 60
    await fleet.end()


async def test_the_last_tenth_is_kept_and_everyone_continues_after_the_reset() -> None:
    fleet = Fleet(Account(total=40), processes=2)
    fleet.begin(60)
    await fleet.run(900.0)
    assert len(fleet.account.begun) == 36
    assert all(starts.waits_until for starts in fleet.starts)
    fleet.account.total = 2_000
    await fleet.run(900.0)
    assert len(fleet.account.begun) == 60
    assert not any(starts.waits_until for starts in fleet.starts)
    await fleet.end()


async def test_several_buckets_leave_the_last_tenth_too() -> None:
    fleet = Fleet(Account(total=100, max_concurrency=16), processes=4)
    fleet.begin(200)
    await fleet.run(900.0)
    assert 75 <= len(fleet.account.begun) <= 90
    await fleet.end()


async def test_without_an_answer_sessions_begin() -> None:
    account = Account()
    account.fails = True
    fleet = Fleet(account, processes=1)
    fleet.begin(2)
    await fleet.run(60.0)
    assert len(account.begun) == 2
    await fleet.end()


async def test_a_waiter_that_gives_up_leaves_the_bucket_to_others() -> None:
    fleet = Fleet(Account(), processes=2)
    fleet.begin(3)
    await fleet.clock.advance(0.1)
    fleet.tasks[1].cancel()
    await fleet.run(60.0)
    assert [shard for _, shard in fleet.account.begun] == [0, 2]
    assert session_starts.IDENTIFY_SECONDS == 5.0
    await fleet.end()
