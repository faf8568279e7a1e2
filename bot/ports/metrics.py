"""The port of metrics: the core tells an observer what happened, at the places where it happens.

The core reports nothing that can be read later, such as a queue's length: `bot.operation` reads it
for each scrape. It reports nothing for a chunk or a frame of a reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

from bot.domain.attachments import Omission
from bot.domain.failures import FailureReason
from bot.domain.operation import RateReport, StoreCall
from bot.domain.spending import Booking, Purpose
from bot.domain.turns import Outcome


class GrowingReply(Protocol):
    """A reply that is being shown."""

    @property
    def unseen_since(self) -> float | None:
        """When the oldest text was written that people do not see yet, in monotonic seconds; None
        if they see all of it."""
        ...


class Observer(Protocol):
    """Hears what the core does. Its methods return immediately and raise nothing.

    `platform` is a platform's name; no method gets the id of a person, a place or a turn.
    """

    def event_received(self, platform: str) -> None:
        """A message, an edit or a command arrived."""
        ...

    def turn_ended(self, platform: str, outcome: Outcome, failure: FailureReason | None) -> None:
        """A turn's reply is completely shown."""
        ...

    def first_text_shown(self, platform: str, seconds: float) -> None:
        """People see the first text of a reply, so long after the oldest of its questions was
        sent."""
        ...

    def watch_reply(self, platform: str, reply: GrowingReply) -> AbstractContextManager[None]:
        """While the block runs, `reply` is being shown."""
        ...

    def model_used(self, purpose: Purpose, booking: Booking) -> None:
        """A request to a model is in the books."""
        ...

    def store_called(self, call: StoreCall, seconds: float, *, failed: bool) -> None:
        """A call to the database returned, or failed because the database does."""
        ...

    def attachment_settled(self, omission: Omission | None) -> None:
        """An attachment is final: read, or left out because of `omission`."""
        ...


class NullObserver:
    """Implements `Observer` where no one asks for metrics."""

    def event_received(self, platform: str) -> None:
        """Do nothing."""

    def turn_ended(self, platform: str, outcome: Outcome, failure: FailureReason | None) -> None:
        """Do nothing."""

    def first_text_shown(self, platform: str, seconds: float) -> None:
        """Do nothing."""

    def watch_reply(self, platform: str, reply: GrowingReply) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()

    def model_used(self, purpose: Purpose, booking: Booking) -> None:
        """Do nothing."""

    def store_called(self, call: StoreCall, seconds: float, *, failed: bool) -> None:
        """Do nothing."""

    def attachment_settled(self, omission: Omission | None) -> None:
        """Do nothing."""


NO_OBSERVER = NullObserver()
"""It has no state, so one is enough."""


@runtime_checkable
class HasRateLimiters(Protocol):
    """An adapter whose requests are limited by its platform."""

    def rate_reports(self) -> Sequence[RateReport]:
        """The state of each account's rate limiter; empty while the adapter is not connected."""
        ...
