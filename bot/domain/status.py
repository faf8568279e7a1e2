"""The bot's state as `threadline status` shows it, without message texts or ids of people and
places.

The running bot sends these values to the command as JSON, so they have plain types.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from bot.domain.operation import LeftoverCount


@dataclass(frozen=True, slots=True)
class PlatformStatus:
    """The state of a platform. Times are Unix seconds; None if nothing happened since the start.
    `details` are as in /healthz."""

    name: str
    ok: bool
    details: Mapping[str, str] = field(default_factory=dict)
    last_event_at: float | None = None
    last_reply_at: float | None = None


@dataclass(frozen=True, slots=True)
class TurnStatus:
    """An unfinished turn. `since` is when its question was stored, in Unix seconds."""

    turn: int
    platform: str
    state: str
    attempt: int
    since: float


@dataclass(frozen=True, slots=True)
class ScopeStatus:
    """The requests left in a class of rate limits. `limit` is None if only the platform knows
    it."""

    platform: str
    scope: str
    left: int | None
    limit: int | None
    throttled: int = 0


@dataclass(frozen=True, slots=True)
class BudgetPeriod:
    """A budget in its current period, which the books call `span`. `limit` is in tokens or
    billionths of a dollar."""

    name: str
    scope: str
    period: str
    span: str
    limit: int
    in_money: bool


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget, with the highest share that one of its accounts (people, channels …) has used."""

    name: str
    scope: str
    period: str
    accounts: int
    nearly_spent: int
    highest: float


@dataclass(frozen=True, slots=True)
class LoggedProblem:
    """A log record of level warning or above: its message without the values."""

    at: float
    level: str
    event: str
    logger: str = ""
    turn: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a bot at the time `at`. `pid` is None if no bot runs; the data then comes from
    the database alone."""

    at: float
    version: str
    pid: int | None = None
    started_at: float | None = None
    draining: bool = False
    platforms: tuple[PlatformStatus, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)  # what does not work, in words
    slots: Mapping[str, int] = field(default_factory=dict)
    unfinished: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    turns: tuple[TurnStatus, ...] = ()  # the oldest ones
    leftovers: tuple[LeftoverCount, ...] = ()
    scopes: tuple[ScopeStatus, ...] = ()
    breakers: Mapping[str, str] = field(default_factory=dict)  # state by model
    database: Mapping[str, str | int] = field(default_factory=dict)
    budgets: tuple[BudgetStatus, ...] = ()
    problems: tuple[LoggedProblem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert the status to JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read a status from JSON types, and ignore unknown fields of a newer bot. Raises
        TypeError, KeyError or the like if the values do not fit."""
        known = {each.name for each in dataclasses.fields(cls)}
        found = {name: value for name, value in values.items() if name in known}
        for name, kind in _LISTS.items():
            found[name] = tuple(kind(**each) for each in found.get(name, ()))
        return cls(**found)


_LISTS: Mapping[str, type[Any]] = {
    "platforms": PlatformStatus,
    "turns": TurnStatus,
    "leftovers": LeftoverCount,
    "scopes": ScopeStatus,
    "budgets": BudgetStatus,
    "problems": LoggedProblem,
}
