"""The metrics port: the core tells an observer about events as they happen.

The core does not report values that can be read at any time, such as the length of a queue:
`bot.operation` reads these for each scrape. Nor does it report chunks or frames of a reply.
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
        """When the oldest text that people do not see yet was written, in monotonic seconds; None
        if they see all of it."""
        ...


class Observer(Protocol):
    """Observes the events of the core. Its methods return immediately and never raise.

    `platform` is the name of a platform; no method gets the id of a person, a place or a turn.
    """

    def event_received(self, platform: str) -> None:
        """A message, edit or command arrived."""
        ...

    def turn_ended(self, platform: str, outcome: Outcome, failure: FailureReason | None) -> None:
        """A turn's reply is completely shown."""
        ...

    def first_text_shown(self, platform: str, seconds: float) -> None:
        """People see the first text of a reply, `seconds` after the oldest of its questions was
        sent."""
        ...

    def watch_reply(self, platform: str, reply: GrowingReply) -> AbstractContextManager[None]:
        """Treat `reply` as being shown while the block runs."""
        ...

    def model_used(self, purpose: Purpose, booking: Booking) -> None:
        """A request to a model was entered in the books."""
        ...

    def store_called(self, call: StoreCall, seconds: float, *, failed: bool) -> None:
        """A call to the database returned, or failed because the database was unavailable."""
        ...

    def attachment_settled(self, omission: Omission | None) -> None:
        """An attachment reached its final state: it was read, or omitted because of `omission`."""
        ...


class NullObserver:
    """An `Observer` that does nothing, for when metrics are off."""

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
"""A shared instance; the class has no state."""


@runtime_checkable
class HasRateLimiters(Protocol):
    """An adapter whose requests are limited by its platform."""

    def rate_reports(self) -> Sequence[RateReport]:
        """The state of each account's rate limiter; empty while the adapter is not connected."""
        ...
