"""Rate limits: a bucket for every route, the global limit, and the ban for invalid requests.

A request over a limit gets a 429 and is not applied; a control turns all limits off. Every response
has its bucket's headers. Limits that Discord does not publish are drawn for each simulator from the
reported range (`SEED` repeats a draw).
"""

from __future__ import annotations

import math
import os
import random
import re
import time
from collections import Counter
from dataclasses import dataclass

from tests.sims.kit import SlidingLimit, WindowLimit

SEED = "DISCORD_SIM_SEED"
"""Environment variable with the seed of the draws; by default each simulator picks one."""

# Requests per seconds by bucket family, as third parties report them; Discord does not publish
# them. A thread counts as a channel. A webhook is one interaction's token.
BUCKETS: dict[str, tuple[int, float]] = {
    "message": (5, 5.0),  # sending and editing share it
    "delete": (5, 1.0),
    "typing": (5, 5.0),
    "reaction": (1, 0.25),
    "webhook": (5, 2.0),
    "callback": (5, 1.0),
}
# Ranges: (fewest, most) requests per (shortest, longest) seconds. A thread's window lasts minutes,
# and the headers show it from the first request on: public reports mention 50 per 300 s and a
# Retry-After of 219 s. The others are guesses near the reports of bot authors.
DRAWN: dict[str, tuple[tuple[int, int], tuple[float, float]]] = {
    "thread": ((50, 60), (240.0, 300.0)),
    "history": ((5, 10), (1.0, 5.0)),
    "read": ((5, 10), (1.0, 5.0)),
    "place": ((10, 50), (1.0, 15.0)),
    "change": ((5, 10), (15.0, 300.0)),
    "archive": ((10, 50), (1.0, 60.0)),
    "member": ((10, 50), (1.0, 10.0)),
    "commands": ((50, 200), (5.0, 60.0)),
    "other": ((50, 100), (1.0, 300.0)),
}
GLOBAL = (50, 1.0)  # documented: 50 requests per second, interactions not counted
INVALID = (10_000, 600.0)  # documented: 401, 403 and 429 in ten minutes, then the address is banned
OLD_MESSAGE = (3, 20.0)  # edits of messages older than an hour, per channel; a third party's guess

ROUTES = (
    ("POST", r"/channels/(\d+)/messages", "message"),
    ("PATCH", r"/channels/(\d+)/messages/\d+", "message"),
    ("GET", r"/channels/(\d+)/messages", "history"),
    ("GET", r"/channels/(\d+)/messages/\d+", "read"),
    ("DELETE", r"/channels/(\d+)/messages/\d+", "delete"),
    ("POST", r"/channels/(\d+)/messages/\d+/threads", "thread"),
    ("POST", r"/channels/(\d+)/threads", "thread"),
    ("POST", r"/channels/(\d+)/typing", "typing"),
    ("GET", r"/channels/(\d+)", "place"),
    ("PATCH", r"/channels/(\d+)", "change"),
    ("GET", r"/channels/(\d+)/threads/archived/.+", "archive"),
    ("GET", r"/channels/(\d+)/thread-members/.+", "member"),
    ("GET", r"/guilds/(\d+)/members/\d+", "member"),
    ("GET", r"/applications/(\d+)/commands", "commands"),
    ("PUT", r"/applications/(\d+)/commands", "commands"),
    ("PUT", r"/channels/(\d+)/messages/\d+/reactions/.+", "reaction"),
    ("DELETE", r"/channels/(\d+)/messages/\d+/reactions/.+", "reaction"),
    ("POST", r"/interactions/\d+/([^/]+)/callback", "callback"),
    ("POST", r"/webhooks/\d+/([^/]+)", "webhook"),
    ("PATCH", r"/webhooks/\d+/([^/]+)/messages/.+", "webhook"),
)
INTERACTION = re.compile(r"/(interactions|webhooks)/")


@dataclass(frozen=True, slots=True)
class LimitResult:
    """The headers of a response, and the seconds to wait if the request is over a limit."""

    headers: dict[str, str]
    wait: float = 0.0
    everywhere: bool = False
    banned: bool = False


@dataclass(slots=True)
class Throttle:
    """Refuses one route for a while, for this bot or for all.

    `pattern` is a regular expression that matches the whole "METHOD /path". `scope` is Discord's:
    user, shared (requests by other apps to the same resource count) or global.
    """

    pattern: str
    until: float
    scope: str = "user"

    def takes(self, what: str) -> bool:
        """Whether this request is refused."""
        return time.monotonic() < self.until and re.fullmatch(self.pattern, what) is not None

    def result(self) -> LimitResult:
        """The refusal with Discord's headers."""
        wait = self.until - time.monotonic()
        headers = {"X-RateLimit-Scope": self.scope}
        if self.scope == "global":
            return LimitResult(headers | {"X-RateLimit-Global": "true"}, wait, everywhere=True)
        return LimitResult(headers | _window(1, 0, wait) | {"X-RateLimit-Bucket": "f" * 32}, wait)


