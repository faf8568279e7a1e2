"""The budgets of requests: Slack's limits are per app and workspace, so each has a limiter."""

from __future__ import annotations

from collections.abc import Callable

from adapters.slack.rate_limits import limit_for
from bot.ports.clock import Clock
from bot.replies.ratelimit.limiter import AccountRateLimiter


def workspace_limiter(clock: Clock, members: Callable[[], int] = lambda: 1) -> AccountRateLimiter:
    """The budget of one workspace, of which each of the `members` of a cluster has a share."""
    return AccountRateLimiter(lambda scope: limit_for(scope, members()), clock, members=members)
