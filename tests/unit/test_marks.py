"""Watermarks: pass what was decided, and nothing else; a model of single messages is the judge."""

from __future__ import annotations

import random

import pytest

from bot.catchup.watermarks import ChannelRef, WatermarkTracker
from bot.domain.inbox import Watermark

A, B = ChannelRef("w", "a"), ChannelRef("w", "b")
LAG = 10


def whole(floor: int = 0) -> WatermarkTracker:
    marks = WatermarkTracker("sim", lag=LAG)
    marks.begin("w", floor)
    marks.whole("w")
    return marks


def saved(*batches: list[Watermark]) -> dict[str, int]:
    """What a store would have after these; its watermarks never go back."""
    stored: dict[str, int] = {}
    for mark in (mark for batch in batches for mark in batch):
        stored[mark.channel] = max(mark.position, stored.get(mark.channel, 0))
    return stored


def test_a_message_that_is_being_taken_in_holds_the_watermark_before_it() -> None:
    marks = whole()
    marks.seen(A, 5)
    marks.seen(A, 6)
    marks.decided(A, 6)
    assert marks.of(A) == 4
    marks.decided(A, 5)
    assert marks.of(A) == 6


def test_one_that_failed_holds_it_until_the_place_was_read() -> None:
    marks = whole()
    marks.seen(A, 5)
    marks.seen(A, 9)
    marks.decided(A, 9)
    assert marks.of(A) == 4
    marks.read(A, 7)
    assert marks.of(A) == 7
    marks.decided(A, 9)
    assert marks.of(A) == 9


def test_nothing_passes_a_gap_before_it_was_read() -> None:
    marks = whole(3)
    marks.interrupted()
    marks.seen(A, 50)
    marks.decided(A, 50)
    assert marks.of(A) == 3
    marks.read(A, 20)
    assert marks.of(A) == 20
    marks.closed(A)
    assert marks.of(A) == 50


def test_channels_that_were_not_read_go_on_when_the_workspace_is_whole() -> None:
    marks = whole(3)
    marks.interrupted("w")
    marks.decided(B, 50)
    marks.whole("w")
    assert marks.of(B) == 50


def test_a_gap_that_could_not_be_read_holds_its_channel_and_the_floor_alone() -> None:
    marks = whole(3)
    marks.interrupted()
    marks.unread(A)
    marks.whole("w")
    marks.decided(A, 90)
    marks.decided(B, 100)
    assert (marks.of(A), marks.of(B)) == (3, 100)
    assert saved(marks.changes()) == {"": 3, "b": 100}
    marks.read(A, 90)
    assert saved(marks.changes()) == {"": 90}


def test_the_floor_follows_at_a_distance_and_takes_over_what_it_passed() -> None:
    marks = whole()
    marks.decided(A, 5)
    marks.decided(B, 100)
    assert saved(marks.changes()) == {"": 90, "b": 100}
    assert marks.of(A) == 90
    assert not marks.dirty


def test_a_floor_at_the_beginning_of_time_is_stored_too() -> None:
    """An empty guild begins at 0; unless that is stored, the next start is the first again."""
    assert whole().changes() == [Watermark("sim", "w", "", 0)]


def test_what_could_not_be_stored_is_among_the_next_changes() -> None:
    marks = whole()
    marks.decided(A, 100)
    first = marks.changes()
    assert marks.changes() == []
    marks.unsaved(first)
    assert saved(marks.changes()) == saved(first)


def test_what_was_stored_counts_and_nothing_goes_back() -> None:
    marks = WatermarkTracker("sim", lag=LAG)
    assert not marks.known("w")
    marks.load([Watermark("sim", "w", "", 40), Watermark("sim", "w", "a", 70)])
    assert marks.known("w")
    assert (marks.of(A), marks.of(B)) == (70, 40)
    marks.read(A, 60)
    assert marks.of(A) == 70


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_nothing_undecided_is_ever_behind_what_is_stored(seed: int) -> None:
    """Messages arrive, fail, and are missed, in random order; a crash may come at any moment.

    The judge keeps every message with its fate. Order between channels is kept within the lag.
    """
    chance = random.Random(seed)
    marks, stored = whole(), {"": 0}
    open_, missed, position, gap = [], [], 0, False
    for _ in range(300):
        what = chance.choice(["say", "say", "decide", "fail", "miss", "read", "save"])
        spot = chance.choice([A, B])
        if what == "say":
            position += chance.randint(1, 4)
            marks.seen(spot, position)
            open_.append((spot, position))
        elif what == "decide" and open_:
            done = open_.pop(chance.randrange(len(open_)))
            marks.decided(*done)
        elif what == "fail" and open_:
            missed.append(open_.pop(0))
        elif what == "miss":
            marks.interrupted()
            gap, position = True, position + 1
            missed.append((spot, position))
        elif what == "read" and gap:
            for here in (A, B):
                marks.read(here, position)
                marks.closed(here)
            marks.whole("w")
            open_, missed, gap = [], [], False
        elif what == "save":
            for mark in marks.changes():
                stored[mark.channel] = max(mark.position, stored.get(mark.channel, 0))
        for channel, at in ((s.channel, p) for s, p in (*open_, *missed)):
            assert max(stored[""], stored.get(channel, 0)) < at


def test_what_could_not_be_read_holds_the_watermark_until_it_was_found() -> None:
    """Also where the later read finds nothing new."""
    marks = whole(4)
    marks.interrupted()
    marks.unread(A)
    marks.whole("w")
    marks.decided(A, 50)
    assert marks.of(A) == 4
    marks.found(A)
    marks.read(A, 4)
    marks.decided(A, 51)
    assert marks.of(A) == 51
