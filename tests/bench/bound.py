"""The bound: no schedule, even one that knows every token beforehand, shows replies fresher.

Invariant: every figure is a lower bound of the mean age that the rules allow, because each step
below either is exact or only adds schedules (by relaxing a rule). The rules are those of the
simulators:

- A request sent at `s` shows, half a round trip later, what was written by `s`. A reply's requests
  go from page to page: each page is completed before the next one is posted, so every schedule
  stops at every page border. A reply has no more messages than pages.
- A window of `count` requests in `seconds` begins with its first request. In a scope that was not
  used before, request number k (from 0) lies in a window that begins at least `seconds * (k //
  count)` after the first token; that moment is its release. Exact within these releases: sending as
  soon as the text is there and the request is released is never worse than waiting, so a request is
  identified by its number and by how much it shows (`least_ages`).
- A budget that replies share is relaxed to a count: before a moment `until` there are no more
  requests than in as many full windows as fit; requests after it are free. The least sum of ages
  under a count is bounded from below by Lagrange's dual: for any price of a request, each reply
  takes its best schedule, and the sum, less the price of the whole budget, is below every
  schedule's age.
- Left out, which only lowers the bound: thread creation, typing and status (there is time for them
  before the first token), Slack's limits on posts per channel (three together, then one a second)
  and per workspace, and the fact that an edit needs the response to its post.

Where the age of one reply ends with its last request, delaying that request can lower the time-mean
(little text is unseen while time passes); the bound takes the best such delay.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

INF = float("inf")

# The limits of `tests/sims`: requests in seconds.
DISCORD_CHANNEL = (5, 5.0)
DISCORD_GLOBAL = (50, 1.0)
SLACK_UPDATES = 50
SLACK_STREAMS, SLACK_APPENDS = 20, 100
SLACK_SECONDS = 60.0

# The steps in seconds in which the time of a first request is tried, and their number.
FIRST_STEP, FIRST_STEPS = 0.1, 21

# The steps in which the end of a global window that began before the first token is tried.
GLOBAL_STEPS = 4

# The tables of a shared budget end at this many times a reply's share, and at least at this number
# of requests; beyond that, a reply counts as if it had no age.
SHARES, LEAST_TABLE = 3, 100


@dataclass(frozen=True, slots=True)
class Reply:
    """When each chunk was written, in seconds; inner page borders as numbers of chunks.

    The times are those at which the bot could know the text.
    """

    written: tuple[float, ...]
    borders: tuple[int, ...] = ()


# ── one reply ─────────────────────────────────────────────────────────────────────────────────
def least_ages(
    reply: Reply,
    most: int,
    *,
    half_trip: float = 0.0,
    release: Callable[[int], float] = lambda _: -INF,
    first_by: float = INF,
    free_before: float = -INF,
    free_from: float = INF,
) -> list[float]:
    """The least time-mean age with 0, 1, … `most` requests; infinite if the text stays incomplete.

    `release(k)` is the earliest time for request number k (from 0); it never falls with k. The
    first of several requests is sent before `first_by` seconds after the first chunk. Requests
    before `free_before` and after `free_from` are not counted; `free_from` is not before the last
    chunk. Times are in seconds.
    """
    path = _Path(reply, half_trip)
    path.begin_before(free_before)
    best = [INF] * (most + 1)
    free = free_from - path.origin + half_trip
    for used in range(most + 1):
        if free < INF:
            best[used] = min(best[used], path.ending(free, everywhere=True))
        if used < most:
            at = release(used) - path.origin
            best[used + 1] = path.ending(max(at, path.last) + half_trip, everywhere=False)
            path.advance(at, first_by=first_by if used == 0 else INF)
    return _falling(best)


def _falling(values: list[float]) -> list[float]:
    """Makes the ages fall with the number of requests, since a budget need not be used up."""
    least = INF
    return [least := min(least, value) for value in values]


class _Path:
    """The least integral of the age up to each state after a number of requests.

    State i: the first i chunks are on the screen. `base[i]` is that integral minus the part of the
    ramp that chunk i had already climbed, so that reaching time x costs base[i] + (x - w[i])²/2.
    Times count from the first chunk.
    """

    def __init__(self, reply: Reply, half_trip: float) -> None:
        self.origin = reply.written[0]
        self.written = [at - self.origin for at in reply.written]
        self.last = self.written[-1]
        self.half = half_trip
        count = len(self.written)
        borders = [0, *reply.borders, count]
        self.pages = list(pairwise(borders))
        self.base = [0.0] + [INF] * (count - 1)

    def begin_before(self, moment: float) -> None:
        """Text written before `moment` may be on the screen without having aged."""
        there = bisect_left(self.written, moment - self.origin)
        self.base[1 : there + 1] = [0.0] * len(self.base[1 : there + 1])

    def advance(self, release: float, *, first_by: float = INF) -> None:
        """One more request, sent at `release` or later, and before `first_by`."""
        fresh = [INF] * len(self.base)
        for begin, end in self.pages:
            self._page(begin, end, release, fresh)
        late = bisect_left(self.written, first_by) + 1
        self.base = fresh[:late] + [INF] * (len(fresh) - late)

    def _page(self, begin: int, end: int, release: float, fresh: list[float]) -> None:
        """Lower envelope of the lines -w[i]·x + base[i] + w[i]²/2: slopes fall, queries rise."""
        written, base = self.written, self.base
        lines: deque[tuple[float, float]] = deque()
        for shown in range(begin + 1, min(end, len(base) - 1) + 1):
            old = shown - 1
            if base[old] < INF:
                _add(lines, -written[old], base[old] + written[old] ** 2 / 2)
            if not lines:
                continue
            at = max(written[old], release) + self.half
            while len(lines) > 1 and _value(lines[1], at) <= _value(lines[0], at):
                lines.popleft()
            total = at * at / 2 + _value(lines[0], at)
            climbed = max(0.0, at - written[shown])
            fresh[shown] = total - climbed * climbed / 2

    def ending(self, earliest: float, *, everywhere: bool) -> float:
        """The least mean age when one request at `earliest` or later shows the rest.

        With `everywhere`, from any page, as if posting the others cost nothing.
        """
        best = INF
        begin = 0 if everywhere else self.pages[-1][0]
        for state in range(begin, len(self.base)):
            if self.base[state] < INF:
                best = min(best, self._ended(state, earliest))
        return best

    def _ended(self, state: int, earliest: float) -> float:
        since, base = self.written[state], self.base[state]
        # (base + (F - since)²/2) / F is least where its derivative is zero.
        end = max(earliest, math.sqrt(max(0.0, since * since + 2 * base)))
        return (base + (end - since) ** 2 / 2) / end if end > 0 else 0.0


def _value(line: tuple[float, float], at: float) -> float:
    return line[0] * at + line[1]


def _add(lines: deque[tuple[float, float]], slope: float, offset: float) -> None:
    while lines and lines[-1][0] == slope:
        if lines[-1][1] <= offset:
            return
        lines.pop()
    while len(lines) > 1:
        (m1, c1), (m2, c2) = lines[-2], lines[-1]
        if (c2 - c1) * (m1 - slope) < (offset - c1) * (m1 - m2):
            break
        lines.pop()
    lines.append((slope, offset))


def windows(count: int, seconds: float, since: float) -> Callable[[int], float]:
    """Releases in windows that each begin with a request, the first one at `since` or later."""
    return lambda number: since + seconds * (number // count)


# ── budgets that replies share ────────────────────────────────────────────────────────────────
def shared(ages: Sequence[Sequence[float]], budget: int) -> float:
    """A lower bound of the mean over replies of ages[i][k_i] with k_0 + k_1 + … ≤ `budget`."""

    def dual(price: float) -> float:
        taken = sum(min(age + price * k for k, age in enumerate(table)) for table in ages)
        return taken - price * budget

    return highest(dual, _top(ages)) / len(ages)


def _top(ages: Sequence[Sequence[float]]) -> float:
    """A price at which no reply takes more requests than it needs."""
    finite = [age for table in ages for age in table if age < INF]
    return max(finite, default=1.0)


def highest(function: Callable[[float], float], top: float, steps: int = 60) -> float:
    """The greatest value of a concave function that a search over [0, top] finds.

    The value at any argument is a bound, so an imprecise search costs only tightness.
    """
    low, high, best = 0.0, top, function(0.0)
    ratio = (math.sqrt(5) - 1) / 2
    one, two = high - ratio * (high - low), low + ratio * (high - low)
    at_one, at_two = function(one), function(two)
    for _ in range(steps):
        best = max(best, at_one, at_two)
        if at_one < at_two:
            low, one, at_one = one, two, at_two
            two = low + ratio * (high - low)
            at_two = function(two)
        else:
            high, two, at_two = two, one, at_one
            one = high - ratio * (high - low)
            at_one = function(one)
    return max(best, at_one, at_two)


# ── the platforms ─────────────────────────────────────────────────────────────────────────────
def discord(replies: Sequence[Reply], *, rtt: float = 0.0) -> float:
    """The bound for replies that each have a thread: the channels' windows, and the global one.

    A global window may have begun before the first token. Its end is tried in steps: requests sent
    before the end of a step are not counted and cost no age; from the beginning of the step on,
    windows follow each other.
    """
    if not share_globally(replies):
        return sum(_alone(reply, rtt) for reply in replies) / len(replies)
    ends = [(step + 1) / GLOBAL_STEPS * DISCORD_GLOBAL[1] for step in range(GLOBAL_STEPS)]
    return min(
        max(_together(replies, rtt, begin, end, more) for more in (0, 1))
        for begin, end in pairwise([0.0, *ends])
    )


def share_globally(replies: Sequence[Reply]) -> bool:
    """Whether Discord's global window can bind when all replies use their channels' bursts
    together."""
    return len(replies) * DISCORD_CHANNEL[0] > 2 * DISCORD_GLOBAL[0]


def _together(replies: Sequence[Reply], rtt: float, begin: float, end: float, more: int) -> float:
    """Counts the windows until the last chunk, and `more`; any number of windows gives a bound."""
    count, seconds = DISCORD_GLOBAL
    first = min(reply.written[0] for reply in replies)
    last = max(reply.written[-1] for reply in replies)
    whole = math.ceil((last - first - begin) / seconds) + more
    until = first + begin + whole * seconds
    tables = [
        _in_channel(reply, rtt, free_from=until, free_before=first + end) for reply in replies
    ]
    return shared(tables, count * whole)


def _alone(reply: Reply, rtt: float) -> float:
    """One reply's bound from its channel's windows, which begin with its first request.

    The time of that request is tried in steps: within a step, the windows count from its beginning.
    """
    steps = [step * FIRST_STEP for step in range(FIRST_STEPS)]
    return min(
        _in_channel(reply, rtt, first=begin, first_by=end)[-1]
        for begin, end in pairwise([*steps, INF])
    )


def _in_channel(
    reply: Reply,
    rtt: float,
    *,
    first: float = 0.0,
    first_by: float = INF,
    free_before: float = -INF,
    free_from: float = INF,
) -> list[float]:
    count, seconds = DISCORD_CHANNEL
    spans = (reply.written[-1] - reply.written[0]) / seconds
    release = windows(count, seconds, reply.written[0] + first)
    return least_ages(
        reply,
        count * (math.floor(spans) + 2),
        half_trip=rtt / 2,
        release=release,
        first_by=first_by,
        free_before=free_before,
        free_from=free_from,
    )


def slack(replies: Sequence[Reply], *, rtt: float = 0.0, native: bool = True) -> float:
    """The bound for replies in one workspace: each is a post and edits, or one of `native` streams.

    A native stream is a start and a stop that both carry text, appends between them, and edits
    afterwards. No method was used before the first token, so each has one window a minute from then
    on; requests after the last window are not counted.
    """
    first = min(reply.written[0] for reply in replies)
    last = max(reply.written[-1] for reply in replies)
    minutes = max(1, math.ceil((last - first) / SLACK_SECONDS))
    until = first + minutes * SLACK_SECONDS
    most = max(LEAST_TABLE, SHARES * minutes * (SLACK_UPDATES + SLACK_APPENDS) // len(replies))
    tables = [least_ages(reply, most, half_trip=rtt / 2, free_from=until) for reply in replies]
    # Beyond the table: no age at all. The post uses no budget, so it is not counted.
    edits = [[*table[1:], 0.0] for table in tables]
    by_edits = shared(edits, minutes * SLACK_UPDATES)
    if not native:
        return by_edits
    streams = [[*table[2:], 0.0] for table in tables]
    return min(by_edits, _streamed(edits, streams, minutes) / len(replies))


def _streamed(
    edits: Sequence[Sequence[float]], streams: Sequence[Sequence[float]], minutes: int
) -> float:
    """The sum's bound when each reply takes the cheaper of edits and a native stream.

    The dual has three prices: a stream (its start and its stop), an append, and an edit. It is
    jointly concave in them, so nested searches find its top.
    """
    top = _top(edits)
    by_edits = [_Envelope(table) for table in edits]
    by_streams = [_Envelope(table) for table in streams]

    def dual(stream: float, append: float, edit: float) -> float:
        cheaper = min(append, edit)
        taken = sum(
            min(one.least(edit), other.least(cheaper) + stream)
            for one, other in zip(by_edits, by_streams, strict=True)
        )
        budget = stream * SLACK_STREAMS + append * SLACK_APPENDS + edit * SLACK_UPDATES
        return taken - minutes * budget

    def over_appends(edit: float) -> float:
        return highest(lambda append: over_streams(edit, append), top, 20)

    def over_streams(edit: float, append: float) -> float:
        return highest(lambda stream: dual(stream, append, edit), top, 20)

    return highest(over_appends, top, 20)


class _Envelope:
    """min over k of table[k] + price·k, for many prices: only the table's convex hull counts."""

    def __init__(self, table: Sequence[float]) -> None:
        hull: list[tuple[int, float]] = []
        for point in ((k, age) for k, age in enumerate(table) if age < INF):
            while len(hull) > 1 and _below(hull[-2], hull[-1], point):
                hull.pop()
            hull.append(point)
        self._hull = hull

    def least(self, price: float) -> float:
        low, high = 0, len(self._hull) - 1
        while low < high:
            middle = (low + high) // 2
            (k1, a1), (k2, a2) = self._hull[middle], self._hull[middle + 1]
            if a2 + price * k2 < a1 + price * k1:
                low = middle + 1
            else:
                high = middle
        k, age = self._hull[low]
        return age + price * k


def _below(one: tuple[int, float], middle: tuple[int, float], other: tuple[int, float]) -> bool:
    """Whether the line from `one` to `other` passes at or below `middle`."""
    run, rise = other[0] - one[0], other[1] - one[1]
    return one[1] + rise * (middle[0] - one[0]) / run <= middle[1]
