"""Finds the budgets that count a request, with the account and the period."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import date, datetime, timedelta, tzinfo

from bot.domain.conversations import Author, ConversationKey
from bot.domain.policy import Budget, Period, PersonRef
from bot.domain.spending import BudgetLine, PeriodSpan, account_of
from bot.ports.policy import Policy

IsOneOf = Callable[[ConversationKey, Author, Sequence[PersonRef]], Awaitable[bool | None]]
"""Whether one of the references matches the person; None if the platform does not say."""


def day_of(now: float, zone: tzinfo | None) -> date:
    """The date at `now`, in Unix seconds; None as `zone` means the machine's time zone."""
    return datetime.fromtimestamp(now, zone).date()


def period_of(period: Period, now: float, zone: tzinfo | None) -> PeriodSpan:
    """The day or month at `now`. A day with a change of the clocks has 23 or 25 hours."""
    today = day_of(now, zone)
    if period is Period.DAY:
        name, following = today.isoformat(), today + timedelta(days=1)
    else:
        name = f"{today:%Y-%m}"
        following = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    ends = datetime(following.year, following.month, following.day, tzinfo=zone)
    return PeriodSpan(name, ends.timestamp())


def lines_of(
    budgets: Sequence[Budget],
    key: ConversationKey,
    author: Author | None,
    *,
    now: float,
    zone: tzinfo | None,
    spent: Collection[str] = (),
) -> list[BudgetLine]:
    """The budget lines that a request counts towards. Budgets named in `spent` do not limit it."""
    return [
        BudgetLine(
            budget,
            account,
            period_of(budget.period, now, zone),
            is_limit=budget.name not in spent,
        )
        for budget in budgets
        if (account := account_of(budget.scope, key, author)) is not None
    ]


class PolicyBudgets:
    """Implements `bot.ports.spending.BudgetSource` with the budgets of the policy.

    A budget for certain people counts no one else. If the platform does not say whether a person is
    one of them, the budget does count them; otherwise an outage of the platform would lift its
    limit.
    """

    def __init__(self, policy: Policy, is_one_of: IsOneOf) -> None:
        self._policy, self._is_one_of = policy, is_one_of

    async def budgets(self, key: ConversationKey, author: Author | None) -> Sequence[Budget]:
        """See the port."""
        found = {
            each.value.name: each.value for each in (await self._policy.effective(key)).budgets
        }
        return [budget for budget in found.values() if await self._counts(budget, key, author)]

    async def _counts(self, budget: Budget, key: ConversationKey, author: Author | None) -> bool:
        if not budget.who:
            return True
        return author is not None and await self._is_one_of(key, author, budget.who) is not False
