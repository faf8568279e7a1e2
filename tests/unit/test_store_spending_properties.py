"""Random requests under random budgets: the books equal a naive reference that adds everything up.

The reference keeps every request in a list and computes each sum again. It also checks the promise
that a budget is exceeded by at most one reservation, as long as no request uses more than it
reserved.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.model import Usage
from bot.domain.policy import Budget, BudgetScope, Period
from bot.domain.spending import (
    Booking,
    BudgetLine,
    NotReserved,
    PeriodSpan,
    Quote,
    Refusal,
    Reserved,
    Spender,
    UsageField,
    UsageQuery,
    account_of,
)
from bot.store import budget_sums, daily_usage, spending
from tests.support.new_database import in_memory
from tests.support.store_kit import ANN, BEN, key

DAYS = ("2026-11-29", "2026-11-30", "2026-12-01")
BUDGETS = (
    Budget(name="each", scope=BudgetScope.PERSON, period=Period.DAY, amount=Decimal("0.000001")),
    Budget(name="room", scope=BudgetScope.CHANNEL, period=Period.MONTH, tokens=1_000),
    Budget(name="all", scope=BudgetScope.ALL, period=Period.MONTH, amount=Decimal("0.000003")),
)
PERSONS = (ANN, BEN, None)
CHANNELS = ("c1", "c2")
RESERVE = st.tuples(
    st.just("reserve"),
    st.sampled_from(PERSONS),
    st.sampled_from(CHANNELS),
    st.integers(1, 400),  # tokens of the input
    st.integers(1, 400),  # of the longest answer
    st.booleans(),  # whether the price is known
)
STEPS = st.one_of(
    RESERVE,
    RESERVE,
    RESERVE,
    st.tuples(st.just("settle"), st.integers(0, 9), st.floats(0, 1), st.integers(1, 2)),
    st.tuples(st.sampled_from(["release", "progress"]), st.integers(0, 9)),
    st.tuples(st.sampled_from(["day", "die", "forget"])),
)


@dataclass
class Entry:
    """A request in the reference. `booked` is None while it runs."""

    id: int
    person: str
    channel: str
    day: str
    lines: tuple[BudgetLine, ...]
    quote: Quote
    output: int = 0
    booked: list[tuple[Usage, int | None]] | None = None


@dataclass
class World:
    db: sqlite3.Connection
    day: int = 0
    entries: list[Entry] = field(default_factory=list)

    def running(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.booked is None]

    def spent(self, line: BudgetLine) -> tuple[int, int]:
        """The amounts of a line that are spent and reserved, in its unit."""
        name = (line.budget.name, line.account, line.period.name)
        spent = reserved = 0
        for entry in self.entries:
            if name not in [(x.budget.name, x.account, x.period.name) for x in entry.lines]:
                continue
            if entry.booked is None:
                reserved += (entry.quote.cost or 0) if line.in_money else entry.quote.tokens
            for usage, cost in entry.booked or ():
                spent += (cost or 0) if line.in_money else usage.total_tokens
        return spent, reserved


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=15, max_size=50))
def test_the_books_equal_the_sum_of_all_requests(steps: list[tuple[object, ...]]) -> None:
    with closing(in_memory()) as db:
        check_after_each(World(db), steps)


def reserve(
    world: World, author: object, channel: str, asked: int, most: int, priced: bool
) -> None:
    person = author if author in (ANN, BEN) else None
    where = key(channel=channel)
    lines = tuple(
        BudgetLine(budget, account, period_of(budget, world.day))
        for budget in BUDGETS
        if (account := account_of(budget.scope, where, person)) is not None  # type: ignore[arg-type]
    )
    quote = Quote("m", asked, most, asked * 2 if priced else None, 3.0 if priced else None)
    spender = Spender(where, person)  # type: ignore[arg-type]
    result = spending.reserve(world.db, 0.0, spender, lines, quote, DAYS[world.day])
    expected = [(line, *world.spent(line)) for line in lines]
    if isinstance(result, Reserved):
        assert all(spent + reserved < line.limit for line, spent, reserved in expected)
        identity = "" if person is None else person.id  # type: ignore[attr-defined]
        world.entries.append(Entry(result.id, identity, channel, DAYS[world.day], lines, quote))
        return
    assert isinstance(result, NotReserved)
    full = [line for line, spent, reserved in expected if spent >= line.limit]
    if result.refusal is Refusal.SPENT:
        assert result.line == full[0]
    else:
        assert not full
        assert any(spent + reserved >= line.limit for line, spent, reserved in expected)


def period_of(budget: Budget, day: int) -> PeriodSpan:
    return PeriodSpan(DAYS[day][: 10 if budget.period is Period.DAY else 7], 0.0)


def chosen(world: World, number: int) -> Entry | None:
    running = world.running()
    return running[number % len(running)] if running else None


def settle(world: World, number: int, share: float, count: int) -> None:
    entry = chosen(world, number)
    if entry is None:
        return
    quote, parts = entry.quote, []
    for _ in range(count):  # two: one model of the chain failed in mid-answer, another one answered
        said = int(quote.max_output * share / count)
        usage = Usage(quote.input_tokens // count, said)
        known = quote.input_cost is not None
        parts.append((usage, usage.input_tokens * 2 + said * 3 if known else None))
    bookings = [Booking("m", usage, cost) for usage, cost in parts]
    told = spending.settle(world.db, entry.id, bookings, entry.lines)
    assert spending.settle(world.db, entry.id, bookings, entry.lines) == []
    entry.booked = parts
    for state in told:
        assert state.spent >= 0.8 * state.line.limit


def release(world: World, number: int) -> None:
    if (entry := chosen(world, number)) is not None:
        spending.settle(world.db, entry.id, [], entry.lines)
        entry.booked = []


def progress(world: World, number: int) -> None:
    if (entry := chosen(world, number)) is not None:
        entry.output = entry.quote.max_output // 2
        spending.record_progress(world.db, entry.id, "m", entry.output)


def die(world: World) -> None:
    """The process dies, and the next one starts."""
    spending.settle_all(world.db)
    for entry in world.running():
        quote, cost = entry.quote, None
        if quote.input_cost is not None and quote.output_price is not None:
            cost = quote.input_cost + round(quote.output_price * entry.output)
        entry.booked = [(Usage(quote.input_tokens, entry.output), cost)]


def forget(world: World) -> None:
    spending.forget_person(world.db, "sim", "w1", ANN.id)
    for entry in world.entries:
        entry.person = "" if entry.person == ANN.id else entry.person


def new_day(world: World) -> None:
    world.day = min(world.day + 1, len(DAYS) - 1)


DO = {
    "reserve": reserve,
    "settle": settle,
    "release": release,
    "progress": progress,
    "day": new_day,
    "die": die,
    "forget": forget,
}


def check_after_each(world: World, steps: list[tuple[object, ...]]) -> None:
    """Take the steps, asserting after each that the books equal the reference."""
    for name, *arguments in steps:
        DO[str(name)](world, *arguments)  # type: ignore[operator]
        check(world)


def check(world: World) -> None:
    """Check that every sum is right, and that no budget is exceeded by more than one
    reservation."""
    lines = {
        (line.budget.name, line.account, line.period.name): line
        for entry in world.entries
        for line in entry.lines
    }
    for line, state in zip(
        lines.values(), budget_sums.states(world.db, list(lines.values())), strict=True
    ):
        assert (state.spent, state.reserved) == world.spent(line)
        assert state.spent + state.reserved <= line.limit + most_reserved(world, line)
    by = (UsageField.PERSON, UsageField.CHANNEL, UsageField.DAY)
    found = daily_usage.usage(world.db, UsageQuery(), by, limit=1_000)
    counted = {row.group: (row.requests, row.usage.total_tokens, row.cost) for row in found}
    expected: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for entry in world.entries:
        for usage, cost in entry.booked or ():
            group = (entry.person, entry.channel, entry.day)
            requests, tokens, money = expected.get(group, (0, 0, 0))
            expected[group] = requests + 1, tokens + usage.total_tokens, money + (cost or 0)
    assert counted == expected
    (rows,) = world.db.execute("SELECT count(*) FROM model_requests").fetchone()
    assert rows == sum(1 if e.booked is None else len(e.booked) for e in world.entries)


def most_reserved(world: World, line: BudgetLine) -> int:
    quotes = [entry.quote for entry in world.entries]
    return max((q.cost or 0) if line.in_money else q.tokens for q in quotes)
