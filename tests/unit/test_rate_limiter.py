"""Which request the rate limiter grants, and the exact time, on a manual clock."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from bot.domain.replies import Action, Limit, Pace, Priority, ReplyOwner, Request, Reservation
from bot.replies.ratelimit.limiter import AccountRateLimiter
from bot.replies.ratelimit.queue import Waiter, WaitQueue
from bot.replies.ratelimit.window import MARGIN, PENALTY, SlidingWindow
from tests.support.clock import ManualClock, settle
from tests.support.surfaces import other_tasks

BURST = Limit(5, 5.0)
WIDE = Limit(50, 1.0, pace=Pace.NONE)


class Desk:
    """A rate limiter, its callers, and a record of its grants."""

    def __init__(self, limits: dict[str, Limit], margin: float = MARGIN) -> None:
        self.clock = ManualClock()
        self.rate_limiter = AccountRateLimiter(limits.get, self.clock, margin=margin)
        self.granted: list[tuple[float, str]] = []
        self.began = self.clock.monotonic()

    def ask(
        self,
        name: str,
        *scopes: str,
        priority: Priority = Priority.INTERIM,
        age: float = 0.0,
    ) -> asyncio.Task[Request | None]:
        request = Request(Action.EDIT, 0, scopes)
        return self.ask_with(name, lambda: request, lambda: (priority, age))

    def ask_with(
        self,
        name: str,
        plan: Callable[[], Request | None],
        rank: Callable[[], tuple[Priority, float]],
    ) -> asyncio.Task[Request | None]:
        async def wait() -> Request | None:
            request = await self.rate_limiter.acquire(plan, rank)
            if request is not None:
                self.granted.append((self.clock.monotonic() - self.began, name))
            return request

        return asyncio.create_task(wait())

    @property
    def names(self) -> list[str]:
        return [name for _, name in self.granted]

    @property
    def times(self) -> list[float]:
        return [round(at, 3) for at, _ in self.granted]


async def test_an_even_pace() -> None:
    """Edits in one channel are one even gap apart; the first is sent immediately."""
    desk = Desk({"c": BURST})
    for number in range(6):
        desk.ask(f"e{number}", "c", age=number)
    await desk.clock.advance(6)
    step = (5 + MARGIN) / 5
    assert desk.times == pytest.approx([number * step for number in range(6)], abs=0.001)


async def test_urgent_requests_use_the_burst_and_interim_ones_do_not() -> None:
    """Final texts wait for the budget, but not for the pace of edits."""
    desk = Desk({"c": BURST})
    for number in range(6):
        desk.ask(f"f{number}", "c", priority=Priority.FINAL, age=number)
    await settle()
    assert desk.times == [0.0] * 5
    await desk.clock.advance(5.1)
    assert desk.times[5] == 5 + MARGIN


async def test_the_end_of_a_reply_waits_for_one_gap_at_most() -> None:
    """This holds even in a channel with many edits."""
    for wait in (0.2, 0.9, 1.7, 4.4, 4.9, 5.2, 7.7):
        desk = Desk({"c": BURST})
        edits = [desk.ask(f"e{number}", "c", age=number) for number in range(30)]
        await desk.clock.advance(wait)
        desk.ask("final", "c", priority=Priority.FINAL)
        await desk.clock.advance(1.1)
        assert "final" in desk.names
        for edit in edits:
            edit.cancel()


async def test_the_order_of_urgency() -> None:
    """The most urgent request goes first; among edits, the one with the oldest unseen text."""
    desk = Desk({"c": Limit(1, 1.0)})
    desk.ask("now", "c")
    await settle()
    for name, priority, age in [
        ("young", Priority.INTERIM, 9.0),
        ("old", Priority.INTERIM, 3.0),
        ("background", Priority.BACKGROUND, 0.0),
        ("first", Priority.FIRST, 8.0),
        ("control", Priority.CONTROL, 8.0),
        ("final", Priority.FINAL, 9.0),
    ]:
        desk.ask(name, "c", priority=priority, age=age)
    await desk.clock.advance(7)
    assert desk.names == ["now", "final", "control", "first", "old", "young", "background"]


async def test_a_blocked_scope_does_not_block_others() -> None:
    """A request for another channel overtakes a final text that waits for its channel."""
    desk = Desk({"a": Limit(1, 10.0), "b": Limit(5, 1.0), "global": WIDE})
    desk.ask("a1", "a", "global")
    desk.ask("a2", "a", "global", priority=Priority.FINAL)
    desk.ask("b1", "b", "global")
    await settle()
    assert desk.names == ["a1", "b1"]


async def test_all_scopes_of_a_request_must_have_room() -> None:
    """A request waits for the last of its scopes and costs all of them."""
    desk = Desk({"a": Limit(1, 2.0), "b": Limit(1, 5.0)}, margin=0.0)
    desk.ask("b", "b")
    desk.ask("ab", "a", "b")
    await settle()
    desk.ask("a", "a")
    await desk.clock.advance(8)
    assert desk.granted == [(0.0, "b"), (0.0, "a"), (5.0, "ab")]


async def test_the_newest_plan_is_granted() -> None:
    """The new plan's scopes apply, even if they differ from the earlier plan's."""
    desk = Desk({"c": Limit(1, 2.0)}, margin=0.0)
    desk.ask("before", "c")
    newest = [Request(Action.EDIT, 0, ("c",), text="old")]
    task = desk.ask_with("late", lambda: newest[0], lambda: (Priority.INTERIM, -1.0))
    desk.ask("other", "c")
    await desk.clock.advance(1)
    newest[0] = Request(Action.EDIT, 0, ("c", "d"), text="new")
    await desk.clock.advance(1)
    assert desk.names == ["before", "late"]
    assert task.result() == newest[0]


async def test_the_newest_rank_counts() -> None:
    """A waiter that becomes less urgent lets others go first."""
    desk = Desk({"c": Limit(1, 2.0)}, margin=0.0)
    desk.ask("before", "c")
    ages = [-1.0]
    request = Request(Action.EDIT, 0, ("c",))
    desk.ask_with("late", lambda: request, lambda: (Priority.INTERIM, ages[0]))
    desk.ask("other", "c")
    await settle()
    ages[0] = 1.0
    await desk.clock.advance(4)
    assert desk.names == ["before", "other", "late"]


async def test_a_plan_that_became_none_costs_nothing() -> None:
    desk = Desk({"c": Limit(1, 2.0)}, margin=0.0)
    desk.ask("before", "c")
    plans: list[Request | None] = [Request(Action.EDIT, 0, ("c",))]
    task = desk.ask_with("gone", lambda: plans[0], lambda: (Priority.INTERIM, 0.0))
    desk.ask("after", "c", age=1.0)
    await settle()
    plans[0] = None
    await desk.clock.advance(2)
    assert task.result() is None
    assert desk.granted == [(0.0, "before"), (2.0, "after")]


async def test_an_error_in_a_plan_reaches_its_caller_only() -> None:
    desk = Desk({"c": Limit(2, 2.0)})

    def broken() -> Request | None:
        raise ValueError("a bug")

    task = desk.ask_with("broken", broken, lambda: (Priority.FINAL, 0.0))
    desk.ask("fine", "c")
    await settle()
    assert desk.names == ["fine"]
    with pytest.raises(ValueError, match="a bug"):
        await task


async def test_a_429_closes_its_scope_and_slows_it_for_a_minute() -> None:
    desk = Desk({"c": Limit(2, 2.0), "d": Limit(2, 2.0)}, margin=0.0)
    desk.rate_limiter.throttled(7.0, "c")
    desk.rate_limiter.throttled(7.0, "c")  # a second one in flight counts once
    for number in range(3):
        desk.ask(f"c{number}", "c", age=number)
    desk.ask("d", "d")
    await desk.clock.advance(12)
    step = 2.0 * PENALTY / 2
    assert desk.granted == [(0.0, "d"), (7.0, "c0"), (7.0 + step, "c1"), (7.0 + 2 * step, "c2")]
    assert desk.rate_limiter.counters.throttled == {"c": 2}
    await desk.clock.advance(70)
    start = desk.clock.monotonic() - desk.began
    for number in range(2):
        desk.ask(f"later{number}", "c", age=number)
    await desk.clock.advance(2)
    assert [at - start for at, _ in desk.granted[-2:]] == [0.0, 1.0]


async def test_a_429_closes_a_scope_without_a_limit() -> None:
    desk = Desk({})
    desk.rate_limiter.throttled(3.0, "x")
    desk.ask("x", "x")
    await desk.clock.advance(4)
    assert desk.times == [pytest.approx(3.0 + MARGIN)]


@pytest.mark.parametrize("seed", range(20))
async def test_every_waiter_is_served(seed: int) -> None:
    """Waiters share scopes, reserve requests, change rank and leave."""
    chance = random.Random(seed)
    limits = {
        "a": Limit(3, 2.0, pace=Pace.FORECAST),
        "b": Limit(4, 3.0, pace=Pace.NONE),
        "c": Limit(2, 1.0),
    }
    desk = Desk(limits)
    tasks: list[asyncio.Task[Request | None]] = []
    for _number in range(150):
        owner = chance.choice((None, ReplyOwner("w", "ann"), ReplyOwner("w", "ben")))
        reservation = desk.rate_limiter.reserve(owner)
        desk.rate_limiter.begin(reservation)
        scopes = tuple(chance.sample("abc", chance.randint(1, 3)))
        keeps = (chance.choice("ab"),) if chance.random() < 0.3 else None
        request = Request(Action.EDIT, 0, scopes, keeps=keeps, grows=keeps and keeps[0])
        tasks.append(asyncio.create_task(_serve(desk, request, reservation, chance)))
        if chance.random() < 0.1:
            chance.choice(tasks).cancel()
        await desk.clock.advance(chance.random() * 0.3)
    await desk.clock.advance(2_000)
    assert all(task.done() for task in tasks)
    assert desk.rate_limiter.waiting == 0
    assert not desk.rate_limiter._owners._kept


async def _serve(
    desk: Desk, request: Request, reservation: Reservation, chance: random.Random
) -> Request | None:
    """Acquire a request with a rank that changes at every call, then release."""
    priorities = [Priority.FINAL, Priority.CONTROL, Priority.FIRST, Priority.INTERIM]
    try:
        return await desk.rate_limiter.acquire(
            lambda: request,
            lambda: (chance.choice(priorities), float(chance.randrange(3))),
            reservation,
        )
    finally:
        desk.rate_limiter.release(reservation)


async def test_a_cancelled_waiter_is_forgotten() -> None:
    """It leaves no queue entry, timer or task behind."""
    desk = Desk({"c": Limit(1, 5.0)})
    desk.ask("first", "c")
    waiting = [desk.ask(f"w{number}", "c", age=number) for number in range(3)]
    await settle()
    assert desk.rate_limiter.waiting == 3
    for task in waiting:
        task.cancel()
    await settle()
    assert desk.rate_limiter.waiting == 0
    assert not other_tasks()


async def test_a_waiter_cancelled_at_its_grant_returns_the_request() -> None:
    desk = Desk({"c": Limit(1, 5.0)}, margin=0.0)
    desk.ask("first", "c")
    leaving = desk.ask("leaving", "c", age=0.0)
    desk.ask("next", "c", age=1.0)
    await settle()
    desk.clock._now += 5.0
    desk.rate_limiter._grant_due()  # its waiter has not run yet
    leaving.cancel()
    await desk.clock.advance(0.001)
    assert leaving.cancelled()
    assert desk.names == ["first", "next"]
    assert desk.rate_limiter.counters.granted[Priority.INTERIM] == 2


async def test_a_waiter_cancelled_before_a_pass_does_not_stop_the_pass() -> None:
    """Its future is cancelled immediately, but it withdraws only when its task runs again."""
    clock = ManualClock()
    rate_limiter = AccountRateLimiter(lambda scope: Limit(1, 1.0), clock)
    request = Request(Action.EDIT, 0, ("channel:1",))
    assert await rate_limiter.acquire(lambda: request, lambda: (Priority.INTERIM, 0.0)) == request
    leaving = asyncio.create_task(
        rate_limiter.acquire(lambda: request, lambda: (Priority.INTERIM, 0.0))
    )
    staying = asyncio.create_task(
        rate_limiter.acquire(lambda: request, lambda: (Priority.INTERIM, 0.0))
    )
    await settle()
    assert rate_limiter.waiting == 2
    clock.jump(5.0)
    leaving.cancel()
    rate_limiter._grant_due()  # in the same iteration of the loop
    assert await staying == request
    assert leaving.cancelled()
    await clock.advance(5.0)
    assert rate_limiter.waiting == 0


async def test_requests_of_no_reply_cost_the_same_budget() -> None:
    desk = Desk({"c": Limit(1, 2.0)}, margin=0.0)
    await desk.rate_limiter.spend("c")
    desk.ask("edit", "c", age=0.0)
    spent = asyncio.create_task(desk.rate_limiter.spend("c"))
    await desk.clock.advance(2)
    assert spent.done()
    assert desk.names == []


async def test_idle_scopes_are_forgotten() -> None:
    """Ten thousand channels, each used once, take no memory."""
    clock = ManualClock()
    rate_limiter = AccountRateLimiter(lambda scope: Limit(5, 5.0), clock)
    for number in range(10_000):
        await rate_limiter.spend(f"channel:{number}")
        await clock.advance(0.5)
    assert len(rate_limiter.scopes) <= 65


def windows(times: Sequence[float], seconds: float) -> int:
    """The largest count in any window of `seconds`."""
    ordered = sorted(times)
    most = begin = 0
    for end, at in enumerate(ordered):
        while ordered[begin] <= at - seconds:
            begin += 1
        most = max(most, end - begin + 1)
    return most


@pytest.mark.parametrize("seed", range(5))
async def test_no_window_is_ever_too_full(seed: int) -> None:
    """Under random load, with jitter below the margin, no server counts too many requests."""
    chance = random.Random(seed)
    limits = {"c": Limit(5, 5.0), "global": Limit(20, 2.0)}
    desk = Desk({**{f"c{n}": limits["c"] for n in range(9)}, "global": limits["global"]})
    asked: dict[str, str] = {}
    for number in range(400):
        channel = f"c{chance.randrange(9)}"
        asked[f"r{number}"] = channel
        priority = chance.choice(list(Priority))
        desk.ask(f"r{number}", channel, "global", priority=priority, age=chance.random())
        await desk.clock.advance(chance.random() * 0.05)
    await desk.clock.advance(100)
    assert len(desk.granted) == 400
    seen = [(at + chance.random() * MARGIN * 0.99, asked[name]) for at, name in desk.granted]
    assert windows([at for at, _ in seen], 2.0) <= 20
    for channel in set(asked.values()):
        assert windows([at for at, where in seen if where == channel], 5.0) <= 5


async def test_a_thousand_waiters_are_planned_once_each_and_in_short_steps() -> None:
    """A thousand waiters that have room at the same time are granted in several passes."""
    desk = Desk({"all": Limit(2_000, 1.0)}, margin=0.0)
    desk.rate_limiter.throttled(1.0, "all")
    planned = [0] * 1_000

    def plan(number: int) -> Request:
        planned[number] += 1
        desk.clock.jump(0.000_01)  # the cost of planning
        return Request(Action.EDIT, 0, ("all", f"channel:{number}"))

    for number in range(1_000):
        desk.ask_with(f"w{number}", partial(plan, number), lambda: (Priority.FIRST, 0.0))
    await settle()
    assert planned == [1] * 1_000
    desk.clock.jump(1.0)
    desk.rate_limiter._grant_due()
    await asyncio.sleep(0)
    assert 400 <= len(desk.granted) <= 600  # STEP_SECONDS of them
    await desk.clock.advance(0.1)
    assert len(desk.granted) == 1_000
    assert planned == [2] * 1_000


async def test_ranks_that_fall_at_every_call_do_not_loop() -> None:
    """A reply without unseen text has the current time as its age key."""
    queue, now = WaitQueue(), itertools.count()
    waiters = [
        Waiter(lambda: None, lambda: (Priority.INTERIM, float(next(now))), n, None)
        for n in range(3)
    ]
    for waiter in waiters:
        queue.park(waiter, "c", 0.0)
    assert queue.first("c") in waiters
    assert queue.first("c") in waiters


async def test_a_waiter_that_waits_again_counts_once() -> None:
    """This holds even if its old entry is not at the top of the heap."""
    queue = WaitQueue()
    ranks = {"late": (Priority.INTERIM, 2.0), "early": (Priority.INTERIM, 1.0)}
    late = Waiter(lambda: None, lambda: ranks["late"], 1, None)
    early = Waiter(lambda: None, lambda: ranks["early"], 2, None)
    queue.park(late, "c", 0.0)
    queue.park(early, "c", 0.0)
    for _ in range(3):
        queue.remove(late)
        queue.park(late, "c", 0.0)
    assert len(queue) == 2
    for waiter in (early, late):
        assert queue.first("c") is waiter
        queue.remove(waiter)
    assert queue.first("c") is None
    assert len(queue) == 0


def test_a_refund_frees_one_request() -> None:
    window = SlidingWindow(Limit(2, 10.0), margin=0.0)
    window.take(0.0)
    window.take(1.0)
    assert window.open_at(2.0) == 10.0
    window.refund(1.0)
    assert window.open_at(2.0) <= 2.0
    assert not window.idle(2.0)
    assert window.idle(11.0)


# ── the platform's own counts ─────────────────────────────────────────────────────────────────
async def test_an_empty_window_closes_its_scope_without_a_penalty() -> None:
    desk = Desk({})
    desk.rate_limiter.observed("thread:1", remaining=0, reset_after=300.0)
    waiting = desk.ask("late", "thread:1")
    other = desk.ask("now", "thread:2")
    await settle()
    assert (waiting.done(), other.done()) == (False, True)
    assert desk.rate_limiter.delay("thread:2", "thread:1") == pytest.approx(300.0, abs=0.1)
    await desk.clock.advance(300.1)
    assert (await waiting) is not None
    assert desk.rate_limiter.counters.throttled == {}


async def test_a_long_window_with_requests_left_closes_nothing() -> None:
    desk = Desk({})
    desk.rate_limiter.observed("thread:1", remaining=49, reset_after=300.0)
    assert (await desk.ask("now", "thread:1")) is not None
    assert desk.rate_limiter.delay("thread:1", "never seen") == 0.0
