"""Spending a budget over the expected time of replies, and reservations for their ends."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest

from bot.domain.replies import Action, Limit, Pace, Priority, Request, Reservation
from bot.replies.ratelimit.forecast import ARRIVALS, MEMORY, TYPICAL, Forecast
from bot.replies.ratelimit.limiter import AccountRateLimiter
from bot.replies.ratelimit.policy import ENOUGH
from tests.support.clock import ManualClock, settle

LIMITS = {
    "edit": Limit(10, 60.0, pace=Pace.FORECAST),
    "append": Limit(20, 60.0, pace=Pace.FORECAST, then="edit"),
    "start": Limit(4, 60.0, pace=Pace.NONE),
    "stop": Limit(4, 60.0, pace=Pace.NONE),
    "post": Limit(100, 60.0, pace=Pace.NONE),
}
POST = Request(Action.POST, 0, ("post",), keeps=("edit",), grows="edit")
START = Request(Action.START, 0, ("start",), keeps=("stop",), grows="append", otherwise=POST)
EDIT = Request(Action.EDIT, 0, ("edit",))
APPEND = Request(Action.APPEND, 0, ("append",))
CLOSE = Request(Action.CLOSE, 0, ("stop",), keeps=("edit",), grows="edit")


class Desk:
    """A rate limiter and its replies."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.rate_limiter = AccountRateLimiter(LIMITS.get, self.clock)
        self.began = self.clock.monotonic()
        self.granted: list[tuple[float, Request]] = []

    def reply(self) -> Reservation:
        reservation = self.rate_limiter.reserve()
        self.rate_limiter.begin(reservation)
        return reservation

    def ask(
        self, request: Request, reservation: Reservation, priority: Priority = Priority.INTERIM
    ) -> asyncio.Task[Request | None]:
        since = self.clock.monotonic()

        async def wait() -> Request | None:
            granted = await self.rate_limiter.acquire(
                lambda: request, lambda: (priority, since), reservation
            )
            assert granted is not None
            self.granted.append((self.clock.monotonic() - self.began, granted))
            return granted

        return asyncio.create_task(wait())

    async def first(self, request: Request, reservation: Reservation) -> Request | None:
        task = self.ask(request, reservation, Priority.FIRST)
        await settle()
        return task.result() if task.done() else None


async def test_one_reply_spends_its_budget_over_its_expected_time() -> None:
    """It spends evenly, with something left for replies that will arrive, and not over the whole
    minute."""
    desk = Desk()
    reservation = desk.reply()
    assert await desk.first(POST, reservation) == POST
    for _ in range(3):
        desk.ask(EDIT, reservation)
    await desk.clock.advance(TYPICAL / 2)
    times = [at for at, _ in desk.granted]
    horizon = TYPICAL * (1 + ARRIVALS * LIMITS["edit"].seconds)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[1:] == pytest.approx([horizon / 10] * 2, rel=0.15)


async def test_an_ending_finds_its_reserved_request() -> None:
    """Interim edits of other replies never spend it."""
    desk = Desk()
    reservations = [desk.reply() for _ in range(3)]
    for reservation in reservations:
        desk.ask(POST, reservation, Priority.FIRST)
    await desk.clock.advance(TYPICAL)
    tasks = [desk.ask(EDIT, reservations[0]) for _ in range(30)]
    await desk.clock.advance(35.0)
    assert sum(task.done() for task in tasks) == 7
    ends = [desk.ask(EDIT, reservation, Priority.FINAL) for reservation in reservations]
    await settle()
    assert all(end.done() for end in ends)
    for task in tasks:
        task.cancel()


