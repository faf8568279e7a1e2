"""Rate limits: the buckets of a channel, the global limit, and the ban for invalid requests.

A request over a limit is answered 429 and not applied; all are on until a control switches them
off.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from dataclasses import dataclass

from tests.sims.kit import SlidingLimit, WindowLimit

# Family of a bucket: requests per seconds. Discord does not publish them; these are reported by
# third parties. A thread is a channel of its own. A webhook stands for one interaction's token.
BUCKETS: dict[str, tuple[int, float]] = {
    "message": (5, 5.0),  # sending and editing share it
    "delete": (5, 1.0),
    "typing": (5, 5.0),
    "reaction": (1, 0.25),
    "webhook": (5, 2.0),
}
GLOBAL = (50, 1.0)  # documented: 50 requests per second, interactions not counted
INVALID = (10_000, 600.0)  # documented: 401, 403 and 429 in ten minutes, then the address is banned
OLD_MESSAGE = (3, 20.0)  # edits of messages older than an hour, per channel; a third party's guess

ROUTES = (
    ("POST", r"/channels/(\d+)/messages", "message"),
    ("PATCH", r"/channels/(\d+)/messages/\d+", "message"),
    ("DELETE", r"/channels/(\d+)/messages/\d+", "delete"),
    ("POST", r"/channels/(\d+)/typing", "typing"),
    ("PUT", r"/channels/(\d+)/messages/\d+/reactions/.+", "reaction"),
    ("DELETE", r"/channels/(\d+)/messages/\d+/reactions/.+", "reaction"),
    ("POST", r"/webhooks/\d+/([^/]+)", "webhook"),
    ("PATCH", r"/webhooks/\d+/([^/]+)/messages/.+", "webhook"),
)
INTERACTION = re.compile(r"/(interactions|webhooks)/")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the limits say: headers for the answer, and seconds to wait when it is a refusal."""

    headers: dict[str, str]
    wait: float = 0.0
    everywhere: bool = False
    banned: bool = False


class Limits:
    """All limits of one bot behind one address."""

    def __init__(self) -> None:
        self.on = True
        self.buckets: dict[str, tuple[int, float]] = dict(BUCKETS)
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

    def check(self, method: str, path: str) -> Verdict:
        """Count a request to `path` (without the API's prefix) against its limits."""
        if time.monotonic() < self.banned_until:
            return Verdict({}, self.banned_until - time.monotonic(), banned=True)
        if not self.on:
            return Verdict({})
        if not INTERACTION.match(path):
            wait = self._global.take()
            if wait:
                self.counts["global"] += 1
                headers = {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}
                return Verdict(headers, wait, everywhere=True)
        return self._check_bucket(method, path)

    def _check_bucket(self, method: str, path: str) -> Verdict:
        for verb, pattern, family in ROUTES:
            found = re.fullmatch(pattern, path) if verb == method else None
            if found is not None:
                return self._take(family, found.group(1))
        return Verdict({})

    def _take(self, family: str, place: str) -> Verdict:
        fresh = WindowLimit(*self.buckets[family])
        window = self._windows.setdefault((family, place), fresh)
        wait = window.take()
        after = math.ceil(window.reset_after * 1000) / 1000  # Discord says milliseconds
        headers = {
            "X-RateLimit-Limit": str(window.count),
            "X-RateLimit-Remaining": str(window.remaining),
            "X-RateLimit-Reset": f"{time.time() + after:.3f}",
            "X-RateLimit-Reset-After": f"{after:.3f}",
            "X-RateLimit-Bucket": f"{family:x<32}",
        }
        if wait:
            self.counts[family] += 1
            headers["X-RateLimit-Scope"] = "user"
        return Verdict(headers, wait)

    def set_bucket(self, family: str, count: int, seconds: float) -> None:
        """Replace a family's limit; its windows begin anew."""
        if family not in self.buckets:
            raise KeyError(family)
        self.buckets[family] = (count, seconds)
        for key in [key for key in self._windows if key[0] == family]:
            del self._windows[key]

    def old_edit(self, channel: int) -> float:
        """Count an edit of an old message; seconds to wait when it is refused."""
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

    def answered(self, status: int) -> None:
        """Count an invalid answer; the ban begins when there are too many."""
        if status not in (401, 403, 429):
            return
        self.invalid[status] += 1
        if self._invalid.take():
            self.banned_until = time.monotonic() + self._invalid.seconds
