"""While the database fails, operations are retried and people get rate-limited notices."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from bot.common.retry import DATABASE, Backoff, retry_while_unavailable
from bot.domain.conversations import Author
from bot.domain.errors import LostOwnership, StoreUnavailable
from bot.inbox.notices import StorageNotices
from tests.support.clock import ManualClock, settle
from tests.support.store_kit import BEN, key, said


class Failing:
    """Fails `times` times, then returns 42."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.times, self.error, self.tries = times, error or StoreUnavailable("locked"), 0

    async def __call__(self) -> int:
        self.tries += 1
        if self.tries <= self.times:
            raise self.error
        return 42


async def test_an_operation_is_retried_with_growing_pauses_until_it_succeeds() -> None:
    clock, failing = ManualClock(), Failing(times=20)
    task = asyncio.create_task(retry_while_unavailable(failing, clock.sleep))
    await settle()
    for tries, pause in enumerate(itertools.islice(DATABASE, 20), start=1):
        assert failing.tries == tries
        await clock.advance(pause - 0.001)
        assert failing.tries == tries
        await clock.advance(0.001)
    assert await task == 42


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(first=0.5, longest=3.0)
    assert [*itertools.islice(backoff, 5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.after(10_000) == 3.0


async def test_other_errors_and_cancellation_end_the_retries() -> None:
    clock = ManualClock()
    with pytest.raises(LostOwnership):
        await retry_while_unavailable(Failing(1, LostOwnership("a newer attempt")), clock.sleep)
    task = asyncio.create_task(retry_while_unavailable(Failing(1), clock.sleep))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_person_gets_one_notice_a_minute_and_one_per_message() -> None:
    """Slack redelivers a message after one minute and after five."""
    clock = ManualClock()
    notices = StorageNotices(clock.monotonic)
    assert notices.is_due(said(1))
    assert not notices.is_due(said(1))
    assert not notices.is_due(said(2))
    assert notices.is_due(said(3, author=BEN)), "another person has a separate minute"
    clock.jump(60)
    assert not notices.is_due(said(1)), "this message had its notice"
    assert notices.is_due(said(4))
    clock.jump(59.9)
    assert not notices.is_due(said(5))
    clock.jump(0.1)
    assert notices.is_due(said(5))


def test_a_person_is_the_same_in_every_channel() -> None:
    notices = StorageNotices(ManualClock().monotonic)
    assert notices.is_due(said(1, where=key("t1")))
    assert not notices.is_due(said(2, where=key("t2", channel="c2")))


def test_notices_to_many_people_do_not_stay_in_memory() -> None:
    clock = ManualClock()
    notices = StorageNotices(clock.monotonic)
    for number in range(1_000):
        assert notices.is_due(said(number, author=Author(f"U{number}", "x")))
    clock.jump(600)
    assert notices.is_due(said(0, author=BEN))
    assert len(notices._people) + len(notices._messages) == 2
