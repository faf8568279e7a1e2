"""Wrong tokens: logged without the token, answered more slowly, and never by too many at once."""

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
    """Sleeps are asked for, and last as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []
        self.over = asyncio.Event()
        self.over.set()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self.over.wait()


async def test_guesses_are_slower_the_more_there_were() -> None:
    """By address, up to a limit, and forgotten after a while."""
    clock = Clock()
    guesses = WrongTokenThrottle(clock)
    for _ in range(FREE):
        assert await guesses.wrong("1.2.3.4")
    assert clock.asked == []
    for _ in range(20):
        assert await guesses.wrong("1.2.3.4")
    assert clock.asked == sorted(clock.asked)
    assert (clock.asked[0], clock.asked[-1]) == (0.25, 2.0)
    assert await guesses.wrong("5.6.7.8")
    assert len(clock.asked) == 20
    await clock.advance(FORGET_SECONDS + 1)
    assert await guesses.wrong("1.2.3.4")
    assert len(clock.asked) == 20


async def test_no_more_than_a_few_wait_at_one_time() -> None:
    """Each holds a connection; more are refused at once."""
    clock = Clock()
    guesses = WrongTokenThrottle(clock)
    for _ in range(FREE):
        await guesses.wrong("a")
    clock.over.clear()
    waiting = [asyncio.create_task(guesses.wrong("a")) for _ in range(MOST_DELAYED)]
    while len(clock.asked) < MOST_DELAYED:
        await asyncio.sleep(0)
    assert not await guesses.wrong("a")
    clock.over.set()
    assert all(await asyncio.gather(*waiting))
    assert await guesses.wrong("a")


async def test_they_are_logged_seldom_and_counted_in_bounded_memory() -> None:
    guesses = WrongTokenThrottle(Clock())
    with capture_logs() as lines:
        for _ in range(100):
            await guesses.wrong("1.2.3.4")
    assert [line["times"] for line in lines] == [1, 2, 4, 8, 16, 32, 64]
    assert {line["address"] for line in lines} == {"1.2.3.4"}
    for number in range(MOST_ADDRESSES + 50):
        await guesses.wrong(str(number))
    assert len(guesses._counts) == MOST_ADDRESSES
