"""Two processes send as fast as they may for one account of a simulated Discord."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.discord.adapter import DiscordAdapter
from adapters.discord.rest import limits, request_scopes
from bot.common.clock import SystemClock
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.support.discord_kit import running
from tests.support.fake_cluster import FakeCluster, FakeClusters
from tests.support.fake_inbox import FakeInbox

REQUESTS = 50  # of each process

MARGIN = 1.0
"""Seconds by which requests may be late: a busy machine sends some of them together."""


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    """Only the account's global limit matters."""
    async with LocalDiscord() as sim:
        await sim.set_limits(buckets={"place": [1_000, 1.0]})
        yield sim


def limiter(cluster: FakeCluster, divided: bool) -> AccountRateLimiter:
    members = (lambda: cluster.members) if divided else (lambda: 1)
    return AccountRateLimiter(limits, SystemClock(), margin=MARGIN, members=members)


async def flood(adapter: DiscordAdapter) -> None:
    rest = adapter._rest
    await asyncio.gather(
        *(
            rest.request(
                request_scopes("get-channel", c.CHANNEL),
                lambda client: client.http.get_channel(c.CHANNEL),
                within=60.0,
            )
            for _ in range(REQUESTS)
        ),
        return_exceptions=True,
    )


@pytest.mark.parametrize("divided", [True, False])
async def test_two_processes_share_discords_global_limit(sim: LocalDiscord, divided: bool) -> None:
    """Divided, it gives no 429; otherwise it does, which shows that this test would notice."""
    clusters, inbox = FakeClusters(), FakeInbox()
    one, other = clusters.process("a"), clusters.process("b")
    async with (
        running(sim, inbox, cluster=one, rate_limiter=limiter(one, divided)) as first,
        running(sim, inbox, cluster=other, rate_limiter=limiter(other, divided)) as second,
    ):
        await asyncio.gather(flood(first), flood(second))
    assert bool((await sim.state())["limited"]) is not divided