async def test_a_reply_without_a_request_for_its_end_does_not_begin() -> None:
    """It is posted whole when its text is final, which costs no edit."""
    desk = Desk()
    reservations = [desk.reply() for _ in range(14)]
    waiting = [desk.ask(POST, reservation, Priority.FIRST) for reservation in reservations]
    await desk.clock.advance(TYPICAL)
    assert sum(task.done() for task in waiting) == 10
    assert desk.rate_limiter.counters.held_back >= 4
    late = [number for number, task in enumerate(waiting) if not task.done()]
    whole = replace(POST, keeps=None, grows=None)
    for number in late:
        waiting[number].cancel()
    ends = [desk.ask(whole, reservations[number], Priority.FINAL) for number in late]
    await settle()
    assert all(end.done() for end in ends)


async def test_under_overload_a_reply_begins_in_the_middle_of_its_time() -> None:
    """With one post and one final edit, half of the text is visible for half of the time."""
    desk = Desk()
    reservations = [desk.reply() for _ in range(8)]
    for reservation in reservations:
        desk.ask(POST, reservation, Priority.FIRST)
    await desk.clock.advance(TYPICAL / (1 + ENOUGH) - 0.1)
    assert desk.granted == []
    await desk.clock.advance(TYPICAL / 2)
    assert len(desk.granted) == 8


async def test_replies_that_wait_to_begin_share_the_budget() -> None:
    """The first of many replies does not take what the others need."""
    desk = Desk()
    for _ in range(40):
        desk.reply()
    assert await desk.first(POST, desk.reply()) is None


async def test_a_reply_begins_where_it_can_expect_more_requests() -> None:
    """Streams share the appends, and posts share the edits."""
    desk = Desk()
    actions = []
    for _ in range(5):
        granted = await desk.first(START, desk.reply())
        assert granted is not None
        actions.append(granted.action)
    assert actions == [Action.START, Action.START, Action.POST, Action.START, Action.START]


async def test_a_stream_without_appends_continues_with_edits() -> None:
    """The close carries the text of the append, and an edit is reserved for the end."""
    desk = Desk()
    reservation = desk.reply()
    assert await desk.first(START, reservation) == START
    append = replace(APPEND, otherwise=CLOSE)
    for _ in range(21):
        task = desk.ask(append, reservation)
        await desk.clock.advance(2.0)
        assert task.done()
    actions = [request.action for _, request in desk.granted]
    assert actions == [Action.START] + [Action.APPEND] * 20 + [Action.CLOSE]
    assert reservation.keeps == ("edit",)


async def test_a_released_reservation_is_free_for_others() -> None:
    desk = Desk()
    reservations = [desk.reply() for _ in range(10)]
    for reservation in reservations:
        desk.ask(POST, reservation, Priority.FIRST)
    await desk.clock.advance(TYPICAL)
    other = desk.reply()
    task = desk.ask(POST, other, Priority.FIRST)
    await desk.clock.advance(TYPICAL / 2)
    assert not task.done()
    desk.rate_limiter.release(reservations[0])
    await settle()
    assert task.done()


def test_ended_replies_leave_budget_for_more_of_them() -> None:
    """Abandoned replies do not count, and the influence of ended ones fades."""
    forecast = Forecast()
    quiet = forecast.horizon(0.0, 60.0)
    for _ in range(10):
        reservation = forecast.expect()
        forecast.begin(reservation, 0.0)
        forecast.end(reservation, 10.0)
        forecast.forget(forecast.expect())
    assert forecast.replies == 0
    assert forecast.horizon(10.0, 60.0) == pytest.approx(quiet + TYPICAL * 10 * 60.0 / MEMORY)
    assert forecast.horizon(10.0 + 10 * MEMORY, 60.0) == pytest.approx(quiet, rel=0.01)


def test_a_long_reply_is_expected_to_continue() -> None:
    """At any age, some time is left over which to spend the budget."""
    forecast = Forecast()
    reservation = forecast.expect()
    forecast.begin(reservation, 0.0)
    left = [forecast.horizon(at, 0.0) for at in (0.0, 10.0, 19.0, 60.0, 600.0)]
    assert left[0] == TYPICAL
    assert left[1] == TYPICAL / 2
    assert all(seconds > 0 for seconds in left)
    assert left[-1] > left[-2] > left[-3]
