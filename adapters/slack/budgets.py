"""The budgets of requests: Slack's limits are per app and workspace, so each has a limiter."""

from __future__ import annotations

from adapters.slack.api import limit_for
from bot.ports.clock import Clock
from bot.replies.ratelimit.limiter import AccountRateLimiter


def workspace_limiter(clock: Clock) -> AccountRateLimiter:
    """The budget of one workspace."""
    return AccountRateLimiter(limit_for, clock)
