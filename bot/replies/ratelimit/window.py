"""One scope's budget as a sliding log, kept with a margin for what the network does to times.

Invariant: no window of `limit.seconds`, sliding or fixed, contains more than `limit.count` grants,
nor does the server's view of it as long as latencies vary by less than the margin; what is kept
for the ends of replies is not spent on anything less urgent.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from bot.domain.replies import Limit, Pace, Priority

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
"""Seconds: a budget whose even step is shorter is spread by parts of its window instead, because
timers are not so exact."""

PARTS = 5
"""So many parts: what is urgent waits for one of them at most, where the budget is used up."""

AGAIN = 1.0
"""Seconds until somebody looks again at a budget that is kept for ends altogether."""

PROBE = 0.05
"""Seconds between two urgent requests that trust the platform and not our own count: twenty a
second, of which two or three meet the next 429 on a usual network."""


SAME = 1.0
"""Two ends of a window, as a platform tells them, are one when they differ by less. Seconds."""

UNLIMITED = 1_000_000
"""What is left of a budget that we know no limit of."""


def trusting(priority: Priority) -> bool:
    """Whether requests of this priority believe a platform that said when, whatever we counted."""
    return priority <= Priority.CONTROL


def paced(priority: Priority) -> bool:
    """Whether requests of this priority keep a pace, and leave the burst to others."""
    return priority >= Priority.INTERIM


@dataclass(slots=True)
class Bucket:
    """The budget of one scope. `limit` None means that only a 429 closes it.

    `kept` is for how many replies one request is left; `joined_at` is when a reply showed something
    by another budget and goes on with this one. Of what the platform itself told, `told` requests
    are left until `told_until`.
    """

    limit: Limit | None
    margin: float = MARGIN
    kept: int = 0
    joined_at: float = float("-inf")
    closed_until: float = float("-inf")
    penalty: float = 1.0
    penalty_until: float = float("-inf")
    widened_at: float = float("-inf")
    taken_at: float = float("-inf")
    told: int = 0
    told_until: float = float("-inf")
    log: deque[float] = field(default_factory=deque)

    def window(self, now: float) -> float:
        """How long a request counts, in seconds."""
        seconds = self.limit.seconds if self.limit is not None else 0.0
        return (seconds + self.margin) * self._stretch(now)

    def room(self, now: float, spare: int = 0) -> int:
        """How many requests could be sent now that leave `spare` ones."""
        left = self.told if now < self.told_until else UNLIMITED
        if self.limit is not None:
            self._forget(now - self.window(now))
            left = min(left, self.limit.count - len(self.log))
        return left - spare

    def open_at(self, now: float, spare: int = 0) -> float:
        """When there is a request to send that leaves `spare` ones: at or before `now` is now."""
        if self.room(now, spare) > 0:
            return self.closed_until
        free = self._told_at(now, spare)
        if self.limit is not None and self.limit.count - len(self.log) <= spare:
            usable = self.limit.count - spare
            free = max(free, self.log[-usable] + self.window(now) if usable > 0 else now + AGAIN)
        return max(self.closed_until, free)

    def urgent_at(self, now: float) -> float:
        """When a request may be sent that cannot wait for what we only believe.

        Once the platform has answered 429, it knows of requests that we do not, or forgets them
        sooner: for a while its own word counts, and not our log.
        """
        if now >= self.penalty_until:
            return self.open_at(now)
        return max(self.closed_until, self._told_at(now), self.taken_at + PROBE)

    def _told_at(self, now: float, spare: int = 0) -> float:
        return self.told_until if now < self.told_until and self.told <= spare else -math.inf

    def paced_at(self, now: float, horizon: float, spare: int = 0, extra: float = 0.0) -> float:
        """When the pace allows an interim request.

        What the budget has, and `extra` that is had elsewhere, is to last for `horizon` seconds
        where the limit's pace asks for it.
        """
        limit = self.limit
        since = max(self.joined_at, self.log[-1] if self.log else -math.inf)
        if limit is None or since == -math.inf:
            return -math.inf
        if limit.pace is Pace.NONE:
            return since + limit.spacing
        window = self.window(now)
        if window / limit.count < WIDE:
            most = max(1, limit.count // PARTS)
            full = len(self.log) >= most
            return self.log[-most] + window / PARTS if full else -math.inf
        if limit.pace is Pace.EVEN:
            horizon, spare = window, 0
        left = max(0, self.room(now, spare)) + 1
        gap = self._gap(since - window, min(horizon, window), left, extra)
        return since + max(gap, limit.spacing)

    def _gap(self, expired: float, horizon: float, left: int, extra: float) -> float:
        """The least even step that finds a request at each of its ends: those that are `left`, and
        those that come back until then, which were sent after `expired`.
        """
        gap, returned = 0.0, 0
        for at in self.log:
            if at - expired >= horizon:
                break
            gap = max(gap, (at - expired) / (left + returned))
            returned += 1
        return max(gap, horizon / (left + returned + extra))

    def spaced_at(self) -> float:
        """When the limit's own spacing allows the next request."""
        if self.limit is None or not self.log or self.limit.pace is not Pace.EVEN:
            return -math.inf
        return self.log[-1] + self.limit.spacing

    def take(self, now: float) -> None:
        """Count one request as sent now."""
        self.taken_at = now
        self.told -= 1
        if self.limit is not None:
            self.log.append(now)

    def refund(self, at: float) -> None:
        """A request counted at `at` was not sent after all."""
        self.told += 1
        if at in self.log:
            self.log.remove(at)

    def refund_last(self) -> None:
        """The platform refused a request, and so did not count it."""
        if self.log:
            self.log.pop()

    def tell(self, now: float, remaining: int, seconds: float) -> None:
        """The platform says what is left for the next `seconds`.

        Within one window only less is news: answers overtake each other, and what was sent since
        is in none of them.
        """
        until = now + seconds + self.margin
        same = now < self.told_until and abs(until - self.told_until) < SAME
        self.told = min(self.told, remaining) if same else remaining
        self.told_until = until

    def close(self, now: float, seconds: float) -> None:
        """A 429 came: nothing for `seconds`, and wider windows for a while after that."""
        if now >= max(self.closed_until, self.widened_at + self.window(now)):
            # One window's 429s have one cause, so the first counts.
            self.penalty = min(self._stretch(now) * PENALTY, MOST_PENALTY)
            self.widened_at = now
        self._fill(now)
        self.closed_until = max(self.closed_until, now + seconds + self.margin)
        self.penalty_until = self.closed_until + PENALTY_SECONDS

    def _fill(self, now: float) -> None:
        """Where we thought there was room, others have used it (a process that died, another
        program): they are taken to have done so evenly, so that it comes back evenly.
        """
        if self.limit is None:
            return
        room, step = self.room(now), self.window(now) / self.limit.count
        unknown = (now - step * number for number in range(max(0, room)))
        self.log = deque(sorted((*self.log, *unknown)))

    def idle(self, now: float) -> bool:
        """Whether a new bucket would decide the same, so that this one may be forgotten."""
        if self.kept or now < max(self.closed_until, self.penalty_until, self.told_until):
            return False
        self._forget(now - self.window(now))
        return not self.log

    def _stretch(self, now: float) -> float:
        return self.penalty if now < self.penalty_until else 1.0

    def _forget(self, before: float) -> None:
        while self.log and self.log[0] <= before:
            self.log.popleft()
