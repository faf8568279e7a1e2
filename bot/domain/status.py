"""What `threadline status` shows: the state of a bot, without texts and without ids of people or
places.

The values travel as JSON from the running bot to the command, so they have plain types.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from bot.domain.operation import LeftoverCount


@dataclass(frozen=True, slots=True)
class PlatformStatus:
    """A platform. Times are Unix seconds; None: nothing since the start. `details` as /healthz."""

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
    """The requests that a class of rate limits has left; `limit` None: only the platform knows."""

    platform: str
    scope: str
    left: int | None
    limit: int | None
    throttled: int = 0


@dataclass(frozen=True, slots=True)
class BudgetPeriod:
    """A budget in its present period, whose name in the books is `span`. `limit` is in its unit,
    tokens or billionths of a dollar.
    """

    name: str
    scope: str
    period: str
    span: str
    limit: int
    in_money: bool


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget: of its accounts (people, channels …), the share that the highest has used."""

    name: str
    scope: str
    period: str
    accounts: int
    nearly_spent: int
    highest: float


@dataclass(frozen=True, slots=True)
class LoggedProblem:
    """A line of the log from a warning upwards: our words, never a value in it."""

    at: float
    level: str
    event: str
    logger: str = ""
    turn: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A bot at the time `at`. `pid` is None if no bot runs: then only the database speaks."""

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
        """As JSON's types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The reverse. Unknown fields of a newer bot are ignored. Raises TypeError and others."""
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
