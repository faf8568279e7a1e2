"""The watermark tracker, also checked against a model that keeps every single message."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from bot.catchup.watermarks import WatermarkTracker
from bot.domain.inbox import Watermark
from bot.ports.history import ChannelRef

A, B = ChannelRef("w", "a"), ChannelRef("w", "b")
LAG = 10


def tracker_at(floor: int = 0) -> WatermarkTracker:
    """The tracker of a workspace that has missed nothing."""
    tracker = WatermarkTracker("sim", lag=LAG)
    tracker.start_at("w", floor)
    close_gap(tracker)
    return tracker


def close_gap(tracker: WatermarkTracker) -> None:
    tracker.close_gap("w", tracker.gap("w"))


def positions(changes: Iterable[Watermark]) -> dict[str, int]:
    return {change.channel: change.position for change in changes}


def test_watermark_stays_before_a_message_that_is_being_accepted() -> None:
    tracker = tracker_at()
    tracker.mark_seen(A, 5)
    tracker.mark_seen(A, 6)
    tracker.mark_decided(A, 6)
    assert tracker.position_of(A) == 4
    tracker.mark_decided(A, 5)
    assert tracker.position_of(A) == 6


def test_watermark_stays_before_a_failed_message_until_its_channel_is_read() -> None:
    tracker = tracker_at()
    tracker.mark_seen(A, 5)
    tracker.mark_seen(A, 9)
    tracker.mark_decided(A, 9)
    assert tracker.position_of(A) == 4
    tracker.advance(A, 7)
    assert tracker.position_of(A) == 7
    tracker.mark_decided(A, 9)
    assert tracker.position_of(A) == 9


def test_the_first_watermark_stays_before_messages_that_have_already_arrived() -> None:
    """Otherwise a message that cannot be accepted during the very first start is never read."""
    tracker = WatermarkTracker("sim", lag=LAG)
    tracker.mark_seen(A, 50)
    tracker.mark_seen(B, 60)
    tracker.mark_decided(B, 60)
    tracker.start_at("w", 200)
    assert tracker.position_of(A) == 49
    close_gap(tracker)
    tracker.advance(A, 200)
    assert tracker.position_of(A) == 200


def test_a_channel_may_be_on_hold_before_the_first_watermark() -> None:
    """It stops the watermarks only until it is read."""
    tracker = WatermarkTracker("sim", lag=LAG)
    tracker.hold(A)
    tracker.start_at("w", 200)
    close_gap(tracker)
    assert tracker.position_of(A) == 200
    tracker.mark_decided(A, 250)
    tracker.mark_decided(B, 300)
    tracker.take_changes()
    assert (tracker.position_of(A), tracker.position_of(B)) == (200, 300)
    tracker.release(A)
    tracker.take_changes()
    assert tracker.position_of(A) == 300 - LAG


def test_watermark_stays_before_a_gap_until_the_channel_is_read() -> None:
    tracker = tracker_at(3)
    tracker.open_gaps()
    tracker.mark_seen(A, 50)
    tracker.mark_decided(A, 50)
    assert tracker.position_of(A) == 3
    tracker.advance(A, 20)
    assert tracker.position_of(A) == 20
    tracker.close_channel(A, tracker.gap("w"))
    assert tracker.position_of(A) == 50


def test_closing_a_gap_moves_the_watermarks_of_unread_channels() -> None:
    tracker = tracker_at(3)
    tracker.open_gap("w")
    tracker.mark_decided(B, 50)
    close_gap(tracker)
    assert tracker.position_of(B) == 50


def test_a_read_that_began_before_the_latest_gap_cannot_close_it() -> None:
    tracker = tracker_at(3)
    tracker.open_gap("w")
    earlier = tracker.gap("w")
    tracker.open_gap("w")
    tracker.mark_decided(A, 50)
    tracker.close_channel(A, earlier)
    tracker.close_gap("w", earlier)
    assert tracker.position_of(A) == 3
    close_gap(tracker)
    assert tracker.position_of(A) == 50


def test_hold_stops_one_channel_and_the_workspace_watermark() -> None:
    tracker = tracker_at(3)
    tracker.open_gaps()
    tracker.hold(A)
    close_gap(tracker)
    tracker.mark_decided(A, 90)
    tracker.mark_decided(B, 100)
    assert (tracker.position_of(A), tracker.position_of(B)) == (3, 100)
    assert positions(tracker.take_changes()) == {"": 3, "b": 100}
    tracker.advance(A, 90)
    assert positions(tracker.take_changes()) == {"": 90}


def test_release_moves_the_watermark_even_if_the_read_found_nothing() -> None:
    tracker = tracker_at(4)
    tracker.open_gaps()
    tracker.hold(A)
    close_gap(tracker)
    tracker.mark_decided(A, 50)
    assert tracker.position_of(A) == 4
    tracker.release(A)
    assert tracker.position_of(A) == 50


def test_workspace_watermark_follows_the_newest_message_at_a_distance() -> None:
    """The watermark also covers the channels that it passes."""
    tracker = tracker_at()
    tracker.mark_decided(A, 5)
    tracker.mark_decided(B, 100)
    assert positions(tracker.take_changes()) == {"": 90, "b": 100}
    assert tracker.position_of(A) == 90
    assert not tracker.dirty


def test_a_first_watermark_of_zero_is_stored() -> None:
    """An empty guild starts at 0. Without a stored watermark, every start would be its first."""
    assert tracker_at().take_changes() == [Watermark("sim", "w", "", 0)]


def test_changes_that_could_not_be_stored_are_returned_again() -> None:
    tracker = tracker_at()
    tracker.mark_decided(A, 100)
    changes = tracker.take_changes()
    assert tracker.take_changes() == []
    tracker.restore_changes(changes)
    assert positions(tracker.take_changes()) == positions(changes)


def test_loaded_watermarks_apply_and_never_move_back() -> None:
    tracker = WatermarkTracker("sim", lag=LAG)
    assert not tracker.knows("w")
    tracker.load([Watermark("sim", "w", "", 40), Watermark("sim", "w", "a", 70)])
    assert tracker.knows("w")
    assert (tracker.position_of(A), tracker.position_of(B)) == (70, 40)
    tracker.advance(A, 60)
    assert tracker.position_of(A) == 70


@pytest.mark.parametrize("seed", range(30))
def test_no_stored_watermark_ever_passes_an_undecided_message(seed: int) -> None:
    """Messages arrive, fail and are missed in random order, and a crash may come at any moment.

    The model keeps every message. Messages in different channels arrive in order within the lag.
    """
    chance = random.Random(seed)
    tracker, stored = tracker_at(), {"": 0}
    undecided, missed, position, gap = [], [], 0, False
    for _ in range(300):
        action = chance.choice(["say", "say", "decide", "fail", "miss", "read", "save"])
        ref = chance.choice([A, B])
        if action == "say":
            position += chance.randint(1, 4)
            tracker.mark_seen(ref, position)
            undecided.append((ref, position))
        elif action == "decide" and undecided:
            tracker.mark_decided(*undecided.pop(chance.randrange(len(undecided))))
        elif action == "fail" and undecided:
            missed.append(undecided.pop(0))
        elif action == "miss":
            tracker.open_gaps()
            gap, position = True, position + 1
            missed.append((ref, position))
        elif action == "read" and gap:
            for channel in (A, B):
                tracker.advance(channel, position)
                tracker.close_channel(channel, tracker.gap("w"))
            close_gap(tracker)
            undecided, missed, gap = [], [], False
        elif action == "save":
            for change in tracker.take_changes():
                stored[change.channel] = max(change.position, stored.get(change.channel, 0))
        for channel, at in ((r.channel, p) for r, p in (*undecided, *missed)):
            assert max(stored[""], stored.get(channel, 0)) < at
