"""A reply's growing text in transit between two processes, in pieces of bounded size. Pure.

Invariant: a reader shows exactly the text that the writer had at some moment. Each piece has a
number and continues the previous one; a reader that lost one asks for the whole text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_BYTES = 7_500
"""The most bytes in an encoded piece: a NOTIFY has less than 8,000, and the sender's id takes
some."""

LONGEST = 7_000
"""The most characters of text in a piece; fewer if they need more bytes."""


@dataclass(frozen=True, slots=True)
class LiveState:
    """What a reply shows at one moment; `note` is our text in its place."""

    source: str = ""
    note: str = ""
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of the difference between two moments of one attempt at a reply.

    `text` replaces everything from character `at` on. `number` counts the pieces from 0, which is
    the whole text; then `about` says whose reply it is. With `more`, others must follow before
    anything is shown.
    """

    turn: int
    attempt: int
    number: int
    at: int
    text: str
    note: str = ""
    queued: bool = False
    more: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)


def encode(piece: Piece) -> str:
    """A piece as text, in ASCII."""
    return json.dumps(asdict(piece), separators=(",", ":"))


def decode(text: str) -> Piece | None:
    """The piece; None if another version sent it."""
    try:
        return Piece(**json.loads(text))
    except (ValueError, TypeError):
        return None


class Differences:
    """What has been sent to one reader about one attempt. `about` goes with the first piece."""

    def __init__(self, turn: int, attempt: int, about: Mapping[str, Any]) -> None:
        self._turn, self._attempt, self._about = turn, attempt, about
        self._sent = LiveState()
        self._number = 0

    def pieces(self, state: LiveState, most: int) -> Iterator[Piece]:
        """Up to `most` pieces toward `state`; the next call returns the others."""
        at = _common(self._sent.source, state.source)
        for _ in range(most):
            if self._sent == state and self._number:
                return
            cut = _fit(state.source[at : at + LONGEST])
            self._sent = LiveState(state.source[: at + len(cut)], state.note, state.queued)
            yield Piece(
                *(self._turn, self._attempt, self._number, at, cut, state.note, state.queued),
                more=self._sent != state,
                about={} if self._number else self._about,
            )
            self._number, at = self._number + 1, at + len(cut)

    def is_sent(self, state: LiveState) -> bool:
        """Whether the reader has `state`."""
        return bool(self._number) and self._sent == state


class Assembly:
    """What one reader has received of one attempt."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self._source, self._next = "", 0

    def add(self, piece: Piece) -> LiveState | None:
        """Add the next piece and return the state to show, None if there is nothing to show yet.

        Raises ValueError if the previous piece is missing.
        """
        if piece.number == 0:
            self._source, self._next = "", 0
        if piece.number != self._next or piece.at > len(self._source):
            raise ValueError("a piece is missing")
        self._source, self._next = self._source[: piece.at] + piece.text, self._next + 1
        return None if piece.more else LiveState(self._source, piece.note, piece.queued)


def _common(one: str, other: str) -> int:
    """The length of the common beginning: usually all of `one`."""
    if other.startswith(one):
        return len(one)
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def _fit(text: str) -> str:
    """The beginning of a text that fits into a piece along with its other fields."""
    while len(json.dumps(text)) > MAX_BYTES - 1_000:
        text = text[: len(text) // 2]
    return text
