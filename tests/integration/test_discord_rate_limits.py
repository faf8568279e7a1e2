"""Rate limits are kept outside discord.py, whose limiter delays nothing; a 429 loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from discord.http import Ratelimit

from adapters.discord import rest
from bot.common.clock import SystemClock
from bot.domain.errors import Throttled
from bot.domain.replies import Limit, Priority, Shown
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.discord_kit import claim, frame, running, show, wait_received
from tests.support.fake_inbox import FakeInbox

# Discord's 5 per 5 s, five times as fast.
COUNT, SECONDS = 5, 1.0


def limits(scope: str) -> Limit | None:
    return Limit(COUNT, SECONDS) if scope.startswith("channel:") else rest.limits(scope)


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim(rtt=0.02) as sim:
        await sim.set_limits(buckets={"message": [COUNT, SECONDS]})
        yield sim


async def test_evenly_paced_edits_never_wait_for_discord_pys_limiter(
    sim: DiscordSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That limiter would delay the edit that takes the bucket's last token until the bucket
    refills."""
    used = list[object]()
    monkeypatch.setattr(Ratelimit, "acquire", lambda *_: used.append(1))
    inbox, edits = FakeInbox(), 10
    async with running(
        sim, inbox, rate_limiter=AccountRateLimiter(limits, SystemClock())
    ) as adapter:
        message = await sim.mention("question")
        surface = adapter.surface(claim(await wait_received(inbox, message)))
        await surface.open()
        shown = await show(surface, Shown(), frame("text"))
        for n in range(edits):
            current, wanted = shown, frame(f"text {n}")
            request = await surface.rate_limiter.acquire(
                lambda current=current, wanted=wanted: surface.plan(current, wanted),  # type: ignore[misc]
                lambda: (Priority.INTERIM, 0.0),
            )
            assert request is not None
            shown = await surface.perform(request, shown)
        await surface.close()
    assert (await sim.state())["limited"] == 0
    assert used == []


async def test_a_429_slows_the_rate_limiter_and_loses_nothing(
    sim: DiscordSim,
) -> None:
    """Discord allows less than the configured limit; the reply waits and the limiter adapts."""
    inbox, rate_limiter = FakeInbox(), AccountRateLimiter(limits, SystemClock())
    await sim.set_limits(buckets={"message": [2, 0.4]})
    async with running(sim, inbox, rate_limiter=rate_limiter) as adapter:
        message = await sim.mention("question")
        place = f"channel:{message}"
        surface = adapter.surface(claim(await wait_received(inbox, message)))
        await surface.open()
        shown = await show(surface, Shown(), frame("text"))
        path = f"PATCH /api/v10/channels/{message}"
        body = {"message": "You are being rate limited.", "retry_after": 0.1, "global": False}
        headers = {"Via": "1.1 google", "Retry-After": "1"}
        await sim.call("fault", match=path, status=429, body=body, headers=headers)
        with pytest.raises(Throttled) as refused:
            await show(surface, shown, frame("the whole text", final=True))
        rate_limiter.throttled(refused.value.retry_after, *refused.value.scopes)
        await show(surface, shown, frame("the whole text", final=True))
        await surface.close()
        assert rate_limiter.counters.throttled[place] == 1
    assert [m["content"] for m in await sim.messages(message, author=c.BOT)] == ["the whole text"]
