"""Reads the metrics that are collected at scrape time, as plain samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product

from bot import __version__
from bot.domain.leftovers import LeftoverKind
from bot.domain.operation import RateReport, StoreLoad, scope_class
from bot.operation import definitions as d
from bot.operation.activity import Activity
from bot.operation.readings import Readings

Sample = tuple[d.Definition, tuple[str, ...], float]
"""A metric, the values of its labels, and its value."""

STATES = ("waiting", "running", "concluded")


def read_samples(
    readings: Readings, activity: Activity, load: StoreLoad | None
) -> Iterator[Sample]:
    """Yield all samples; without a `load`, those of the database are missing."""
    yield from _people(readings, activity)
    yield from _platforms(readings)
    yield from _process(readings)
    if load is not None:
        yield from _database(readings, load)


def _people(readings: Readings, activity: Activity) -> Iterator[Sample]:
    yield d.SLOTS_USED, (), readings.sources.slots.used
    yield d.SLOTS_WAITING, (), readings.sources.slots.waiting
    for definition, times in (
        (d.LAST_EVENT, activity.last_events),
        (d.LAST_REPLY, activity.last_replies),
    ):
        for platform, at in times.items():
            yield definition, (platform,), at
    ages = activity.unseen_ages
    for platform in readings.platforms:
        yield d.UNSEEN_TEXT, (platform,), ages.get(platform, 0.0)


def _database(readings: Readings, load: StoreLoad) -> Iterator[Sample]:
    yield d.DATABASE_BYTES, (), load.size
    turns = {each.platform: each.by_state for each in load.turns}
    for platform in readings.platforms:
        for state in STATES:
            yield d.TURNS, (platform, state), turns.get(platform, {}).get(state, 0)
    for platform, age in readings.oldest_questions(load).items():
        yield d.OLDEST_QUESTION, (platform,), age
    yield from _leftovers(readings, load)


def _leftovers(readings: Readings, load: StoreLoad) -> Iterator[Sample]:
    now = readings.clock.time()
    found = {(each.platform, each.kind): each for each in load.leftovers}
    for labels in product(readings.platforms, (kind.value for kind in LeftoverKind)):
        left = found.get(labels)
        yield d.LEFTOVERS, labels, left.count if left else 0
        yield d.OLDEST_LEFTOVER, labels, max(0.0, now - left.oldest_at) if left else 0.0


def _platforms(readings: Readings) -> Iterator[Sample]:
    for part, health in readings.sources.health().items():
        yield d.PART_UP, (part,), health.ok
    for (provider, state), count in readings.breakers.items():
        yield d.BREAKERS, (provider, state.value), count
    for platform, reports in readings.rate_reports.items():
        yield d.REQUESTS_WAITING, (platform,), sum(report.waiting for report in reports)
        yield from _budgets(platform, reports)
    for (platform, scope), count in readings.count_refusals().items():
        yield d.RATE_LIMITED, (platform, scope), count


def _budgets(platform: str, reports: tuple[RateReport, ...]) -> Iterator[Sample]:
    """Samples of each rate limit; with several accounts, for the one closest to its limit."""
    for scope in {scope: None for report in reports for scope in report.budgets}:
        found = [report.budgets[scope] for report in reports if scope in report.budgets]
        least = min(found, key=lambda budget: budget.left)
        yield d.RATE_LEFT, (platform, scope), least.left
        if least.limit is not None:
            yield d.RATE_LIMIT, (platform, scope), least.limit


def _process(readings: Readings) -> Iterator[Sample]:
    yield d.INFO, (__version__,), 1
    yield d.STARTED, (), readings.started_at
    yield d.DRAINING, (), readings.draining
    cluster = readings.sources.cluster()
    yield d.MEMBERS, (), cluster.members
    yield d.LEASE_LOSSES, (), cluster.lease_losses
    held = Counter[str]()
    for group, count in cluster.held.items():
        held[scope_class(group)] += count
    for group, count in held.items():
        yield d.HELD, (group,), count
