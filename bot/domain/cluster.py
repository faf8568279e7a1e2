"""Signals between processes that share one database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum

from bot.domain.conversations import ConversationKey


class SignalKind(StrEnum):
    """What a signal asks the other processes to do."""

    WAKE = "wake"
    """Look for a turn of the conversation."""
    INTERRUPT = "interrupt"
    """End the conversation's running turn in whichever process runs it; `reason` is the outcome."""
    RESTART = "restart"
    """The store reopened the turn: end the running attempt and start another."""
    GONE = "gone"
    """A place no longer exists: end every turn in `place`."""
    POLICY = "policy"
    """A command changed overrides: reload them."""
    SHARE = "share"
    """Leases were freed, or a process wants some: rebalance. Used by the cluster only."""
    LIVE = "live"
    """A reply that people watch on the page began or ended, or another branch is shown there.
    `reason` is the user of the page, or the workspace that all users share."""
    FOLLOW = "follow"
    """Process `place` shows the turn, or all turns of `reason`: send it the text so far and all
    further text."""
    FOLLOWING = "following"
    """Process `place` still shows the turn."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A hint to the other processes. The facts are in the database, so a lost signal only causes a
    delay.

    `place` is the key of a conversation or place as text: see `text_of`. `reason` is the value of
    an outcome. A signal with neither asks the processes to check everything.
    """

    kind: SignalKind
    conversation: int = 0
    turn: int = 0
    place: str = ""
    reason: str = ""


def text_of(key: ConversationKey) -> str:
    """Encode a key as the `place` of a signal."""
    return json.dumps(astuple(key))


def key_of(place: str) -> ConversationKey | None:
    """Decode the `place` of a signal; None if it is empty."""
    return ConversationKey(*json.loads(place)) if place else None


@dataclass(frozen=True, slots=True)
class Look:
    """What a process finds when it checks the database for work.

    `conversations` have a turn that no process holds. `dead` is set if a process or a claim seems
    to have died. `wait` is the number of seconds until the next lease of another process may
    expire, None if there is no such lease. `at` is the database's time of the check.
    """

    conversations: Sequence[int]
    dead: bool
    wait: float | None
    at: float = 0.0