def draw(seed: int) -> dict[str, tuple[int, float]]:
    """The limits of one simulator: the reported ones, and the others drawn at random."""
    dice = random.Random(seed)
    drawn = {
        family: (dice.randint(*counts), round(dice.uniform(*seconds), 3))
        for family, (counts, seconds) in DRAWN.items()
    }
    return BUCKETS | drawn


def _window(limit: int, remaining: int, reset_after: float) -> dict[str, str]:
    after = math.ceil(reset_after * 1000) / 1000  # Discord rounds to milliseconds
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": f"{time.time() + after:.3f}",
        "X-RateLimit-Reset-After": f"{after:.3f}",
    }


class RateLimits:
    """All limits of one bot behind one address."""

    def __init__(self) -> None:
        self.on = True
        self.seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(2**32))
        self.buckets = draw(self.seed)
        self.throttles: list[Throttle] = []
        self._windows: dict[tuple[str, str], WindowLimit] = {}
        self._global = WindowLimit(*GLOBAL)
        self._invalid = SlidingLimit(*INVALID)
        self._old: dict[int, WindowLimit] = {}
        self.old_message = OLD_MESSAGE
        self.banned_until = 0.0
        self.counts: Counter[str] = Counter()  # 429s by bucket family, "global", "old_message"
        self.invalid: Counter[int] = Counter()  # invalid requests by status

    def set_global(self, count: int, seconds: float) -> None:
        """Replace the global limit."""
        self._global = WindowLimit(count, seconds)

    def set_invalid(self, count: int, seconds: float) -> None:
        """Replace the limit of invalid requests and lift a ban."""
        self._invalid, self.banned_until = SlidingLimit(count, seconds), 0.0

    def draw_again(self, seed: int) -> None:
        """Draw every limit with another seed and begin new windows."""
        self.seed, self.buckets = seed, draw(seed)
        self._windows.clear()

    def check(self, method: str, path: str) -> LimitResult:
        """Count a request to `path` (without the API prefix) against its limits."""
        if time.monotonic() < self.banned_until:
            return LimitResult({}, self.banned_until - time.monotonic(), banned=True)
        for throttle in self.throttles:
            if throttle.takes(f"{method} {path}"):
                self.counts["throttled"] += 1
                return throttle.result()
        if not self.on:
            return LimitResult({})
        if not INTERACTION.match(path):
            wait = self._global.take()
            if wait:
                self.counts["global"] += 1
                headers = {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}
                return LimitResult(headers, wait, everywhere=True)
        return self._check_bucket(method, path)

    def _check_bucket(self, method: str, path: str) -> LimitResult:
        for verb, pattern, family in ROUTES:
            found = re.fullmatch(pattern, path) if verb == method else None
            if found is not None:
                return self._take(family, found.group(1))
        return self._take("other", f"{method} {re.sub('[0-9]+', '0', path)}")

    def _take(self, family: str, place: str) -> LimitResult:
        fresh = WindowLimit(*self.buckets[family])
        window = self._windows.setdefault((family, place), fresh)
        wait = window.take()
        headers = _window(window.count, window.remaining, window.reset_after)
        headers["X-RateLimit-Bucket"] = f"{family:x<32}"
        if wait:
            self.counts[family] += 1
            headers["X-RateLimit-Scope"] = "user"
        return LimitResult(headers, wait)

    def set_bucket(self, family: str, count: int, seconds: float) -> None:
        """Replace a family's limit and begin new windows."""
        if family not in self.buckets:
            raise KeyError(family)
        self.buckets[family] = (count, seconds)
        for key in [key for key in self._windows if key[0] == family]:
            del self._windows[key]

    def old_edit(self, channel: int) -> float:
        """Count an edit of an old message; returns the seconds to wait if it is refused."""
        if not self.on:
            return 0.0
        wait = self._old.setdefault(channel, WindowLimit(*self.old_message)).take()
        if wait:
            self.counts["old_message"] += 1
        return wait

    def set_old(self, count: int, seconds: float) -> None:
        """Replace the cap on edits of old messages."""
        self.old_message = (count, seconds)
        self._old.clear()

    def count_response(self, status: int, scope: str | None = None) -> None:
        """Count an invalid request; too many ban the address.

        Documented: a 429 with the scope `shared` does not count.
        """
        if status not in (401, 403, 429) or scope == "shared":
            return
        self.invalid[status] += 1
        if self._invalid.take():
            self.banned_until = time.monotonic() + self._invalid.seconds
