"""Traces: replies of many lengths that arrive in bursts, replayed through the real publisher and
limiter.

Invariant: a trace depends only on its seed, and the simulated clock makes every figure exact.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bot.replies.ratelimit.forecast import Forecast
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.bench import trace_bound
from tests.bench.replay import Outcome, Platform, discord, replay, slack
from tests.bench.table import show
from tests.bench.trace_bound import over_time

SECONDS = 180.0  # seconds in which new replies arrive
RATE, JITTER = 20.0, 0.5  # tokens per second, and the unevenness of the gaps between them
SPREAD = 0.8  # standard deviation of the logarithm of a reply's length
SHORTEST, LONGEST = 2.0, 60.0  # seconds
BURST_SHARE, BURST_SECONDS = 0.1, 2.0  # share that bring others, and how soon


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
        """When each reply's tokens are written, in seconds from the beginning of the trace."""
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


SHAPES = (
    (discord(), 10, 12, 1),
    (discord(), 60, 12, 30),
    (slack(4), 3, 12, 1),
    (slack(4), 10, 6, 1),
    (slack(10), 20, 12, 5),
    (slack(10), 40, 12, 20),
    (slack(4, streams=False), 10, 12, 3),
)
SEEDS = (1, 2)
TRACES = tuple(Trace(*shape, seed=seed) for shape in SHAPES for seed in SEEDS)


class Clairvoyant(Forecast):
    """Knows when every reply of a trace begins and ends; the rest of the limiter is unchanged."""

    def __init__(self, replies: Sequence[tuple[float, ...]], start: float) -> None:
        super().__init__()
        self._times = [(start + written[0], start + written[-1]) for written in replies]

    def horizon(self, now: float, window: float) -> float:
        growing = sum(begin <= now <= end for begin, end in self._times)
        spans = (min(end, now + window) - max(begin, now) for begin, end in self._times)
        return max(0.3, sum(max(0.0, span) for span in spans) / max(1, growing))


def age_over_time(outcome: Outcome) -> float:
    """The mean age of all replies together, over the time in which text is written."""
    return over_time(outcome.traces, [reply.mean * reply.lasted for reply in outcome.replies])


def least(trace: Trace, outcome: Outcome) -> float:
    """The bound for a trace."""
    if trace.platform.name == "discord":
        return trace_bound.discord(outcome.traces)
    return trace_bound.slack(outcome.traces, native=bool(trace.platform.streams))


async def run() -> None:
    """Replay all traces; takes about two minutes, mostly for the bounds."""
    await report(TRACES)


async def quick() -> None:
    """Replay one trace of each shape with few replies."""
    await report([trace for trace in TRACES if trace.seed == 1 and trace.per_minute <= 10])


async def report(traces: Sequence[Trace]) -> None:
    """Print a row for each trace."""
    rows = [await _row(trace) for trace in traces]
    show(
        f"Traces of {SECONDS:.0f} s on a simulated clock (seconds)",
        (
            *("", "replies", "age", "bound", "ratio", "clairvoyant"),
            *("first p50", "p95", "end p50", "p95", "429s", "incomplete"),
        ),
        rows,
        "age: over the time in which text is written; clairvoyant: the age when the same limiter",
        "knows when every reply begins and ends; first: first token to first text; end: last token",
        "to complete text.",
    )


async def _row(trace: Trace) -> list[object]:
    replies = trace.replies()
    outcome = await replay(trace.platform, replies)
    clairvoyant = await replay(
        trace.platform,
        replies,
        make_limiter=lambda limits, clock: AccountRateLimiter(
            limits, clock, forecast=Clairvoyant(replies, clock.monotonic())
        ),
    )
    age, bound = age_over_time(outcome), least(trace, outcome)
    lasts = [reply.last for reply in outcome.replies if reply.last is not None]
    return [
        f"{trace.name} #{trace.seed}",
        len(replies),
        *(age, bound, age / bound, age_over_time(clairvoyant)),
        *quantiles(reply.first for reply in outcome.replies if reply.first is not None),
        *quantiles(lasts),
        outcome.refused,
        len(replies) - len(lasts),
    ]


def quantiles(values: Iterable[float]) -> tuple[float, float]:
    """The median and the 95th percentile."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(0.95 * (len(ordered) - 1))]
