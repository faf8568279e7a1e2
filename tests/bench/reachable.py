"""A good schedule for many replies under Discord's global window, to compare the bound with.

Invariant: the schedule keeps exactly to the simulator's windows, so the least possible age lies
between the bound and this schedule's age.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from tests.bench.age import Sight, aged
from tests.bench.bound import DISCORD_GLOBAL, Reply

PHASES = 20  # starts of the first window to try, within two windows


def reachable(replies: Sequence[Reply], *, rtt: float = 0.0) -> float:
    """The mean age when each window's requests are sent at its beginning, oldest text first."""
    first = min(reply.written[0] for reply in replies)
    step = 2 * DISCORD_GLOBAL[1] / PHASES
    return min(_mean_age(replies, first + phase * step, rtt) for phase in range(PHASES))


def _mean_age(replies: Sequence[Reply], begin: float, rtt: float) -> float:
    seen = [
        [Sight(sight.at + rtt / 2, sight.shown) for sight in shown]
        for shown in schedule(replies, begin)
    ]
    means = [
        aged(reply.written, shown, float("inf")).mean
        for reply, shown in zip(replies, seen, strict=True)
    ]
    return sum(means) / len(means)


def schedule(replies: Sequence[Reply], begin: float) -> list[list[Sight]]:
    """What each reply's requests show, and when they are sent; `begin` is in seconds.

    Requests that complete a text come first, then those with the oldest unseen text; each page is
    completed before the next one begins.
    """
    count, seconds = DISCORD_GLOBAL
    seen: list[list[Sight]] = [[] for _ in replies]
    now = begin
    while any(not _whole(reply, shown) for reply, shown in zip(replies, seen, strict=True)):
        waiting = [
            (known != len(reply.written), reply.written[there], number, known)
            for number, reply in enumerate(replies)
            if (there := _there(seen[number])) < (known := _known(reply, there, now))
        ]
        for _, _, number, known in sorted(waiting)[:count]:
            seen[number].append(Sight(now, known))
        now += seconds
    return seen


def _there(shown: Sequence[Sight]) -> int:
    return shown[-1].shown if shown else 0


def _whole(reply: Reply, shown: Sequence[Sight]) -> bool:
    return _there(shown) == len(reply.written)


def _known(reply: Reply, there: int, now: float) -> int:
    """How much one request can show: at most up to the end of the open page."""
    page_end = next((end for end in reply.borders if end > there), len(reply.written))
    return min(bisect_right(reply.written, now), page_end)
