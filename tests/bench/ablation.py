"""What each mechanism of the rate limiter is worth: replays without it, compared with the whole
limiter.

Invariant: each variant differs from the product in exactly one mechanism, by overriding one method
or changing the limits. A figure above 1 means that the mechanism earns its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from bot.domain.replies import Limit, Pace, Request
from bot.ports.clock import Clock
from bot.replies.ratelimit.forecast import Forecast
from bot.replies.ratelimit.limiter import AccountRateLimiter
from bot.replies.ratelimit.policy import AdmissionPolicy
from bot.replies.ratelimit.queue import Waiter
from tests.bench.replay import MakeLimiter, discord, replay, slack, together
from tests.bench.table import show
from tests.bench.traces import TRACES, age_over_time

MARGIN = 1.05  # a mechanism stays if the mean age without it is at least this much higher

SIMULTANEOUS = (
    (discord(), 10),
    (discord(), 100),
    (slack(10), 1),
    (slack(10), 10),
    (slack(10), 100),
    (slack(10, streams=False), 10),
)


class NoArrivals(Forecast):
    """Reserves no budget for replies that have yet to arrive."""

    def horizon(self, now: float, window: float) -> float:
        return self._remaining(now)


class NoMemory(Forecast):
    """Forgets the recent rate of arrivals."""

    def _recent(self, now: float) -> float:
        return 0.0


class NoReservations(AdmissionPolicy):
    """Gives final requests no reservation: they compete by priority alone."""

    def _spare(self, scope: str, request: Request, waiter: Waiter) -> int:
        return -1  # always leaves one request to reserve


class NoPoolChoice(AdmissionPolicy):
    """Lets a reply stream whenever a stream is left."""

    def _share(self, scope: str | None, now: float) -> float:
        return 0.0


class NoDelay(AdmissionPolicy):
    """Lets a reply begin with its first text, whatever budget is left."""

    def _delay(self, scope: str, keeps: tuple[str, ...], now: float) -> float:
        return 0.0


class NoExtra(AdmissionPolicy):
    """Ignores, when pacing a scope, the scope in which replies continue."""

    def _extra(self, scope: str, now: float) -> float:
        return 0.0


class NoPatience(AdmissionPolicy):
    """Lets a reply take its alternative as soon as its first choice has to wait."""

    def _used_up(self, request: Request, waiter: Waiter, now: float) -> bool:
        return True


class NoAlternative(AdmissionPolicy):
    """Makes a reply wait for its first choice, however long that takes."""

    def _used_up(self, request: Request, waiter: Waiter, now: float) -> bool:
        return False


def with_limits(change: Callable[[Limit], Limit]) -> MakeLimiter:
    """The limiter with other limits."""

    def make(limits: Callable[[str], Limit | None], clock: Clock) -> AccountRateLimiter:
        def changed(scope: str) -> Limit | None:
            limit = limits(scope)
            return None if limit is None else change(limit)

        return AccountRateLimiter(changed, clock)

    return make


def with_forecast(forecast: type[Forecast]) -> MakeLimiter:
    """The limiter with another forecast."""
    return lambda limits, clock: AccountRateLimiter(limits, clock, forecast=forecast())


def with_policy(policy: type[AdmissionPolicy]) -> MakeLimiter:
    """The limiter with another policy."""
    return lambda limits, clock: AccountRateLimiter(limits, clock, policy=policy)


VARIANTS: dict[str, MakeLimiter] = {
    "the whole limiter": AccountRateLimiter,
    "no pace at all": with_limits(lambda limit: replace(limit, pace=Pace.NONE)),
    "an even pace instead of the forecast": with_limits(
        lambda limit: replace(limit, pace=min(limit.pace, Pace.EVEN, key=_plainness))
    ),
    "nothing left for arrivals": with_forecast(NoArrivals),
    "arrivals are not counted": with_forecast(NoMemory),
    "no reservations": with_policy(NoReservations),
    "streams while any is left": with_policy(NoPoolChoice),
    "no delayed beginnings": with_policy(NoDelay),
    "a pace by one scope alone": with_policy(NoExtra),
    "alternatives without patience": with_policy(NoPatience),
    "no alternatives": with_policy(NoAlternative),
}


def _plainness(pace: Pace) -> int:
    return (Pace.NONE, Pace.EVEN, Pace.FORECAST).index(pace)


async def run() -> None:
    """Run all variants, which takes some minutes."""
    results = {name: await _measure(make) for name, make in VARIANTS.items()}
    whole = results["the whole limiter"]
    columns = [f"{platform.name} {count}" for platform, count in SIMULTANEOUS]
    show(
        "Mean age without a mechanism, divided by the mean age with all of them",
        ("", "traces: discord", "slack", *columns, "slowest end", "429s", "incomplete"),
        [
            [name, *(one / of for one, of in zip(ages, whole[0], strict=True)), *rest]
            for name, (ages, *rest) in results.items()
        ],
        f"A mechanism stays if one column says {MARGIN} or more, or if endings depend on it.",
        "traces: geometric mean; slowest end: last token to complete text, of all replies.",
    )


async def _measure(make: MakeLimiter) -> tuple[list[float], float, int, int]:
    logs: dict[bool, list[float]] = {True: [], False: []}
    ages, lasts, refused, incomplete = [], [0.0], 0, 0
    for trace in TRACES:
        outcome = await replay(trace.platform, trace.replies(), make_limiter=make)
        logs[trace.platform.name == "discord"].append(math.log(age_over_time(outcome)))
        lasts += [reply.last for reply in outcome.replies if reply.last is not None]
        refused += outcome.refused
        incomplete += sum(reply.last is None for reply in outcome.replies)
    ages += [math.exp(sum(some) / len(some)) for some in (logs[True], logs[False])]
    for platform, count in SIMULTANEOUS:
        outcome = await replay(platform, together(count), make_limiter=make)
        ages.append(outcome.mean)
        lasts += [reply.last for reply in outcome.replies if reply.last is not None]
        refused += outcome.refused
        incomplete += sum(reply.last is None for reply in outcome.replies)
    return ages, max(lasts), refused, incomplete
