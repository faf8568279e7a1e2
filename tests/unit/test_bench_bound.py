"""The bound compared with brute force: no schedule in small worlds beats it, and the best come
close."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence

import pytest

from tests.bench import bound, reachable, trace_bound
from tests.bench.age import Sight, aged
from tests.bench.bound import INF, Reply

STEP = 0.125
SLOTS = 16  # moments at which a request can be sent, one step apart


def fits(sent: Iterable[float], count: int, seconds: float) -> bool:
    """Whether a window that begins with its first request allows all of these."""
    begun, used = -INF, 0
    for at in sent:
        if at >= begun + seconds:
            begun, used = at, 0
        used += 1
        if used > count:
            return False
    return True


def schedules(
    reply: Reply, most: int, *, half_trip: float = 0.0
) -> Iterator[tuple[tuple[float, ...], float]]:
    """Every schedule of up to `most` requests that ends with the whole text, and its mean age."""
    moments = [reply.written[0] + STEP * n for n in range(SLOTS)]
    for size in range(1, most + 1):
        for sent in itertools.combinations_with_replacement(moments, size):
            seen = list(shown(reply, sent, half_trip))
            if seen[-1].shown == len(reply.written):
                yield sent, aged(reply.written, seen, INF).mean


def shown(reply: Reply, sent: Sequence[float], half_trip: float) -> Iterator[Sight]:
    """How much each request shows: all that was written, as far as its page goes."""
    borders = [*reply.borders, len(reply.written)]
    page, there = 0, 0
    for at in sent:
        known = sum(written <= at for written in reply.written)
        there = max(there, min(known, borders[page]))
        if there == borders[page] and page < len(borders) - 1:
            page += 1
        yield Sight(at + half_trip, there)


def written(seed: int, count: int = 12, gap: float = STEP) -> tuple[float, ...]:
    """Chunks on the grid, so that brute force can send a request at the moment of each."""
    dice = random.Random(seed)
    times = itertools.accumulate(gap * dice.choice((0, 1, 1, 2)) for _ in range(count - 1))
    return (0.0, *(min(at, STEP * (SLOTS - 4)) for at in times))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("half_trip", [0.0, 0.06])
@pytest.mark.parametrize("borders", [(), (5,)])
def test_without_windows_the_least_age_is_exact(
    seed: int, half_trip: float, borders: tuple[int, ...]
) -> None:
    """When the last request is sent immediately, the bound for every count equals brute force's
    best."""
    reply = Reply(written(seed), borders)
    found = bound.least_ages(reply, 3, half_trip=half_trip)
    best = [INF] * 4
    for sent, mean in schedules(reply, 3, half_trip=half_trip):
        best[len(sent)] = min(best[len(sent)], mean)
    for used in range(1 + len(borders), 4):
        assert found[used] <= min(best[: used + 1]) + 1e-9
        assert found[used] >= 0.97 * min(best[: used + 1])
    assert found[len(borders)] == INF


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count,seconds", [(1, 0.5), (2, 1.0), (2, 0.5)])
def test_no_schedule_in_a_channels_windows_beats_the_bound(
    seed: int, count: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brute force over all schedules that the window allows comes near the bound, but never below
    it."""
    monkeypatch.setattr(bound, "DISCORD_CHANNEL", (count, seconds))
    monkeypatch.setattr(bound, "FIRST_STEP", STEP)
    reply = Reply(written(seed))
    found = bound.discord([reply])
    most = 4
    passing = [mean for sent, mean in schedules(reply, most) if fits(sent, count, seconds)]
    assert found <= min(passing) + 1e-9
    if (reply.written[-1] // seconds + 1) * count <= most:
        assert found >= 0.85 * min(passing)


@pytest.mark.parametrize("seed", range(4))
def test_no_schedules_of_two_replies_beat_the_bound_of_their_shared_budget(seed: int) -> None:
    """Brute force over pairs of schedules; the dual is close to it."""
    one, other = Reply(written(seed)), Reply(written(seed + 100))
    budget = 4
    tables = [bound.least_ages(reply, 4) for reply in (one, other)]
    found = bound.shared(tables, budget)
    best = [_best_by_count(reply) for reply in (one, other)]
    pairs = itertools.product(enumerate(best[0]), enumerate(best[1]))
    least = min((a + b) / 2 for (i, a), (j, b) in pairs if i + j <= budget)
    assert 0.9 * least <= found <= least + 1e-9


def _best_by_count(reply: Reply) -> list[float]:
    best = [INF] * 4
    for sent, mean in schedules(reply, 3):
        best[len(sent)] = min(best[len(sent)], mean)
    return best


def test_the_global_windows_bound_holds_for_pairs_of_schedules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two replies, with two requests per half second in total: brute force with the real window."""
    monkeypatch.setattr(bound, "DISCORD_CHANNEL", (2, 0.5))
    monkeypatch.setattr(bound, "DISCORD_GLOBAL", (1, 0.5))
    replies = [Reply(written(seed, count=8)) for seed in (1, 2)]
    found = bound.discord(replies)
    least = INF
    for (sent, a), (also, b) in itertools.product(*(list(schedules(r, 3)) for r in replies)):
        if (a + b) / 2 < least and fits(sorted((*sent, *also)), 1, 0.5):
            least = (a + b) / 2
    assert 0 < found <= least + 1e-9


def test_a_schedule_of_bursts_keeps_the_global_window_and_is_near_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """21 replies of 20 s at ten requests a second: the truth lies between the two figures."""
    monkeypatch.setattr(bound, "DISCORD_GLOBAL", (10, 1.0))
    monkeypatch.setattr(reachable, "DISCORD_GLOBAL", (10, 1.0))
    replies = [Reply(tuple(n / 10 + shift / 100 for n in range(200))) for shift in range(21)]
    sent = [sight.at for shown in reachable.schedule(replies, 0.0) for sight in shown]
    assert fits(sorted(sent), 10, 1.0)
    found = bound.discord(replies)
    assert found <= reachable.reachable(replies) <= 1.25 * found


def test_a_slack_workspaces_edits_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three edits for two replies: brute force over their counts, plus one post each."""
    monkeypatch.setattr(bound, "SLACK_UPDATES", 3)
    replies = [Reply(written(seed)) for seed in (3, 4)]
    found = bound.slack(replies, native=False)
    best = [_best_by_count(reply) for reply in replies]
    pairs = itertools.product(enumerate(best[0]), enumerate(best[1]))
    least = min((a + b) / 2 for (i, a), (j, b) in pairs if i + j <= 3 + 2)
    assert 0.9 * least <= found <= least + 1e-9


def test_native_streams_lower_the_bound_by_what_they_add(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one stream of one append, one reply shows as much as if it had two more requests."""
    monkeypatch.setattr(bound, "SLACK_UPDATES", 1)
    monkeypatch.setattr(bound, "SLACK_STREAMS", 1)
    monkeypatch.setattr(bound, "SLACK_APPENDS", 1)
    reply = Reply(tuple(n / 40 for n in range(800)))
    ages = bound.least_ages(reply, 5)
    by_edits, by_stream = bound.slack([reply], native=False), bound.slack([reply])
    assert by_edits == pytest.approx(ages[2], rel=0.01)  # the post and one edit
    assert by_stream == pytest.approx(ages[4], rel=0.01)  # start, append, stop and one edit


def test_an_even_pace_is_near_the_bound() -> None:
    """800 chunks at 40/s in a channel of 5 per 5 s: pacing evenly costs 1.05 times the bound."""
    reply = Reply(tuple(n / 40 for n in range(800)))
    paced = [Sight(float(n), min(800, 40 * n + 1)) for n in range(21)]
    even = aged(reply.written, paced, INF).mean
    assert bound.discord([reply]) <= even <= 1.08 * bound.discord([reply])


@pytest.mark.parametrize("seed", range(4))
def test_no_schedule_beats_the_bound_for_traces(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A post and one edit a minute: brute force comes near the bound, but never below it."""
    monkeypatch.setattr(trace_bound, "COUNTS", {"edit": 1})
    reply = Reply(written(seed))
    found = trace_bound.slack([reply], native=False) * reply.written[-1]
    least = INF
    for sent, _ in schedules(reply, 2):
        seen = list(shown(reply, sent, 0.0))
        one = aged(reply.written, seen, INF)
        least = min(least, one.mean * one.lasted)
    assert 0.8 * least <= found <= least + 1e-9


def test_native_streams_lower_the_bound_for_traces() -> None:
    """Ten replies share a hundred appends in addition to fifty edits."""
    replies = [Reply(tuple(n / 10 for n in range(100)))] * 10
    assert trace_bound.slack(replies) < 0.7 * trace_bound.slack(replies, native=False)
