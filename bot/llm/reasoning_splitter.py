"""Separates the answer from the reasoning in a stream of text.

Three parsers run in sequence: harmony channels, reasoning tags, and special tokens at the end. The
first two are skipped once the answer has begun.
"""

from __future__ import annotations

import re
from dataclasses import replace

from bot.domain.model import Delta
from bot.llm.harmony import HarmonyParser
from bot.llm.special_tokens import TrailingTokenFilter
from bot.llm.think_tags import CLOSING_ONLY, StreamQuirks, ThinkTagParser

_SURROGATE = re.compile("[\ud800-\udfff]")


class SurrogateJoiner:
    """Joins the halves of a surrogate pair that a server split between two pieces.

    An unpaired half becomes U+FFFD, because it can be neither stored nor sent.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """The complete characters of a piece; half a surrogate pair waits for its other half."""
        if piece.isascii() and not self._held:
            return piece
        text, self._held = self._held + piece, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return _join_surrogates(text)

    def flush(self) -> str:
        """Return the held-back rest at the end."""
        held, self._held = self._held, ""
        return _join_surrogates(held)


def _join_surrogates(text: str) -> str:
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class ReasoningSplitter:
    """Splits one answer into reasoning and text; `quirks` persist between a model's answers."""

    def __init__(self, quirks: StreamQuirks) -> None:
        self._quirks = quirks
        self._harmony: HarmonyParser | None = HarmonyParser()
        self._tags: ThinkTagParser | None = ThinkTagParser(quirks)
        self._trailing = TrailingTokenFilter()
        self._text_joiner, self._reasoning_joiner = SurrogateJoiner(), SurrogateJoiner()
        self._previous = ""  # the last piece of text

    def split(self, delta: Delta) -> Delta:
        """Move the reasoning in the delta's text to the delta's reasoning."""
        delta = self._join_characters(delta)
        if not delta.text:
            return delta
        reasoning, text = "", delta.text
        if self._harmony is not None:
            reasoning, text = self._harmony.feed(text)
            if self._harmony.settled:
                self._harmony = None
        if text and self._tags is not None:
            tagged, text = self._tags.feed(text)
            reasoning += tagged
            if self._tags.settled:
                self._tags = None
        text = self._filter_answer(text)
        if text == delta.text and not reasoning:
            return delta
        return replace(delta, text=text, reasoning=delta.reasoning + reasoning)

    def flush(self, *, cut: bool) -> Delta:
        """Return the held-back rest at the end. `cut`: a limit or a filter ended the answer."""
        text, reasoning = self._text_joiner.flush(), self._reasoning_joiner.flush()
        last = self.split(Delta(text)) if text else Delta()
        rest = self._flush_parsers(cut=cut)
        return Delta(last.text + rest.text, reasoning + last.reasoning + rest.reasoning)

    def _join_characters(self, delta: Delta) -> Delta:
        text = self._text_joiner.feed(delta.text)
        reasoning = self._reasoning_joiner.feed(delta.reasoning)
        if text is delta.text and reasoning is delta.reasoning:
            return delta
        return replace(delta, text=text, reasoning=reasoning)

    def _flush_parsers(self, *, cut: bool) -> Delta:
        reasoning, text = self._harmony.flush(cut) if self._harmony is not None else ("", "")
        if self._tags is not None:
            tagged, text = self._tags.feed(text) if text else ("", "")
            rest, more = ("", "") if self._tags.settled else self._tags.flush(cut)
            reasoning, text = reasoning + tagged + rest, text + more
        text = self._filter_answer(text) if text else ""
        return Delta(text + self._trailing.flush(cut), reasoning)

    def _filter_answer(self, text: str) -> str:
        text = self._trailing.feed(text) if text else ""
        if CLOSING_ONLY[0] in text or CLOSING_ONLY[1] in text:
            self._quirks.detect_unopened_tag(self._previous, text)
        if text:
            self._previous = text
        return text
