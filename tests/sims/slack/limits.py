"""Slack's rate limits, per method and workspace, and how often each was broken.

Tiers are windows of a minute that begin with their first call; Slack's "20+" counts as 20.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass

from tests.sims.kit import WindowLimit
from tests.sims.slack.values import Refused

TIERS = {1: 1, 2: 20, 3: 50, 4: 100}  # calls a minute: docs.slack.dev/apis/web-api/rate-limits
POST_SECONDS = 1.0  # chat.postMessage: about one a second for each channel …
POST_BURST = 3  # … with short bursts, whose size Slack does not publish
POSTS_A_MINUTE = 300  # "several hundred a minute" in the workspace
SPECIAL = {"auth.test": 600, "chat.postMessage": POSTS_A_MINUTE}
READS = {"conversations.history", "conversations.replies"}
COMMERCIAL_READS = 1  # a minute, for distributed apps outside the marketplace
COMMERCIAL_OBJECTS = 15


@dataclass(slots=True)
class Bucket:
    """`POST_BURST` tokens that refill with one each `POST_SECONDS`."""

    scale: float
    tokens: float = 0.0
    at: float = float("-inf")

    def take(self) -> float:
        """Use one token; 0.0 when there was one, else the seconds until there is."""
        now = time.monotonic()
        rate = self.scale / POST_SECONDS
        self.tokens = min(POST_BURST, self.tokens + (now - self.at) * rate)
        self.at = now
        if self.tokens < 1:
            return (1 - self.tokens) / rate
        self.tokens -= 1
        return 0.0


class Limits:
    """Every budget of one app in one workspace; `refused` counts the 429s by method."""

    def __init__(self) -> None:
        self.enabled = True
        self.scale = 1.0
        self.commercial = False
        self.refused: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Begin all budgets anew."""
        self._methods: dict[str, WindowLimit] = {}
        self._posts: dict[str, Bucket] = {}

    def take(self, method: str, tier: int, channel: str) -> None:
        """Count one call; raises Refused (`ratelimited`) with the seconds to wait."""
        if not self.enabled:
            return
        wait = self._window(method, tier).take()
        if not wait and method == "chat.postMessage":
            wait = self._posts.setdefault(channel, Bucket(self.scale)).take()
        if wait:
            self.refused[method] += 1
            raise Refused("ratelimited", retry_after=max(1, math.ceil(wait)))

    def _window(self, method: str, tier: int) -> WindowLimit:
        if method not in self._methods:
            count = SPECIAL.get(method, TIERS[tier])
            if self.commercial and method in READS:
                count = COMMERCIAL_READS
            self._methods[method] = WindowLimit(max(1, int(count * self.scale)), 60.0)
        return self._methods[method]
