"""A rate limiter's state for metrics, by class of scope: scopes have the ids of channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from bot.domain.operation import RateReport, ScopeBudget, scope_class
from bot.replies.ratelimit.window import SlidingWindow


def report_of(
    windows: Mapping[str, SlidingWindow], throttled: Mapping[str, int], waiting: int, now: float
) -> RateReport:
    """The state at `now`; each class of scopes has the budget of its scope with the least left."""
    budgets: dict[str, ScopeBudget] = {}
    for scope, window in windows.items():
        found, name = _budget(window, now), scope_class(scope)
        if found is not None and (name not in budgets or found.left < budgets[name].left):
            budgets[name] = found
    refusals = Counter[str]()
    for scope, count in throttled.items():
        refusals[scope_class(scope)] += count
    return RateReport(waiting=waiting, throttled=refusals, budgets=budgets)


def _budget(window: SlidingWindow, now: float) -> ScopeBudget | None:
    limit = window.limit.count if window.limit is not None else None
    if now < window.closed_until:
        return ScopeBudget(0, limit)
    if limit is None and now >= window.reported_until:
        return None  # only the platform's answers say what is left, and none says it now
    return ScopeBudget(max(0, int(window.room(now))), limit)
