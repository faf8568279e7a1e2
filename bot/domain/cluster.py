"""What processes that share one database tell each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum

from bot.domain.conversations import ConversationKey


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
    SHARE = "share"
    """Names were freed, or a process wants some: balance again. The cluster's own."""
    LIVE = "live"
    """A reply that people watch on the page has begun or ended, or another branch is shown there;
    `reason` is the page's user, or the workspace that all users share."""
    FOLLOW = "follow"
    """Process `place` shows the turn, or all turns of `reason`: send it the whole text so far, and
    what follows."""
    FOLLOWING = "following"
    """Process `place` still shows the turn."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A hint to the other processes. The database has the facts, so a lost signal delays only.

    `place` is the key of a conversation or a place, as text: see `text_of`. `reason` is an
    outcome's value. A signal without any of them asks to look at everything.
    """

    kind: SignalKind
    conversation: int = 0
    turn: int = 0
    place: str = ""
    reason: str = ""


def text_of(key: ConversationKey) -> str:
    """A key as a signal's `place`."""
    return json.dumps(astuple(key))


def key_of(place: str) -> ConversationKey | None:
    """The key of a signal's `place`; None without one."""
    return ConversationKey(*json.loads(place)) if place else None


@dataclass(frozen=True, slots=True)
class Look:
    """What a process finds that looks for work.

    `conversations` have a turn that no process holds. `dead`: a process, or a claim, seems to be.
    `wait` is the seconds until the next lease may be over, None if no other process has one. `at`
    is the database's time of this.
    """

    conversations: Sequence[int]
    dead: bool
    wait: float | None
    at: float = 0.0
