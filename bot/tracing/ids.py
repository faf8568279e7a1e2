"""Derives trace ids from the turn, so that every process working on a turn computes the same ids.

So the attempt after a crash continues the trace of the dead process, and no table stores trace ids.
Turns are numbered from 1 in every database, so the digest also includes the conversation's key,
which it hides.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bot.domain.conversations import ConversationKey
from bot.domain.turns import Claim


@dataclass(frozen=True, slots=True)
class TurnIds:
    """The ids of one trace, as OpenTelemetry's integers: 128 bits, and 64 for its first span."""

    trace: int
    root: int

    @property
    def hex(self) -> str:
        """The trace id as collectors and logs show it."""
        return f"{self.trace:032x}"


def turn_ids(key: ConversationKey, turn: int, opened: int = 0) -> TurnIds:
    """The ids of a turn's trace.

    `opened` is the number of attempts before people had the turn run again, which starts a new
    trace.
    """
    digest = _digest(f"{key} {turn} {opened}")
    return TurnIds(int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:]) or 1)


def opened_at(claim: Claim) -> int:
    """The number of attempts before the turn was opened, or opened again."""
    return claim.fence.attempt - claim.tries


def attempt_id(ids: TurnIds, attempt: int) -> int:
    """The span id of one attempt; the next attempt links to it."""
    return int.from_bytes(_digest(f"{ids.hex} {attempt}")[:8]) or 1


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=24).digest()
