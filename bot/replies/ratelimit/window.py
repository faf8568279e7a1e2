"""The budget of one scope: a sliding log of sent requests.

Invariant: no window of `limit.seconds`, sliding or fixed, contains more than `limit.count` grants.
The same is true from the server's point of view while latencies vary by less than the margin.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from bot.domain.replies import Limit, Pace

MARGIN = 0.05
"""Seconds added to every window. On a good network the latencies of two requests differ by tens of
milliseconds; a larger difference costs one 429, which widens the window (PENALTY)."""

PENALTY = 1.25
"""The factor by which a 429 widens the windows. It corrects a budget that was assumed too high
within three steps; a correct budget loses a fifth of its rate for a minute."""

PENALTY_SECONDS = 60.0
"""How long a penalty lasts after a 429: neither platform has a longer window."""

MAX_PENALTY = 4.0
"""The limit for widening windows: if more 429s come, something other than our rate is wrong."""

RECHECK = 1.0
"""Seconds until the next check of a fully reserved budget."""

PROBE = 0.05
"""Seconds between urgent requests after a 429, when the platform's count replaces our log: two or
three of them meet the next 429 on a typical network."""

SAME = 1.0
"""Reported reset times that differ by less than this many seconds belong to one window."""


@dataclass(slots=True)
class SlidingWindow:
    """The log of one scope. Without a `limit`, only the platform's responses close it.

    `reserved` requests are kept free for the ends of replies. The platform reported that `reported`
    requests are left until `reported_until`.
    """

    limit: Limit | None
    margin: float = MARGIN
    reserved: int = 0
    closed_until: float = -math.inf
    penalty: float = 1.0
    penalty_until: float = -math.inf
    widened_at: float = -math.inf
    taken_at: float = -math.inf
    reported: int = 0
    reported_until: float = -math.inf
    log: deque[float] = field(default_factory=deque)

    def seconds(self, now: float) -> float:
        """How many seconds a request counts."""
        seconds = self.limit.seconds if self.limit is not None else 0.0
        return (seconds + self.margin) * self._stretch(now)

    def room(self, now: float, spare: int = 0) -> float:
        """How many requests can be sent now while keeping `spare`; negative if too few are."""
        left = self.reported if now < self.reported_until else math.inf
        if self.limit is not None:
            self._expire(now)
            left = min(left, self.limit.count - len(self.log))
        return left - spare

    def open_at(self, now: float, spare: int = 0) -> float:
        """When a request can be sent while keeping `spare`; `now` or earlier means now."""
        if self.room(now, spare) > 0:
            return self.closed_until
        free = self._reported_at(now, spare)
        if self.limit is not None and self.limit.count - len(self.log) <= spare:
            usable = self.limit.count - spare
            free = max(free, self.log[-usable] + self.seconds(now) if usable > 0 else now + RECHECK)
        return max(self.closed_until, free)

    def urgent_at(self, now: float) -> float:
        """When a final text or a control request may be sent.

        After a 429 the platform counts requests that are not in our log, or forgets them sooner:
        for a while, its responses count instead of the log.
        """
        if now >= self.penalty_until:
            return self.open_at(now)
        return max(self.closed_until, self._reported_at(now), self.taken_at + PROBE)

    def _reported_at(self, now: float, spare: int = 0) -> float:
        active = now < self.reported_until and self.reported <= spare
        return self.reported_until if active else -math.inf

    def paced_at(self, now: float, horizon: float, extra: float = 0.0) -> float:
        """When the pace allows an interim request.

        An even pace spends the whole budget over its window. A forecast pace spends the budget,
        without what is reserved and with `extra` requests of another scope, over `horizon` seconds.
        """
        if self.limit is None or self.limit.pace is Pace.NONE or not self.log:
            return -math.inf
        window, reserved = self.seconds(now), self.reserved
        if self.limit.pace is Pace.EVEN:
            horizon, reserved, extra = window, 0, 0.0
        left = max(0, self.room(now, reserved)) + 1
        last = self.log[-1]
        return last + self._gap(last - window, min(horizon, window), left, extra)

    def _gap(self, expired: float, horizon: float, left: float, extra: float) -> float:
        """The smallest even gap that leaves room for each request of the next `horizon` seconds:
        `left` requests, plus those sent after `expired`, which become free within that time."""
        gap, returned = 0.0, 0
        for at in self.log:
            if at - expired >= horizon:
                break
            gap = max(gap, (at - expired) / (left + returned))
            returned += 1
        return max(gap, horizon / (left + returned + extra))

    def take(self, now: float) -> None:
        """Count one request as sent now."""
        self.taken_at = now
        self.reported -= 1
        if self.limit is not None:
            self.log.append(now)

    def refund(self, at: float | None = None) -> None:
        """Undo the request counted at `at`; without a time, the last one."""
        self.reported += 1
        if at is None and self.log:
            self.log.pop()
        elif at is not None and at in self.log:
            self.log.remove(at)

    def observe(self, now: float, remaining: int, seconds: float) -> None:
        """Record the platform's own count for the next `seconds`.

        Within one window only a lower count is news: responses overtake each other, and do not
        include the requests in flight.
        """
        until = now + seconds + self.margin
        same = now < self.reported_until and abs(until - self.reported_until) < SAME
        self.reported = min(self.reported, remaining) if same else remaining
        self.reported_until = until

    def close(self, now: float, seconds: float) -> None:
        """Record a 429: nothing is sent for `seconds`, and windows are wider for a while."""
        if now >= max(self.closed_until, self.widened_at + self.seconds(now)):
            # All 429s of one window have one cause; only the first widens it.
            self.penalty = min(self._stretch(now) * PENALTY, MAX_PENALTY)
            self.widened_at = now
        self._fill(now)
        self.closed_until = max(self.closed_until, now + seconds + self.margin)
        self.penalty_until = self.closed_until + PENALTY_SECONDS

    def _fill(self, now: float) -> None:
        """Assume that others (a process that died, another program) have used all the room in our
        log, evenly, so that it becomes free evenly."""
        if self.limit is None:
            return
        room, step = int(self.room(now)), self.seconds(now) / self.limit.count
        self.log = deque(sorted((*self.log, *(now - step * number for number in range(room)))))

    def idle(self, now: float) -> bool:
        """Whether a new window would make the same decisions."""
        if self.reserved or now < max(self.closed_until, self.penalty_until, self.reported_until):
            return False
        self._expire(now)
        return not self.log

    def _stretch(self, now: float) -> float:
        return self.penalty if now < self.penalty_until else 1.0

    def _expire(self, now: float) -> None:
        before = now - self.seconds(now)
        while self.log and self.log[0] <= before:
            self.log.popleft()
