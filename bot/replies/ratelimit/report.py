"""Reports a rate limiter's state for metrics, by class of scope: scopes contain channel ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from bot.domain.operation import RateReport, ScopeBudget, scope_class
from bot.replies.ratelimit.window import SlidingWindow


def report_of(
    windows: Mapping[str, SlidingWindow], throttled: Mapping[str, int], waiting: int, now: float
) -> RateReport:
    """The state at `now`; each class reports the budget of its scope with the least left."""
    budgets: dict[str, ScopeBudget] = {}
    for name, (left, limit) in _least_left(windows, now).items():
        label = scope_class(name)
        if label not in budgets or left < budgets[label].left:
            budgets[label] = ScopeBudget(left, limit)
    refusals = Counter[str]()
    for scope, count in throttled.items():
        refusals[scope_class(scope)] += count
    return RateReport(waiting=waiting, throttled=refusals, budgets=budgets)


def _least_left(
    windows: Mapping[str, SlidingWindow], now: float
) -> dict[str, tuple[int, int | None]]:
    """By class of scope, the fewest requests left and the limit.

    There may be thousands of windows, so the exact room of most of them is not computed.
    """
    least: dict[str, tuple[int, int | None]] = {}
    for scope, window in windows.items():
        name, limit = scope.partition(":")[0], window.limit
        known = least.get(name)
        is_open = now >= window.closed_until and now >= window.reported_until
        if is_open and (
            limit is None  # unlimited here, and no response of the platform says how many are left
            or (known is not None and limit.count - len(window.log) >= known[0])
        ):
            continue
        left = 0 if now < window.closed_until else max(0, int(window.room(now)))
        if known is None or left < known[0]:
            least[name] = left, limit.count if limit is not None else None
    return least
