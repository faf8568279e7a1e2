"""Sentences about budgets and spending: see `bot.domain.texts`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from itertools import product

from bot.domain.errors import BudgetSpent, NoBudget, PriceUnknown
from bot.domain.model_names import plain
from bot.domain.money import Currency
from bot.domain.policy import Budget, BudgetScope, Period
from bot.domain.spending import BudgetLine, BudgetState, UsageField, UsageRow, UsageSummary

MAX_MODELS = 15
"""The most models that get a line each."""

WAITING = "In the queue: other answers use the rest of the budget at the moment."

_WHOSE = {
    BudgetScope.PERSON: "Your budget",
    BudgetScope.CHANNEL: "This channel's budget",
    BudgetScope.WORKSPACE: "This workspace's budget",
    BudgetScope.ALL: "The budget of everyone here",
}
_WHEN = {Period.DAY: "today", Period.MONTH: "this month"}


def whose(scope: BudgetScope, period: Period) -> str:
    """Name a budget, such as `Your budget for today`."""
    return f"{_WHOSE[scope]} for {_WHEN[period]}"


def _nearly_spent(scope: BudgetScope, period: Period) -> str:
    return f"{whose(scope, period)} is nearly used up: `/usage` shows what is left."


def _now_spent(scope: BudgetScope, period: Period) -> str:
    return f"{whose(scope, period)} is used up now: `/usage` shows when it is full again."


NOTICES = tuple(
    sentence(scope, period)
    for sentence, scope, period in product((_nearly_spent, _now_spent), BudgetScope, Period)
)
"""All sentences that `notices` can return, to tell them apart from the rest of a reply."""


def notices(states: Sequence[BudgetState]) -> tuple[str, ...]:
    """The sentences about nearly spent budgets that go below a reply.

    They contain no numbers, because everyone in the thread can read them.
    """
    return tuple(
        (_nearly_spent if state.left else _now_spent)(
            state.line.budget.scope, state.line.budget.period
        )
        for state in states
    )


USAGE_IS_PRIVATE = (
    "What you used is shown where only you see it: in a direct message, or after the slash command "
    "`/usage`."
)
ADMINS_ONLY = "Only administrators may see what a channel used."


def amount_of(budget: Budget) -> str:
    """The amount that a budget allows, such as `€2.00` or `50,000 tokens`."""
    if budget.amount is None:
        return _count(budget.tokens or 0, "token")
    return budget.currency.show_amount(budget.amount)


def usage_of_person(summary: UsageSummary, zone: tzinfo | None, currency: Currency) -> str:
    """The reply to /usage."""
    return _summary("You have used", summary, zone, currency)


def usage_of_channel(summary: UsageSummary, zone: tzinfo | None, currency: Currency) -> str:
    """The reply to /usage channel."""
    shown = summary.models[:MAX_MODELS]
    lines = [f"- `{plain(row.group[0])}`: {_used(row, currency)}" for row in shown]
    text = _summary("This channel has used", summary, zone, currency)
    return "\n".join([text, *(["", "This month by model:", *lines] if lines else [])])


def usage_table(rows: Sequence[UsageRow], by: Sequence[UsageField], currency: Currency) -> str:
    """A table with aligned columns, for a terminal."""
    if not rows:
        return "nothing was used\n"
    lines = [(*(field.value for field in by), "requests", "tokens", "cost")]
    for row in rows:
        group = (plain(value) if value else "-" for value in row.group)
        cost = currency.show(row.cost) + (" + unknown" if row.unpriced else "")
        lines.append((*group, f"{row.requests:,}", f"{row.usage.total_tokens:,}", cost))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def _summary(begins: str, summary: UsageSummary, zone: tzinfo | None, currency: Currency) -> str:
    lines = [f"{begins}:", f"- today: {_used(summary.today, currency)}"]
    lines.append(f"- this month: {_used(summary.month, currency)}")
    if summary.budgets:
        lines += ["", "Budgets:", *(_budget(state, zone) for state in summary.budgets)]
    if summary.month.unpriced:
        lines += [
            "",  # Markdown would join a line directly below a list to its last element
            f"The price of {_count(summary.month.unpriced, 'request')} this month is not known: "
            "their tokens are counted, their money is not.",
        ]
    return "\n".join(lines)


def _used(row: UsageRow, currency: Currency) -> str:
    tokens = _count(row.usage.total_tokens, "token")
    return f"{tokens} in {_count(row.requests, 'request')}, {currency.show(row.cost)}"


def _budget(state: BudgetState, zone: tzinfo | None) -> str:
    line, budget = state.line, state.line.budget
    left = budget.currency.show(state.left) if line.in_money else _count(state.left, "token")
    return (
        f"- {whose(budget.scope, budget.period)}: {left} of {amount_of(budget)} left; full again "
        f"{full_again(line, zone)}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def refused(error: NoBudget, zone: tzinfo | None) -> str:
    """Say why a question is not answered."""
    budget = error.line.budget
    if isinstance(error, PriceUnknown):
        names = ", ".join(f"`{plain(name)}`" for name in error.models)
        return (
            f"{whose(budget.scope, budget.period)} is one of money, and the price of {names} is "
            "not known, so I must not ask it. The people who run this bot can write the price "
            "into threadline.toml."
        )
    if isinstance(error, BudgetSpent):
        again = full_again(error.line, zone)
        return f"{whose(budget.scope, budget.period)} is used up. It is full again {again}."
    return WAITING


def cheaper(line: BudgetLine) -> str:
    """The note above an answer by the cheaper model that a spent budget names."""
    budget = line.budget
    return f"{whose(budget.scope, budget.period)} is used up, so a smaller model answers."


def full_again(line: BudgetLine, zone: tzinfo | None) -> str:
    """When a budget is renewed, such as `on Tuesday, 1 December, at 00:00 (Europe/Berlin)`."""
    moment = datetime.fromtimestamp(line.period.ends_at, zone).astimezone(zone)
    name = getattr(zone, "key", None) or moment.tzname()
    return f"on {moment:%A}, {moment.day} {moment:%B}, at {moment:%H:%M} ({name})"
