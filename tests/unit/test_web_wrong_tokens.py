"""Wrong tokens: logged without the token, answered more and more slowly, with few responses
delayed."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from adapters.web.wrong_tokens import (
    FORGET_SECONDS,
    FREE,
    MOST_ADDRESSES,
    MOST_DELAYED,
    WrongTokenThrottle,
)
from tests.support.clock import ManualClock


class Clock(ManualClock):
    """A clock that records sleeps, and ends them when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []
        self.over = asyncio.Event()
        self.over.set()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.over.wait()


async def test_repeated_wrong_tokens_are_delayed_longer() -> None:
    """Counted by address, up to a limit, and forgotten after a while."""
    clock = Clock()
    throttle = WrongTokenThrottle(clock)
    for _ in range(FREE):
        assert await throttle.wrong("1.2.3.4")
    assert clock.asked == []
    for _ in range(20):
        assert await throttle.wrong("1.2.3.4")
    assert clock.asked == sorted(clock.asked)
    assert (clock.asked[0], clock.asked[-1]) == (0.25, 2.0)
    assert await throttle.wrong("5.6.7.8")
    assert len(clock.asked) == 20
    await clock.advance(FORGET_SECONDS + 1)
    assert await throttle.wrong("1.2.3.4")
    assert len(clock.asked) == 20


async def test_the_number_of_delayed_responses_is_limited() -> None:
    """Each delayed response occupies a connection, so further ones are refused immediately."""
    clock = Clock()
    throttle = WrongTokenThrottle(clock)
    for _ in range(FREE):
        await throttle.wrong("a")
    clock.over.clear()
    waiting = [asyncio.create_task(throttle.wrong("a")) for _ in range(MOST_DELAYED)]
    while len(clock.asked) < MOST_DELAYED:
        await asyncio.sleep(0)
    assert not await throttle.wrong("a")
    clock.over.set()
    assert all(await asyncio.gather(*waiting))
    assert await throttle.wrong("a")


async def test_wrong_tokens_are_logged_rarely_and_counted_in_bounded_memory() -> None:
    throttle = WrongTokenThrottle(Clock())
    with capture_logs() as lines:
        for _ in range(100):
            await throttle.wrong("1.2.3.4")
    assert [line["times"] for line in lines] == [1, 2, 4, 8, 16, 32, 64]
    assert {line["address"] for line in lines} == {"1.2.3.4"}
    for number in range(MOST_ADDRESSES + 50):
        await throttle.wrong(str(number))
    assert len(throttle._counts) == MOST_ADDRESSES
