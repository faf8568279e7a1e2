"""Which outages Slack's redeliveries do not cover."""

from __future__ import annotations

from adapters.slack.outages import (
    MAX_SECONDS,
    REDELIVERY_SECONDS,
    SHORT_OUTAGE,
    Arrivals,
    MissedRedeliveries,
)
from tests.support.clock import ManualClock


def outage(clock: ManualClock, missed: MissedRedeliveries, seconds: float) -> bool:
    missed.begin(0.0)
    clock.jump(seconds)
    return missed.end()


def test_an_outage_with_the_last_retry_in_it_loses_events() -> None:
    clock = ManualClock()
    missed = MissedRedeliveries(clock)
    assert not missed.end()  # the first connection
    assert not outage(clock, missed, SHORT_OUTAGE - 1)
    clock.jump(REDELIVERY_SECONDS + 1)
    assert outage(clock, missed, SHORT_OUTAGE)
    assert not outage(clock, missed, 1.0)  # everything before was read


def test_outages_while_redeliveries_are_due_count_as_one() -> None:
    clock = ManualClock()
    missed = MissedRedeliveries(clock)
    assert not outage(clock, missed, SHORT_OUTAGE / 2)
    clock.jump(10.0)
    assert outage(clock, missed, SHORT_OUTAGE / 2)


def test_a_loss_that_is_noticed_late_counts_from_its_begin() -> None:
    clock = ManualClock()
    missed = MissedRedeliveries(clock)
    missed.begin(SHORT_OUTAGE)
    assert missed.end()


def test_only_a_late_retry_after_a_silence_shows_an_outage() -> None:
    clock = ManualClock()
    arrivals = Arrivals(clock)
    clock.jump(3_600.0)
    assert arrivals.note(0) is None  # a quiet hour
    clock.jump(1.0)
    assert arrivals.note(2) == 3_601.0
    assert arrivals.note(3) is None  # of the same outage
    clock.jump(10.0)
    assert arrivals.note(2) is None  # this process refused it before
    clock.jump(3_600.0)
    assert arrivals.note(0) is None
    for _ in range(20):
        clock.jump(REDELIVERY_SECONDS / 10)
        assert arrivals.note(0) is None
    assert arrivals.note(3) is None  # the silence was too long ago
    clock.jump(3 * MAX_SECONDS)
    assert arrivals.note(3) == MAX_SECONDS
