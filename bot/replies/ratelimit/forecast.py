"""Forecasts how much longer replies will grow, so that a budget lasts for that time.

Invariant: the forecast decides how soon a request is sent, never whether. A wrong forecast makes
replies update less often; it never delays an ending.
"""

from __future__ import annotations

import math

from bot.domain.replies import Reservation

TYPICAL = 20.0
"""Seconds that a reply is expected to grow: about 500 words."""

BEYOND = 1 / 6
"""A reply older than the typical length is expected to grow for this fraction of its age again,
because lengths have a long tail."""

MEMORY = 120.0
"""Time constant in seconds: after this, an ended reply counts for 1/e in the arrival rate."""

ARRIVALS = 0.4 / 60
"""Replies per second expected in addition to the recent rate. This also covers a single reply that
grows for much longer than is typical."""


class Forecast:
    """Counts the replies of one account; times are in monotonic seconds."""

    def __init__(self) -> None:
        self.coming = 0  # replies without text so far
        self.growing = 0
        self._began = 0.0  # sum of the times at which the growing replies began
        self._ended = 0.0  # ended replies, each fading with MEMORY
        self._faded_at = 0.0

    @property
    def replies(self) -> int:
        """The number of replies that have not ended."""
        return self.coming + self.growing

    def expect(self) -> Reservation:
        """Count a reply that has no text yet."""
        self.coming += 1
        return Reservation()

    def begin(self, reservation: Reservation, now: float) -> None:
        """Count the reply as growing, because it has its first text."""
        if reservation.began is None and not reservation.over:
            reservation.began = now
            self.coming -= 1
            self.growing += 1
            self._began += now

    def end(self, reservation: Reservation, now: float) -> None:
        """Count a reply whose text is complete towards the arrival rate."""
        if reservation.over:
            return
        self.forget(reservation)
        if reservation.began is not None:
            self._ended = self._recent(now) + 1
            self._faded_at = now

    def forget(self, reservation: Reservation) -> None:
        """Stop counting a reply."""
        if reservation.over:
            return
        reservation.over = True
        if reservation.began is None:
            self.coming -= 1
        else:
            self.growing -= 1
            self._began -= reservation.began

    def horizon(self, now: float, window: float) -> float:
        """Seconds that the remaining budget should last.

        This is the growing replies' own time, plus their share of the time for replies that have no
        text yet or will arrive within `window` seconds.
        """
        others = self.coming + (ARRIVALS + self._recent(now) / MEMORY) * window
        return self._remaining(now) + others * TYPICAL / max(1, self.growing)

    def _remaining(self, now: float) -> float:
        if not self.growing:
            return TYPICAL
        age = max(0.0, now - self._began / self.growing)
        return max(TYPICAL - age, BEYOND * age)

    def _recent(self, now: float) -> float:
        return self._ended * math.exp((self._faded_at - now) / MEMORY)
