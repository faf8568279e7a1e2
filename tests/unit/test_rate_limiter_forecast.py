"""How a budget is spent over the time that replies are expected to take; what is kept for ends."""

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
    """A rate limiter and replies that ask it."""

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
    """Evenly, with something left for replies that will arrive, and not over the whole minute."""
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


async def test_an_end_finds_its_request_whatever_others_spent() -> None:
    """One is kept for each reply that was begun, and interim edits never touch it."""
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


async def test_a_reply_that_could_not_be_ended_is_not_begun() -> None:
    """It is posted whole instead, when its text is final, which takes no edit."""
    desk = Desk()
    reservations = [desk.reply() for _ in range(14)]
    waiting = [desk.ask(POST, reservation, Priority.FIRST) for reservation in reservations]
    await desk.clock.advance(TYPICAL)
    assert sum(task.done() for task in waiting) == 10
    assert desk.rate_limiter.counters.held_back >= 4  # the log says so, too
    late = [number for number, task in enumerate(waiting) if not task.done()]
    whole = replace(POST, keeps=None, grows=None)
    for number in late:
        waiting[number].cancel()
    ends = [desk.ask(whole, reservations[number], Priority.FINAL) for number in late]
    await settle()
    assert all(end.done() for end in ends)


async def test_where_there_is_little_a_reply_begins_in_the_middle_of_its_time() -> None:
    """One post and one end each: then half of it is seen for half of the time."""
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
    """Streams share the appends, posts share the edits."""
    desk = Desk()
    actions = []
    for _ in range(5):
        granted = await desk.first(START, desk.reply())
        assert granted is not None
        actions.append(granted.action)
    assert actions == [Action.START, Action.START, Action.POST, Action.START, Action.START]


async def test_a_stream_whose_appends_are_used_up_goes_on_by_edits() -> None:
    """It is closed with what an append would have said, and keeps an edit for its end."""
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


async def test_who_leaves_gives_back_what_was_kept() -> None:
    """A reply whose place is gone keeps nothing from others."""
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
    """Abandoned replies do not; and the memory of ended ones fades."""
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


def test_a_reply_that_goes_on_is_expected_to_go_on() -> None:
    """However long it has been, there is some time left to spend the budget over."""
    forecast = Forecast()
    reservation = forecast.expect()
    forecast.begin(reservation, 0.0)
    left = [forecast.horizon(at, 0.0) for at in (0.0, 10.0, 19.0, 60.0, 600.0)]
    assert left[0] == TYPICAL
    assert left[1] == TYPICAL / 2
    assert all(seconds > 0 for seconds in left)
    assert left[-1] > left[-2] > left[-3]
