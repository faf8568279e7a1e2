"""Shows a model's reasoning: either a note that the model is thinking, or the last lines.

Invariant: reasoning never becomes part of a later request or of an answer's stored content.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bot.domain import texts
from bot.domain.model import ReasoningDisplay
from bot.turns.display import MAX_QUOTE_CHARACTERS, quote_reasoning

NOTE_AFTER_SECONDS = 3.0
"""Seconds until the "Thinking…" note appears. A model that thinks briefly answers sooner, which
saves the platform request for the note."""

NOTE_INTERVAL_SECONDS = 0.5
"""Seconds between two updates of the note that shows reasoning: people cannot read faster."""

# A closing tag at the start of a line or right after a sentence; the chat template put the opening
# one into the prompt.
_CLOSING_TAG = re.compile(
    r"(?:^[ \t]*|(?<=[.!?…。！？]))(?:</(?:think|thinking|thought)>|<channel\|>)", re.MULTILINE
)
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)


class ReasoningView:
    """The visible part of one attempt's reasoning: either nothing or its tail."""

    def __init__(self, display: ReasoningDisplay) -> None:
        self._shows = display is ReasoningDisplay.SHOWN
        self._tail = ""
        self._started_at: float | None = None
        self._noted_at: float | None = None
        self.pending = False  # whether `text` returns something that the reply does not show yet

    def reset(self) -> None:
        """Drop the reasoning of a model that failed, because the next model starts."""
        self._tail, self.pending = "", False

    def add(self, piece: str) -> None:
        """Add a piece that arrived before the answer's first text."""
        if self._shows and (piece.strip() or self.pending):
            self._tail = (self._tail + piece)[-2 * MAX_QUOTE_CHARACTERS :]
            self.pending = True

    def show_progress(
        self, now: float, *, note: Callable[[str], None], sign: Callable[[str], None]
    ) -> None:
        """Show that the model is thinking, if an update is due at `now` (monotonic seconds).

        `note` shows a text in place of the reply; `sign` does so only on platforms without a
        working indicator. Call this for each piece, so that a stalled model stops updating.
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

        `more` is reasoning that was first streamed as text. If the complete `content` turns out to
        be the same text, nothing is shown: an unclosed tag made the answer look like reasoning.
        """
        self.pending = False
        shown = self._tail + more if self._shows else ""
        if content and quote_reasoning(shown) == quote_reasoning(content):
            return ""
        return shown


def split_reasoning(text: str) -> tuple[str, str]:
    """Split a complete text whose opening tag was part of the prompt into reasoning and answer.

    Everything before the last closing tag at the start of a line, or right after a sentence, is
    reasoning. If an opening tag precedes this tag, or the tag is inside code, the text only
    mentions the tag, and all of it is the answer.
    """
    last = None
    for found in _CLOSING_TAG.finditer(text) if "</th" in text or "<channel|>" in text else ():
        last = found
    if last is None:
        return "", text
    before = text[: last.start()]
    is_opened = any(tag in before for tag in ("<think", "<thought", "<|channel"))
    in_line = before.rpartition("\n")[2].count("`") % 2
    if is_opened or in_line or len(_FENCE.findall(before)) % 2:
        return "", text
    return _CLOSING_TAG.sub("", before).strip(), text[last.end() :].strip()
