"""One scope's budget as a sliding log, kept with a margin for what the network does to times.

Invariant: no window of `limit.seconds`, sliding or fixed, contains more than `limit.count` grants,
nor does the server's view of it as long as latencies vary by less than the margin.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from bot.frames import Limit, Priority

MARGIN = 0.05
"""Seconds that every window is kept longer: between two requests of one connection pool the time
on the way varies by a few ten milliseconds on a good network; what varies more meets a 429 once,
which widens the window (PENALTY)."""

PENALTY = 1.25
"""After a 429 the windows last that much longer: a step that a budget learned too high recovers
from within three, and that costs a budget learned right a fifth of its pace for a minute."""

PENALTY_SECONDS = 60.0
"""How long after a 429 its penalty lasts: no window of either platform is longer."""

MOST_PENALTY = 4.0
"""Beyond that a further 429 does not slow us: the limit is learned, or something else is wrong."""


WIDE = 0.1
"""Seconds: a budget whose even step is shorter is shared by so many that a pace helps nobody; edits
leave a part of it free instead (RESERVE)."""

RESERVE = 0.2
"""The part of a wide budget that edits leave to what is more urgent."""


def paced(priority: Priority) -> bool:
    """Whether requests of this priority keep an even pace, and leave the burst to others.

    So a final text finds room: whatever interim edits did, it waits for one even step at most.
    """
    return priority >= Priority.INTERIM


@dataclass(slots=True)
class Bucket:
    """The budget of one scope. `limit` None means that only a 429 closes it."""

    limit: Limit | None
    margin: float = MARGIN
    closed_until: float = float("-inf")
    penalty: float = 1.0
    penalty_until: float = float("-inf")
    log: deque[float] = field(default_factory=deque)

    def free_at(self, now: float, priority: Priority) -> float:
        """When a request of this priority may be sent: at or before `now` means now."""
        free = self.closed_until
        if self.limit is None:
            return free
        window = (self.limit.seconds + self.margin) * self._stretch(now)
        self._forget(now - window)
        if not self.log:
            return free
        count, gap = self.limit.count, self.limit.spacing
        step = window / count
        if paced(priority) and step < WIDE:
            count = max(1, round(count * (1 - RESERVE)))
        elif paced(priority):
            gap = max(gap, step)
        if len(self.log) >= count:
            free = max(free, self.log[-count] + window)
        return max(free, self.log[-1] + gap)

    def take(self, now: float) -> None:
        """Count one request as sent now."""
        if self.limit is not None:
            self.log.append(now)

    def refund(self, at: float) -> None:
        """A request counted at `at` was not sent after all."""
        if at in self.log:
            self.log.remove(at)

    def close(self, now: float, seconds: float) -> None:
        """A 429 came: nothing for `seconds`, and wider windows for a while after that."""
        if now >= self.closed_until:  # of a burst of 429s the first counts
            self.penalty = min(self._stretch(now) * PENALTY, MOST_PENALTY)
        self.closed_until = max(self.closed_until, now + seconds + self.margin)
        self.penalty_until = self.closed_until + PENALTY_SECONDS

    def idle(self, now: float) -> bool:
        """Whether a new bucket would decide the same, so that this one may be forgotten."""
        if now < self.closed_until or now < self.penalty_until:
            return False
        if self.limit is not None:
            self._forget(now - (self.limit.seconds + self.margin))
        return not self.log

    def _stretch(self, now: float) -> float:
        return self.penalty if now < self.penalty_until else 1.0

    def _forget(self, before: float) -> None:
        while self.log and self.log[0] <= before:
            self.log.popleft()
