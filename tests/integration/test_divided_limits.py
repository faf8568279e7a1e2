"""Two processes send as fast as they may for one account on a simulated Discord."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.discord.adapter import DiscordAdapter
from adapters.discord.rest import EVERYTHING, limits, request_scopes
from bot.common.clock import SystemClock
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.support.discord_kit import running, until
from tests.support.fake_cluster import FakeCluster, FakeClusters
from tests.support.fake_inbox import FakeInbox

REQUESTS = 50  # for each process: more than the account may send in a window

WINDOW = 600.0
"""Seconds: longer than a test, so that each process sends only what one window allows, and no stall
puts the requests of two windows into one."""

LOGIN_REQUESTS = 5
"""At most this many of a process's requests are part of its login."""


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    """Only the account's global limit matters."""
    async with LocalDiscord() as sim:
        await sim.set_limits(buckets={"place": [1_000, 1.0]}, everywhere=[1_000, 1.0])
        yield sim


def limiter(cluster: FakeCluster, divided: bool) -> AccountRateLimiter:
    members = (lambda: cluster.members) if divided else (lambda: 1)
    return AccountRateLimiter(limits, SystemClock(), margin=WINDOW, members=members)


def flood(adapter: DiscordAdapter) -> list[asyncio.Task[object]]:
    rest = adapter._rest
    return [
        asyncio.create_task(
            rest.request(
                request_scopes("get-channel", c.CHANNEL),
                lambda client: client.http.get_channel(c.CHANNEL),
                within=60.0,
            )
        )
        for _ in range(REQUESTS)
    ]


@pytest.mark.parametrize("divided", [True, False])
async def test_two_processes_share_discords_global_limit(sim: LocalDiscord, divided: bool) -> None:
    """Divided, the limit causes no 429. Undivided, it does, which shows that this test would
    notice."""
    clusters, inbox = FakeClusters(), FakeInbox()
    one, other = clusters.process("a"), clusters.process("b")
    limiters = limiter(one, divided), limiter(other, divided)
    async with (
        running(sim, inbox, cluster=one, rate_limiter=limiters[0]) as first,
        running(sim, inbox, cluster=other, rate_limiter=limiters[1]) as second,
    ):
        await sim.set_limits(everywhere=[50, WINDOW])
        requests = flood(first) + flood(second)

        def settled() -> bool:
            """Whether each request was answered, or waits for the next window."""
            answered = sum(request.done() for request in requests)
            return answered + sum(each.waiting for each in limiters) == len(requests)

        await until(settled)
        answered = [request for request in requests if request.done()]
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        limited = (await sim.state())["limited"]
    assert len(answered) >= EVERYTHING.count - 2 * LOGIN_REQUESTS
    assert bool(limited) is not divided
