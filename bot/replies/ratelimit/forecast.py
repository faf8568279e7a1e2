"""How long replies are still going to grow, so that a budget is spent over that time.

Invariant: nothing here decides whether a request is sent, only how soon; a forecast that is wrong
costs liveness and never an ending.
"""

from __future__ import annotations

import math

from bot.domain.replies import Stake

TYPICAL = 20.0
"""Seconds that a reply grows, until replies have shown otherwise: about 500 words."""

LEARNING = 0.1
"""How much one reply changes what is typical: ten replies of another length are the new rule."""

BEYOND = 1 / 6
"""A reply that has gone on for longer than is typical is expected to take this part of that again:
lengths have a long tail."""

MEMORY = 120.0
"""Seconds after which a finished reply counts a third towards how many there are."""

NEXT = 0.15 / 60
"""Replies a second that are expected where nothing is known: somebody may ask again."""


class Forecast:
    """Learns from the replies of one account; times in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.typical = TYPICAL
        self.coming = 0  # replies that have no text yet
        self.growing = 0
        self._began = 0.0  # the sum of the times at which those that grow began
        self._finished = 0.0  # how many have, each fading with MEMORY
        self._faded_at = 0.0

    @property
    def replies(self) -> int:
        """How many are not over."""
        return self.coming + self.growing

    def expect(self) -> Stake:
        """There will be a reply."""
        self.coming += 1
        return Stake()

    def begin(self, stake: Stake, now: float) -> None:
        """It has its first text."""
        if stake.began is None and not stake.over:
            stake.began = now
            self.coming -= 1
            self.growing += 1
            self._began += now

    def end(self, stake: Stake, now: float) -> None:
        """Its text is whole: remember how long that took."""
        if stake.over:
            return
        self.forget(stake)
        if stake.began is not None:
            self.typical += LEARNING * (now - stake.began - self.typical)
            self._finished = self._recently(now) + 1
            self._faded_at = now

    def forget(self, stake: Stake) -> None:
        """It grows no more, and its length means nothing."""
        if stake.over:
            return
        stake.over = True
        if stake.began is None:
            self.coming -= 1
        else:
            self.growing -= 1
            self._began -= stake.began

    def remaining(self, now: float) -> float:
        """How much longer the replies of now grow, on average."""
        if not self.growing:
            return self.typical
        age = max(0.0, now - self._began / self.growing)
        return max(self.typical - age, BEYOND * age)

    def horizon(self, now: float, window: float) -> float:
        """The seconds over which the replies of now may spend what a budget has left.

        Longer than they take by what is for those that are coming, and for those who ask within
        the next `window`.
        """
        others = self.coming + (NEXT + self._recently(now) / MEMORY) * window
        return self.remaining(now) + others * self.typical / max(1, self.growing)

    def _recently(self, now: float) -> float:
        return self._finished * math.exp((self._faded_at - now) / MEMORY)
