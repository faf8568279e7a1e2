"""Tracks, by platform, when events and replies last occurred, and which replies are being shown.

Everything else is passed on to the next observer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bot.domain.attachments import Omission
from bot.domain.failures import FailureReason
from bot.domain.operation import StoreCall
from bot.domain.spending import Booking, Purpose
from bot.domain.turns import Outcome
from bot.ports.clock import Clock
from bot.ports.metrics import GrowingReply, Observer


class Activity:
    """An `Observer` that passes every call on to `then`. Times are in Unix seconds."""

    def __init__(self, then: Observer, clock: Clock) -> None:
        self._then, self._clock = then, clock
        self.last_events: dict[str, float] = {}
        self.last_replies: dict[str, float] = {}
        self._replies: dict[GrowingReply, str] = {}

    @property
    def unseen_ages(self) -> dict[str, float]:
        """The age in seconds of the oldest text that is not on the screen, by platform."""
        now, ages = self._clock.monotonic(), dict[str, float]()
        for reply, platform in self._replies.items():
            if (since := reply.unseen_since) is not None:
                ages[platform] = max(ages.get(platform, 0.0), now - since)
        return ages

    def event_received(self, platform: str) -> None:
        """Record the time of the event."""
        self.last_events[platform] = self._clock.time()
        self._then.event_received(platform)

    def turn_ended(self, platform: str, outcome: Outcome, failure: FailureReason | None) -> None:
        """Record the time of the reply."""
        self.last_replies[platform] = self._clock.time()
        self._then.turn_ended(platform, outcome, failure)

    def first_text_shown(self, platform: str, seconds: float) -> None:
        """Pass the call on."""
        self._then.first_text_shown(platform, seconds)

    @contextmanager
    def watch_reply(self, platform: str, reply: GrowingReply) -> Iterator[None]:
        """Include the reply in `unseen_ages` while the context lasts."""
        self._replies[reply] = platform
        try:
            yield
        finally:
            del self._replies[reply]

    def model_used(self, purpose: Purpose, booking: Booking) -> None:
        """Pass the call on."""
        self._then.model_used(purpose, booking)

    def store_called(self, call: StoreCall, seconds: float, *, failed: bool) -> None:
        """Pass the call on."""
        self._then.store_called(call, seconds, failed=failed)

    def attachment_settled(self, omission: Omission | None) -> None:
        """Pass the call on."""
        self._then.attachment_settled(omission)
