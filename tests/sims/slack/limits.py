"""Slack's rate limits per method and workspace, and a count of the violations.

Slack publishes lower bounds ("20+" a minute). It does not say how much more it allows, how large a
burst may be, or whether a minute is a fixed or a sliding window. A `LimitProfile` decides this;
`random_profile(seed)` varies it within the reported ranges, and the default is the strictest.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.sims.kit import SlidingLimit, WindowLimit
from tests.sims.slack.values import ApiError

TIERS = {1: 1, 2: 20, 3: 50, 4: 100}  # calls a minute: docs.slack.dev/apis/web-api/rate-limits
POST_SECONDS = 1.0  # chat.postMessage: about one a second per channel
POST_BURST = 3  # and short bursts of unpublished size
POSTS_A_MINUTE = 300  # "several hundred a minute" in the workspace
SPECIAL = {"auth.test": 600}
READS = {"conversations.history", "conversations.replies"}
COMMERCIAL_READS = 1  # a minute, for distributed apps outside the marketplace
COMMERCIAL_OBJECTS = 15


@dataclass(frozen=True, slots=True)
class LimitProfile:
    """One set of the limits that Slack does not document."""

    seed: int | None = None
    more: float = 1.0  # factor on a tier's lower bound
    sliding: bool = False  # else a fixed window, which begins with its first call
    post_burst: int = POST_BURST
    posts_a_minute: int = POSTS_A_MINUTE
    retry_after: tuple[int, int] | None = None  # a range for Retry-After; None: the time left
    noisy: bool = False  # responses have warnings and unknown fields


def random_profile(seed: int) -> LimitProfile:
    """A random profile within the reported ranges; see docs/platform-facts-slack.md."""
    dice = random.Random(seed)
    return LimitProfile(
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
    """A token bucket of `size`, refilled with one token every `POST_SECONDS`."""

    scale: float
    size: int = POST_BURST
    tokens: float = 0.0
    at: float = float("-inf")

    def take(self) -> float:
        """Take one token; returns 0.0, or the seconds until there is one."""
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
    """A throttled method, in one channel or everywhere ("").

    `says` is the Retry-After header: None for the seconds left, "" for no header.
    """

    method: str
    until: float
    channel: str = ""
    says: str | None = None
    in_body: bool = False  # `ratelimited` with HTTP 200

    def refusal(self) -> ApiError:
        """The error to respond with."""
        says = self.says
        if says is None:
            says = str(max(1, math.ceil(self.until - time.monotonic())))
        return ApiError("ratelimited", retry_after=0 if self.in_body else says)


@dataclass(slots=True)
class RateLimits:
    """All rate limits of one app in one workspace; `rejections` counts the 429s by method."""

    enabled: bool = True
    scale: float = 1.0
    commercial: bool = False
    profile: LimitProfile = field(default_factory=LimitProfile)
    rejections: Counter[str] = field(default_factory=Counter)
    throttles: list[Throttle] = field(default_factory=list)
    _methods: dict[str, Any] = field(default_factory=dict)
    _posts: dict[str, Bucket] = field(default_factory=dict)
    _dice: random.Random = field(default_factory=lambda: random.Random(0))

    def reset(self) -> None:
        """Reset all rate limits."""
        self._methods.clear()
        self._posts.clear()
        self._dice = random.Random(self.profile.seed or 0)

    def take(self, method: str, tier: int, channel: str) -> None:
        """Count one call. Raises ApiError (`ratelimited`) with the seconds to wait."""
        self._check_throttles(method, channel)
        if not self.enabled:
            return
        wait = self._window(method, tier).take()
        if not wait and method == "chat.postMessage":
            bucket = Bucket(self.scale, self.profile.post_burst)
            wait = self._posts.setdefault(channel, bucket).take()
        if wait:
            self.rejections[method] += 1
            raise ApiError("ratelimited", retry_after=self._retry_after(wait))

    def _check_throttles(self, method: str, channel: str) -> None:
        now = time.monotonic()
        self.throttles = [one for one in self.throttles if one.until > now]
        for one in self.throttles:
            if one.method == method and one.channel in ("", channel):
                self.rejections[method] += 1
                raise one.refusal()

    def _retry_after(self, wait: float) -> int:
        """The header's whole seconds, which may be more than necessary."""
        least = max(1, math.ceil(wait))
        if self.profile.retry_after is None:
            return least
        return max(least, self._dice.randint(*self.profile.retry_after))

    def _window(self, method: str, tier: int) -> Any:
        if method not in self._methods:
            count = SPECIAL.get(method, TIERS[tier] * self.profile.more)
            if method == "chat.postMessage":
                count = self.profile.posts_a_minute
            if self.commercial and method in READS:
                count = COMMERCIAL_READS
            kind = SlidingLimit if self.profile.sliding else WindowLimit
            self._methods[method] = kind(max(1, int(count * self.scale)), 60.0)
        return self._methods[method]
