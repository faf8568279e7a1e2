"""Traces: replies of many lengths that arrive in bursts, through the real publisher and limiter.

Invariant: a trace depends on its seed alone, and the simulated clock makes every figure exact.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench import age
from tests.bench.age import percentile
from tests.bench.replay import Outcome, Platform, discord, least, replay, slack
from tests.bench.table import show

SECONDS = 180.0  # new replies arrive for so long
RATE, JITTER = 10.0, 0.5  # tokens a second, and how unevenly they come, in gaps
SPREAD = 0.8  # standard deviation of the logarithm of a reply's length
SHORTEST, LONGEST = 2.0, 60.0  # seconds
BURST_SHARE, BURST_SECONDS = 0.1, 2.0  # arrivals that bring others with them, and how soon


@dataclass(frozen=True, slots=True)
class Trace:
    """How replies arrive: `per_minute` on average, half of them shorter than `median` seconds."""

    platform: Platform
    per_minute: float
    median: float
    burst: int = 1
    seed: int = 0

    @property
    def name(self) -> str:
        bursts = f", bursts of {self.burst}" if self.burst > 1 else ""
        return f"{self.platform.name} {self.per_minute:g}/min of {self.median:g} s{bursts}"

    def replies(self) -> list[tuple[float, ...]]:
        """When each reply's tokens are written, in seconds from the trace's beginning."""
        dice = random.Random(self.seed)
        starts = sorted(self._starts(dice))
        return [_tokens(start, self._length(dice), dice) for start in starts]

    def _starts(self, dice: random.Random) -> list[float]:
        per_arrival = 1 + BURST_SHARE * (self.burst - 1)
        starts, at = [], 0.0
        while (at := at + dice.expovariate(self.per_minute / per_arrival / 60)) < SECONDS:
            starts.append(at)
            if dice.random() < BURST_SHARE:
                starts += [at + BURST_SECONDS * dice.random() for _ in range(self.burst - 1)]
        return starts

    def _length(self, dice: random.Random) -> float:
        length = self.median * dice.lognormvariate(0.0, SPREAD)
        return min(max(length, SHORTEST), LONGEST)


def _tokens(start: float, length: float, dice: random.Random) -> tuple[float, ...]:
    return tuple(start + (k + JITTER * dice.random()) / RATE for k in range(int(length * RATE)))


TRACES = tuple(
    Trace(platform, per_minute, median, burst, seed)
    for seed, (platform, per_minute, median, burst) in enumerate(
        (
            (discord(), 10, 12, 1),
            (discord(), 60, 12, 30),
            (slack(4), 3, 12, 1),
            (slack(4), 10, 6, 1),
            (slack(10), 20, 12, 5),
            (slack(10), 40, 12, 20),
            (slack(4, streams=False), 10, 12, 3),
        )
    )
)
