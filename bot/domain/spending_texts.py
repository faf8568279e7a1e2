"""Sentences about budgets and spending: see `bot.domain.texts`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from itertools import product

from bot.domain.errors import BudgetSpent, NoBudget, PriceUnknown
from bot.domain.model_names import plain
from bot.domain.policy import BudgetScope, Period
from bot.domain.spending import BudgetLine, BudgetState

WAITING = "In the queue: other answers use the rest of the budget at the moment."

_WHOSE = {
    BudgetScope.PERSON: "Your budget",
    BudgetScope.CHANNEL: "This channel's budget",
    BudgetScope.WORKSPACE: "This workspace's budget",
    BudgetScope.ALL: "The budget of everyone here",
}
_WHEN = {Period.DAY: "today", Period.MONTH: "this month"}


def whose(scope: BudgetScope, period: Period) -> str:
    """Such as `Your budget for today`."""
    return f"{_WHOSE[scope]} for {_WHEN[period]}"


def _nearly_spent(scope: BudgetScope, period: Period) -> str:
    return f"{whose(scope, period)} is nearly used up: `/usage` shows what is left."


def _now_spent(scope: BudgetScope, period: Period) -> str:
    return f"{whose(scope, period)} is used up now: `/usage` shows when it is full again."


NOTICES = tuple(
    sentence(scope, period)
    for sentence, scope, period in product((_nearly_spent, _now_spent), BudgetScope, Period)
)
"""All sentences of `notices`, so that they can be told apart from other sentences of a reply."""


def notices(states: Sequence[BudgetState]) -> tuple[str, ...]:
    """The sentences below a reply about budgets that are nearly spent.

    Without numbers, because everyone in the thread reads them.
    """
    return tuple(
        (_nearly_spent if state.left else _now_spent)(
            state.line.budget.scope, state.line.budget.period
        )
        for state in states
    )


def refused(error: NoBudget, zone: tzinfo | None) -> str:
    """Why a question is not answered."""
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
    """Above an answer of the model that a budget names for when it is spent."""
    budget = line.budget
    return f"{whose(budget.scope, budget.period)} is used up, so a smaller model answers."


def full_again(line: BudgetLine, zone: tzinfo | None) -> str:
    """When a budget is full again, such as `on Tuesday, 1 December, at 00:00 (Europe/Berlin)`."""
    moment = datetime.fromtimestamp(line.period.ends_at, zone).astimezone(zone)
    name = getattr(zone, "key", None) or moment.tzname()
    return f"on {moment:%A}, {moment.day} {moment:%B}, at {moment:%H:%M} ({name})"
