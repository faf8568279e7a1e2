"""Reads the state of the running parts on demand, for metrics and /readyz."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from bot.common.fair_slots import FairSlots
from bot.domain.errors import StoreUnavailable
from bot.domain.health import Health
from bot.domain.operation import BreakerState, ClusterLoad, RateReport, StoreLoad
from bot.ports.clock import Clock
from bot.ports.metrics import HasRateLimiters
from bot.ports.platform import Adapter

log = structlog.stdlib.get_logger(__name__)

LOAD_SECONDS = 2.0
"""The time limit for reading the database: Prometheus gives a scrape ten seconds."""

FRESH_SECONDS = 1.0
"""Seconds for which callers share a reading: /readyz needs no token, and must not allow anyone to
burden the database."""


Scope: TypeAlias = tuple[str, str]
"""A platform, and a class of its rate limits."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The running parts. `load` queries the database, and raises StoreUnavailable.

    `health` has each part's report for /healthz, `starting` the platforms that have not connected
    yet. `models` are the names in the configuration, `breakers` the state of each circuit breaker
    with its provider. `cluster` describes the processes that share the database.
    """

    adapters: Mapping[str, Adapter]
    health: Callable[[], Mapping[str, Health]]
    starting: Callable[[], Collection[str]]
    load: Callable[[], Awaitable[StoreLoad]]
    slots: FairSlots
    models: Callable[[], Collection[str]]
    breakers: Callable[[], Iterable[tuple[str, BreakerState]]]
    cluster: Callable[[], ClusterLoad] = ClusterLoad
    has_remote_database: bool = False


class Readings:
    """The current state. `draining`: the process starts no more turns."""

    def __init__(self, sources: Sources, clock: Clock) -> None:
        self.sources, self.clock = sources, clock
        self.draining = False
        self.started_at = clock.time()
        self._loading: asyncio.Task[StoreLoad | None] | None = None
        self._loaded_at = 0.0
        self._hangs = False
        self._refusals, self._refusals_seen = Counter[Scope](), Counter[Scope]()

    @property
    def platforms(self) -> tuple[str, ...]:
        """The names of the adapters."""
        return tuple(self.sources.adapters)

    @property
    def breakers(self) -> Mapping[tuple[str, BreakerState], int]:
        """The number of each provider's circuit breakers in each state; all states are listed."""
        found = Counter(self.sources.breakers())
        providers = {provider for provider, _ in found}
        return {(name, state): found[name, state] for name in providers for state in BreakerState}

    @property
    def rate_reports(self) -> Mapping[str, tuple[RateReport, ...]]:
        """The reports of each platform's rate limiters, if the platform has limits."""
        return {
            name: tuple(adapter.rate_reports())
            for name, adapter in self.sources.adapters.items()
            if isinstance(adapter, HasRateLimiters)
        }

    def count_refusals(self) -> Mapping[Scope, int]:
        """The number of 429s since the start, by platform and scope. It never decreases, although a
        rate limiter's count is lost when the limiter ends, for example because a workspace removes
        the app."""
        seen = Counter[Scope]()
        for platform, reports in self.rate_reports.items():
            for report in reports:
                seen.update({(platform, name): n for name, n in report.throttled.items()})
        self._refusals += seen - self._refusals_seen
        self._refusals_seen = seen
        return {scope: self._refusals[scope] for scope in {**self._refusals, **seen}}

    async def load(self) -> StoreLoad | None:
        """The database's load, at most a second old; None if the database fails or is slow."""
        now = self.clock.monotonic()
        if self._loading is None or (
            self._loading.done() and now - self._loaded_at >= FRESH_SECONDS
        ):
            self._loaded_at = now
            self._loading = asyncio.create_task(self._load(), name="reading the load")
        return await asyncio.shield(self._loading)

    async def _load(self) -> StoreLoad | None:
        self._hangs = False
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                return await self.sources.load()
        except StoreUnavailable:  # the log and the database's health say why
            return None
        except TimeoutError:
            self._hangs = True
            log.warning("the database does not answer", seconds=LOAD_SECONDS)
            return None

    async def is_alive(self) -> bool:
        """Whether the database's thread still answers, if only with an error.

        If it does not, a restart helps. A remote database always counts as alive, because it would
        also be silent after a restart.
        """
        if self.sources.has_remote_database:
            return True
        await self.load()
        return not self._hangs

    def summary(self) -> str:
        """Summarize in one line which platforms work."""
        health = self.sources.health()
        parts = (f"{name} {'works' if health[name].ok else 'waits'}" for name in self.platforms)
        return ", ".join(parts)

    def oldest_questions(self, load: StoreLoad) -> dict[str, float]:
        """The age in seconds of each platform's oldest question without any reply, or 0."""
        now, ages = self.clock.time(), dict.fromkeys(self.platforms, 0.0)
        for each in load.turns:
            if each.platform in ages and each.oldest_at is not None:
                ages[each.platform] = max(0.0, now - each.oldest_at)
        return ages
