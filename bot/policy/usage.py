"""Reports what people and channels used, and what they have left, for `/usage`, the API and the
CLI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta, tzinfo

from bot.domain.conversations import Author, ConversationKey
from bot.domain.money import USD, Currency
from bot.domain.spending import (
    UsageField,
    UsageQuery,
    UsageRow,
    UsageSummary,
)
from bot.policy.budgets import day_of, lines_of
from bot.ports.clock import Clock
from bot.ports.spending import BudgetSource, SpendingStore

MOST_ROWS = 100_000
"""The most rows of one report: a month with a hundred people, ten models and ten channels each."""


class UsageReports:
    """Implements `bot.ports.spending.UsageReporter`. None as `zone` means the machine's time zone;
    `currency` is called each time, because a reload may change it."""

    def __init__(
        self,
        *,
        store: SpendingStore,
        budgets: BudgetSource,
        clock: Clock,
        zone: tzinfo | None = None,
        currency: Callable[[], Currency] = lambda: USD,
    ) -> None:
        self._store, self._budgets, self._currency = store, budgets, currency
        self._clock, self.zone = clock, zone

    @property
    def currency(self) -> Currency:
        """See the port."""
        return self._currency()

    def today(self) -> date:
        """See the port."""
        return day_of(self._clock.time(), self.zone)

    async def of_person(self, key: ConversationKey, author: Author) -> UsageSummary:
        """See the port."""
        is_own = key.counting_workspace(author.id) == author.id  # includes shared channels
        workspace = None if is_own else key.workspace
        query = UsageQuery(platform=key.platform, workspace=workspace, person=author.id)
        summary = await self._summary(query)
        budgets = await self._budgets.budgets(key, author)
        now = self._clock.time()
        lines = lines_of(budgets, key, author, now=now, zone=self.zone)
        return replace(summary, budgets=tuple(await self._store.states(lines)))

    async def of_channel(self, key: ConversationKey) -> UsageSummary:
        """See the port."""
        query = UsageQuery(platform=key.platform, workspace=key.workspace, channel=key.channel)
        summary = await self._summary(query)
        month = replace(query, first_day=self._month())
        models = await self._store.usage(month, (UsageField.MODEL,), limit=MOST_ROWS)
        budgets = await self._budgets.budgets(key, None)
        lines = lines_of(budgets, key, None, now=self._clock.time(), zone=self.zone)
        states = await self._store.states(lines)
        return replace(summary, budgets=tuple(states), models=tuple(models))

    async def rows(self, query: UsageQuery, by: Sequence[UsageField]) -> Sequence[UsageRow]:
        """See the port."""
        return await self._store.usage(query, by, limit=MOST_ROWS)

    def first_day(self, days: int) -> str:
        """See the port."""
        return (self.today() - timedelta(days=days - 1)).isoformat()

    async def _summary(self, query: UsageQuery) -> UsageSummary:
        today = self.today().isoformat()
        (day,) = await self._store.usage(replace(query, first_day=today), (), limit=1)
        (month,) = await self._store.usage(replace(query, first_day=self._month()), (), limit=1)
        return UsageSummary(day, month)

    def _month(self) -> str:
        return self.today().replace(day=1).isoformat()
