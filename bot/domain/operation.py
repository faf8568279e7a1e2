"""The work that the process does, for the person on call: counts and ages, but no ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

OTHER = "other"
"""The label value that replaces every value not known in advance."""

_SCOPE_CLASS = re.compile(r"[a-z][A-Za-z.\-]{0,39}")


class StoreCall(StrEnum):
    """A kind of call to the database."""

    READ = "read"
    WRITE = "write"


class BreakerState(StrEnum):
    """The state of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # a single request tests the model


@dataclass(frozen=True, slots=True)
class PlatformTurns:
    """A platform's unfinished turns, by state.

    `oldest_at` is the arrival time, in Unix seconds, of the oldest question for which people do not
    see any part of a reply yet; None if there is no such question.
    """

    platform: str
    by_state: Mapping[str, int]
    oldest_at: float | None = None


@dataclass(frozen=True, slots=True)
class LeftoverCount:
    """The leftovers of one kind on a platform; the oldest is from `oldest_at`, in Unix seconds."""

    platform: str
    kind: str
    count: int
    oldest_at: float


@dataclass(frozen=True, slots=True)
class StoreLoad:
    """What the database holds for all processes. `size` is its size on disk in bytes."""

    turns: tuple[PlatformTurns, ...] = ()
    size: int = 0
    leftovers: tuple[LeftoverCount, ...] = ()


@dataclass(frozen=True, slots=True)
class ScopeBudget:
    """The requests left in a class of rate limit scopes, taken from the scope with the fewest.

    `limit` is the whole budget; None if only the platform's responses contain it.
    """

    left: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class RateReport:
    """The current state of a rate limiter. `throttled` counts 429s since its start, by class of
    scope."""

    waiting: int = 0
    throttled: Mapping[str, int] = field(default_factory=dict)
    budgets: Mapping[str, ScopeBudget] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterLoad:
    """The processes that share the database, and the leases this process holds, by group.

    `lease_losses` counts the leases that this process lost without releasing them.
    """

    members: int = 1
    held: Mapping[str, int] = field(default_factory=dict)
    lease_losses: int = 0


@dataclass(frozen=True, slots=True)
class ReadyReport:
    """Whether the process delivers replies. `not_ready` has a sentence for each reason that
    prevents it."""

    not_ready: tuple[str, ...]
    details: Mapping[str, object]


def scope_class(scope: str) -> str:
    """The class of a rate limit scope or a lease group: its name without ids.

    `channel:123` becomes `channel`. A name that may contain an id becomes OTHER.
    """
    name = scope.partition(":")[0]
    return name if _SCOPE_CLASS.fullmatch(name) else OTHER
