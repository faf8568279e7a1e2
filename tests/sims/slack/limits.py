"""Slack's rate limits, per method and workspace, and how often each was broken.

What Slack publishes is the least that it allows ("20+" a minute). How much more, how large a burst
is, and whether a minute is fixed or slides, it does not say: `Draw` has one Slack of those that
have been reported, and `drawn(seed)` another one. Without a seed it is what the budgets assume.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.sims.kit import SlidingLimit, WindowLimit
from tests.sims.slack.values import Refused

TIERS = {1: 1, 2: 20, 3: 50, 4: 100}  # calls a minute: docs.slack.dev/apis/web-api/rate-limits
POST_SECONDS = 1.0  # chat.postMessage: about one a second for each channel …
POST_BURST = 3  # … with short bursts, whose size Slack does not publish
POSTS_A_MINUTE = 300  # "several hundred a minute" in the workspace
SPECIAL = {"auth.test": 600}
READS = {"conversations.history", "conversations.replies"}
COMMERCIAL_READS = 1  # a minute, for distributed apps outside the marketplace
COMMERCIAL_OBJECTS = 15


@dataclass(frozen=True, slots=True)
class Draw:
    """What Slack leaves open, as one workspace has it."""

    seed: int | None = None
    more: float = 1.0  # times what a tier promises at least
    sliding: bool = False  # else a minute begins with its first call
    post_burst: int = POST_BURST
    posts_a_minute: int = POSTS_A_MINUTE
    retry_after: tuple[int, int] | None = None  # drawn from instead of what is left to wait
    noisy: bool = False  # answers have warnings and fields that nobody asked for


def drawn(seed: int) -> Draw:
    """Another Slack, within what has been reported; see docs/platform-facts-slack.md."""
    dice = random.Random(seed)
    return Draw(
        seed=seed,
        more=dice.choice((1.0, 1.2, 2.0)),
        sliding=dice.random() < 0.5,
        post_burst=dice.choice((1, 3, 8, 25)),
        posts_a_minute=dice.choice((200, 300, 600)),
        retry_after=dice.choice((None, (1, 5), (10, 30), (30, 60))),
        noisy=dice.random() < 0.5,
    )


@dataclass(slots=True)
class Bucket:
    """`size` tokens that refill with one each `POST_SECONDS`."""

    scale: float
    size: int = POST_BURST
    tokens: float = 0.0
    at: float = float("-inf")

    def take(self) -> float:
        """Use one token; 0.0 when there was one, else the seconds until there is."""
        now = time.monotonic()
        rate = self.scale / POST_SECONDS
        self.tokens = min(self.size, self.tokens + (now - self.at) * rate)
        self.at = now
        if self.tokens < 1:
            return (1 - self.tokens) / rate
        self.tokens -= 1
        return 0.0


@dataclass(slots=True)
class Throttle:
    """One method that Slack refuses, in one channel or everywhere ("").

    `says` is the Retry-After header: None for the seconds that are left, "" for none at all.
    """

    method: str
    until: float
    channel: str = ""
    says: str | None = None
    in_body: bool = False  # `ratelimited` with HTTP 200

    def refusal(self) -> Refused:
        """The answer."""
        says = self.says
        if says is None:
            says = str(max(1, math.ceil(self.until - time.monotonic())))
        return Refused("ratelimited", retry_after=0 if self.in_body else says)


@dataclass(slots=True)
class Limits:
    """Every budget of one app in one workspace; `refused` counts the 429s by method."""

    enabled: bool = True
    scale: float = 1.0
    commercial: bool = False
    draw: Draw = field(default_factory=Draw)
    refused: Counter[str] = field(default_factory=Counter)
    throttles: list[Throttle] = field(default_factory=list)
    _methods: dict[str, Any] = field(default_factory=dict)
    _posts: dict[str, Bucket] = field(default_factory=dict)
    _dice: random.Random = field(default_factory=lambda: random.Random(0))

    def reset(self) -> None:
        """Begin all budgets anew."""
        self._methods.clear()
        self._posts.clear()
        self._dice = random.Random(self.draw.seed or 0)

    def take(self, method: str, tier: int, channel: str) -> None:
        """Count one call; raises Refused (`ratelimited`) with the seconds to wait."""
        self._check_throttles(method, channel)
        if not self.enabled:
            return
        wait = self._window(method, tier).take()
        if not wait and method == "chat.postMessage":
            bucket = Bucket(self.scale, self.draw.post_burst)
            wait = self._posts.setdefault(channel, bucket).take()
        if wait:
            self.refused[method] += 1
            raise Refused("ratelimited", retry_after=self._said(wait))

    def _check_throttles(self, method: str, channel: str) -> None:
        now = time.monotonic()
        self.throttles = [one for one in self.throttles if one.until > now]
        for one in self.throttles:
            if one.method == method and one.channel in ("", channel):
                self.refused[method] += 1
                raise one.refusal()

    def _said(self, wait: float) -> int:
        """Whole seconds; some workspaces ask for more than their window needs."""
        least = max(1, math.ceil(wait))
        if self.draw.retry_after is None:
            return least
        return max(least, self._dice.randint(*self.draw.retry_after))

    def _window(self, method: str, tier: int) -> Any:
        if method not in self._methods:
            count = SPECIAL.get(method, TIERS[tier] * self.draw.more)
            if method == "chat.postMessage":
                count = self.draw.posts_a_minute
            if self.commercial and method in READS:
                count = COMMERCIAL_READS
            kind = SlidingLimit if self.draw.sliding else WindowLimit
            self._methods[method] = kind(max(1, int(count * self.scale)), 60.0)
        return self._methods[method]
