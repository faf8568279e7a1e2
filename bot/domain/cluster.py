"""What processes that share one database tell each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SignalKind(StrEnum):
    """What a signal asks of the other processes."""

    WAKE = "wake"
    """Look for a turn of the conversation."""
    INTERRUPT = "interrupt"
    """End the conversation's running turn, wherever it runs; `reason` says how."""
    RESTART = "restart"
    """The store has reopened the turn: end the running attempt and start another."""
    GONE = "gone"
    """A place is gone: end every turn within `place`."""
    POLICY = "policy"
    """Overrides were changed by command: read them again."""
    LIVE = "live"
    """The text of a reply that people watch on the page has changed."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A hint to the other processes. The database has the facts, so a lost signal delays only.

    `place` is a conversation key or its beginning, as text; `reason` an outcome's value.
    """

    kind: SignalKind
    conversation: int = 0
    turn: int = 0
    place: str = ""
    reason: str = ""
