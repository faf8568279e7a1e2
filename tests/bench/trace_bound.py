"""The bound for traces: no schedule within the documented limits shows the replies fresher.

Invariant: every figure is a lower bound of the age, averaged over the time in which replies are
written. On Slack, each minute of the trace has a price per request of a method (Lagrange's dual of
"at most `count` in any minute"): for any prices, the sum of the replies' cheapest schedules, less
the price of the whole budget, is below the sum of ages of every schedule that keeps within the
limits.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.bound import (
    DISCORD_CHANNEL,
    INF,
    SLACK_APPENDS,
    SLACK_SECONDS,
    SLACK_STREAMS,
    SLACK_UPDATES,
    Reply,
    _Path,
    windows,
)

COUNTS = {
    "start": SLACK_STREAMS,
    "stop": SLACK_STREAMS,
    "append": SLACK_APPENDS,
    "edit": SLACK_UPDATES,
}
PARTS = 4  # how many overlapping minutes begin within a minute
PART_SECONDS = SLACK_SECONDS / PARTS
STEPS = 30  # steps of the search for the prices that give the highest bound
FIRST_PRICE = 0.1  # square seconds: the price of a request that makes text 0.45 s fresher

Spent = tuple[str, int]  # a method and a part of a minute
Prices = Mapping[Spent, float]


def over_time(replies: Sequence[Reply], totals: Sequence[float]) -> float:
    """The mean age over the time in which text is written."""
    return sum(totals) / sum(reply.written[-1] - reply.written[0] for reply in replies)


def discord(replies: Sequence[Reply]) -> float:
    """Each reply alone in its channel's windows; the account's budget is left out."""
    return over_time(replies, [_in_channel(reply) for reply in replies])


def _in_channel(reply: Reply) -> float:
    count, seconds = DISCORD_CHANNEL
    release = windows(count, seconds, 0.0)
    path, best = _Path(reply, 0.0), INF
    for used in range(count * (math.floor((reply.written[-1] - reply.written[0]) / seconds) + 2)):
        at = max(release(used), path.last)
        states = range(path.pages[-1][0], len(path.base))
        best = min(best, *(path.base[i] + (at - path.written[i]) ** 2 / 2 for i in states))
        path.advance(release(used))
    return best


def slack(replies: Sequence[Reply], *, native: bool = True) -> float:
    """The counts of requests hold for any minute, in steps of a fraction of one."""
    first = min(reply.written[0] for reply in replies)
    last = max(reply.written[-1] for reply in replies)
    parts = range(1 - PARTS, math.ceil((last - first) / PART_SECONDS) + 1)
    methods = COUNTS if native else ("edit",)
    minutes = {(method, part): FIRST_PRICE / PARTS for method in methods for part in parts}
    best = 0.0
    for step in range(STEPS):
        prices = {
            (method, part): sum(minutes.get((method, part - k), 0.0) for k in range(PARTS))
            for method, part in minutes
        }
        spent: Counter[Spent] = Counter()
        totals = [_Schedule(reply, prices, first, native).cheapest(spent) for reply in replies]
        budget = sum(price * COUNTS[method] for (method, _), price in minutes.items())
        best = max(best, sum(totals) - budget)
        eager = 0.8 / (1 + step / 8)
        for (method, part), price in minutes.items():
            share = sum(spent[method, part + k] for k in range(PARTS)) / COUNTS[method]
            minutes[method, part] = price * math.exp(eager * (min(share, 3.0) - 1))
    return over_time(replies, [best])


@dataclass(slots=True)
class _Hull:
    """The lower envelope of the states' costs: (chunks shown, slope, offset), slopes falling."""

    lines: deque[tuple[int, float, float]] = field(default_factory=deque)

    def add(self, state: int, written: float, cost: float) -> None:
        """Add a state that costs `cost` and whose text ages since `written`."""
        if cost == INF:
            return
        lines, slope, offset = self.lines, -written, cost + written * written / 2
        while len(lines) > 1:
            (_, m1, c1), (_, m2, c2) = lines[-2], lines[-1]
            if (c2 - c1) * (m1 - slope) < (offset - c1) * (m1 - m2):
                break
            lines.pop()
        lines.append((state, slope, offset))

    def least(self, at: float) -> tuple[float, int]:
        """The least cost at `at`, and its state; `at` must never fall from call to call."""
        lines = self.lines
        if not lines:
            return INF, 0
        while len(lines) > 1 and lines[1][1] * at + lines[1][2] <= lines[0][1] * at + lines[0][2]:
            lines.popleft()
        state, slope, offset = lines[0]
        return at * at / 2 + slope * at + offset, state


class _Schedule:
    """One reply's cheapest schedule: a post and edits, or a start, appends, a stop and edits.

    A request between two chunks counts as sent at the first of them, at the cheaper price of the
    two parts of a minute that they lie in.
    """

    def __init__(self, reply: Reply, prices: Prices, first: float, native: bool) -> None:
        self._written = [at - first for at in reply.written]
        self._prices, self._native = prices, native
        # Keyed by the number of chunks shown: of an open stream, and of a message that is edited.
        self._came: list[dict[int, tuple[bool, int, Spent | None]]] = [{}, {}]

    def cheapest(self, spent: Counter[Spent]) -> float:
        """Return the lowest sum of age and price, and add the requests that it takes to `spent`."""
        written, hulls = self._written, (_Hull(), _Hull())
        count = len(written)
        for shown in range(1, count):
            at = written[shown - 1]
            parts = {int(at // PART_SECONDS), int(written[shown] // PART_SECONDS)}
            streams, edits = (
                self._step(shown, at, parts, hulls, edited) for edited in (False, True)
            )
            hulls[False].add(shown, written[shown], streams)
            hulls[True].add(shown, written[shown], edits)
        best, how = INF, {}
        part = int(written[-1] // PART_SECONDS)
        for later in (part, part + 1):
            at = max(written[-1], later * PART_SECONDS)
            if (cost := self._step(count, at, {later}, hulls, True)) < best:
                best, how[True] = cost, self._came[True][count]
        self._came[True][count] = how[True]
        self._count(spent, count)
        return best

    def _step(
        self, shown: int, at: float, parts: set[int], hulls: tuple[_Hull, _Hull], edited: bool
    ) -> float:
        """The least cost of showing this many chunks by a stream, or by a message that is
        `edited`."""
        from_nothing = (at - self._written[0]) ** 2 / 2
        streaming = hulls[False].least(at)
        if not edited:
            ways = [
                (*self._with_price(from_nothing, "start", parts), False, 0),
                (*self._with_price(streaming[0], "append", parts), False, streaming[1]),
            ]
        else:
            editing = hulls[True].least(at)
            ways = [
                (from_nothing, None, True, 0),
                (*self._with_price(streaming[0], "stop", parts), False, streaming[1]),
                (*self._with_price(editing[0], "edit", parts), True, editing[1]),
            ]
        cost, key, before, state = min(ways, key=lambda way: way[0])
        self._came[edited][shown] = (before, state, key)
        return cost

    def _with_price(self, cost: float, method: str, parts: set[int]) -> tuple[float, Spent | None]:
        key = min(((method, part) for part in parts), key=self._price)
        return cost + self._price(key), key

    def _price(self, key: Spent) -> float:
        if key[0] == "start" and not self._native:
            return INF
        return self._prices.get(key, 0.0)

    def _count(self, spent: Counter[Spent], shown: int) -> None:
        edited = True
        while shown:
            edited, shown, key = self._came[edited][shown]
            if key is not None:
                spent[key] += 1
