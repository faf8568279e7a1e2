"""What people see of a model's reasoning: a note that the model is thinking, or its last lines.

Invariant: reasoning never reaches a later request or the stored content of an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bot.domain import texts
from bot.domain.model import ReasoningDisplay
from bot.turns.display import MAX_QUOTE_CHARACTERS, quote_reasoning

NOTE_AFTER_SECONDS = 3.0
"""Time until the "Thinking…" note: a model that thinks briefly answers before, which saves the
platform request for the note."""

NOTE_INTERVAL_SECONDS = 0.5
"""Time between two updates of the note that shows reasoning: people do not read faster."""

# A closing tag at the start of a line; the chat template put the opening one into the prompt.
_CLOSING_TAG = re.compile(r"^[ \t]*</(?:think|thinking|thought)>", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)


class ReasoningView:
    """The visible part of one attempt's reasoning: all of it is hidden, or its tail is shown."""

    def __init__(self, display: ReasoningDisplay) -> None:
        self._shows = display is ReasoningDisplay.SHOWN
        self._tail = ""
        self._started_at: float | None = None
        self._noted_at: float | None = None
        self.pending = False  # whether `text` returns something that the reply does not show yet

    def reset(self) -> None:
        """Drop the reasoning of a model that failed before its answer; the next one starts."""
        self._tail, self.pending = "", False

    def add(self, piece: str) -> None:
        """Add a piece that arrived before the answer's first text."""
        if self._shows and (piece.strip() or self.pending):
            self._tail = (self._tail + piece)[-2 * MAX_QUOTE_CHARACTERS :]
            self.pending = True

    def show_progress(
        self, now: float, *, note: Callable[[str], None], sign: Callable[[str], None]
    ) -> None:
        """Show at `now`, in monotonic seconds, that the model is thinking, if an update is due.

        `note` shows a text in place of the reply; `sign` does so only on platforms without a
        working indicator. Call it for each piece, so that a stalled model shows nothing new.
        """
        if self._started_at is None:
            self._started_at = now
        if self._is_due(now):
            self._noted_at = now
            if self._shows:
                note(quote_reasoning(self._tail))
            else:
                sign(texts.note(texts.THINKING))

    def _is_due(self, now: float) -> bool:
        if self._noted_at is not None:
            return self._shows and now - self._noted_at >= NOTE_INTERVAL_SECONDS
        return self._shows or (
            self._started_at is not None and now - self._started_at >= NOTE_AFTER_SECONDS
        )

    def text(self, more: str = "", content: str = "") -> str:
        """The reasoning to show above the answer; "" for none.

        `more` is reasoning that was streamed as text at first. Nothing is shown if the complete
        `content` turns out to be the same text: an unclosed tag made it look like reasoning.
        """
        self.pending = False
        shown = self._tail + more if self._shows else ""
        if content and quote_reasoning(shown) == quote_reasoning(content):
            return ""
        return shown


def split_reasoning(text: str) -> tuple[str, str]:
    """Reasoning and answer of a complete text whose opening tag was part of the prompt.

    Everything before the last closing tag that starts a line is reasoning. If an opening tag
    precedes it, or it is inside a code block, the text only mentions the tag: all of it is answer.
    """
    last = None
    for found in _CLOSING_TAG.finditer(text) if "</th" in text else ():
        last = found
    if last is None:
        return "", text
    before = text[: last.start()]
    if "<think" in before or "<thought" in before or len(_FENCE.findall(before)) % 2:
        return "", text
    return _CLOSING_TAG.sub("", before).strip(), text[last.end() :].strip()
