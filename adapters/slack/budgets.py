"""Rate limit budgets: Slack's limits apply per app and workspace, so each workspace has a
limiter."""

from __future__ import annotations

from collections.abc import Callable

from adapters.slack.rate_limits import limit_for
from bot.ports.clock import Clock
from bot.replies.ratelimit.limiter import AccountRateLimiter


def workspace_limiter(clock: Clock, members: Callable[[], int] = lambda: 1) -> AccountRateLimiter:
    """A workspace's limiter; each of the cluster's `members` gets a share of its limits."""
    return AccountRateLimiter(lambda scope: limit_for(scope, members()), clock, members=members)
