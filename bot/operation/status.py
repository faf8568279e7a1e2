"""The running bot's status for `threadline status`, sent over the control socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Protocol

from bot import __version__
from bot.common.recent_problems import RecentProblems
from bot.domain.errors import StoreUnavailable
from bot.domain.health import Health
from bot.domain.operation import BreakerState, PlatformTurns
from bot.domain.policy import PolicyConfig
from bot.domain.status import (
    BudgetPeriod,
    BudgetStatus,
    PlatformStatus,
    ScopeStatus,
    Status,
    TurnStatus,
)
from bot.operation.activity import Activity
from bot.operation.readings import Readings
from bot.policy.budgets import period_of

MOST_TURNS = 10
"""The most turns to list, oldest first; the others are only counted."""

READ_SECONDS = 3.0
"""The time limit for reading the database for one answer."""


class OverviewStore(Protocol):
    """The store's part of the status; the methods raise StoreUnavailable."""

    async def list_unfinished_turns(self, limit: int) -> Sequence[TurnStatus]:
        """The oldest turns that are not done."""
        ...

    async def budget_statuses(self, budgets: Sequence[BudgetPeriod]) -> Sequence[BudgetStatus]:
        """How much of each budget is used."""
        ...


@dataclass(frozen=True, slots=True)
class StatusReporter:
    """Describes the bot. `breakers` are the circuit breakers by model, `policy` returns the current
    rules; `slots` is the number of answers that may be written at the same time."""

    readings: Readings
    activity: Activity
    breakers: Callable[[], Mapping[str, BreakerState]]
    policy: Callable[[], PolicyConfig]
    problems: RecentProblems
    store: OverviewStore
    slots: int
    zone: tzinfo | None = None

    async def report(self) -> Mapping[str, Any]:
        """The current state in JSON types. Takes at most a few seconds and never raises."""
        status = self._running()
        try:
            async with asyncio.timeout(READ_SECONDS):
                status = await self._add_stored(status)
        except (StoreUnavailable, TimeoutError):
            pass  # the database's health says why
        return status.to_json()

    def _running(self) -> Status:
        readings, health = self.readings, self.readings.sources.health()
        slots = readings.sources.slots
        return Status(
            at=readings.clock.time(),
            version=__version__,
            pid=os.getpid(),
            started_at=readings.started_at,
            draining=readings.draining,
            platforms=tuple(self._platform(name, health[name]) for name in readings.platforms),
            parts=_troubles(health, {*readings.platforms, "database"}),
            slots={"used": slots.used, "queued": slots.waiting, "all": self.slots},
            scopes=tuple(self._scopes()),
            breakers={name: state.value for name, state in self.breakers().items()},
            database={"ok": int(health["database"].ok), **health["database"].details},
            problems=self.problems.latest,
        )

    def _platform(self, name: str, health: Health) -> PlatformStatus:
        return PlatformStatus(
            name=name,
            ok=health.ok,
            details=health.details,
            last_event_at=self.activity.last_events.get(name),
            last_reply_at=self.activity.last_replies.get(name),
        )

    def _scopes(self) -> list[ScopeStatus]:
        """The request budgets; with several accounts on a platform, the one with the least left."""
        found: dict[tuple[str, str], ScopeStatus] = {}
        for platform, reports in self.readings.rate_reports.items():
            for report in reports:
                for scope in {*report.budgets, *report.throttled}:
                    budget = report.budgets.get(scope)
                    status = ScopeStatus(
                        platform,
                        scope,
                        left=None if budget is None else budget.left,
                        limit=None if budget is None else budget.limit,
                        throttled=report.throttled.get(scope, 0),
                    )
                    known = found.get((platform, scope))
                    found[platform, scope] = status if known is None else _tighter(known, status)
        return sorted(found.values(), key=lambda each: (each.platform, each.scope))

    async def _add_stored(self, status: Status) -> Status:
        """Add the database's turns and budgets to `status`."""
        load = await self.readings.load()
        budgets = budgets_of(self.policy(), status.at, self.zone)
        return replace(
            status,
            turns=tuple(await self.store.list_unfinished_turns(MOST_TURNS)),
            unfinished={} if load is None else counts_of(load.turns),
            leftovers=() if load is None else load.leftovers,
            budgets=tuple(await self.store.budget_statuses(budgets)),
            database={**status.database, "size": 0 if load is None else load.size},
        )


def counts_of(turns: Sequence[PlatformTurns]) -> dict[str, dict[str, int]]:
    """The number of unfinished turns by platform and state."""
    return {each.platform: dict(each.by_state) for each in turns}


def budgets_of(config: PolicyConfig, now: float, zone: tzinfo | None) -> list[BudgetPeriod]:
    """All budgets in the rules, without duplicates, in their current periods."""
    everywhere = (config.default, *(rule.values for rule in config.rules))
    found = {budget.name: budget for values in everywhere for budget in values.budgets}
    return [
        BudgetPeriod(
            name=budget.name,
            scope=budget.scope.value,
            period=budget.period.value,
            span=period_of(budget.period, now, zone).name,
            limit=budget.limit,
            in_money=budget.in_money,
        )
        for budget in found.values()
    ]


def _tighter(one: ScopeStatus, other: ScopeStatus) -> ScopeStatus:
    lefts = [each for each in (one, other) if each.left is not None] or [one]
    least = min(lefts, key=lambda each: each.left or 0)
    return replace(least, throttled=one.throttled + other.throttled)


def _troubles(health: Mapping[str, Health], without: set[str]) -> dict[str, str]:
    """The parts that do not work, with their reasons."""
    return {
        name: "; ".join(each.details.values()) or "does not work"
        for name, each in health.items()
        if name not in without and not each.ok
    }
