"""What is answer and what is reasoning in a stream of text; pure.

Three parsers in a row, each of which passes on what is none of its business: harmony's channels,
tags around reasoning, special tokens at the end. The first two are left out once the answer has
begun.
"""

from __future__ import annotations

import re
from dataclasses import replace

from bot.domain.model import Delta
from bot.llm.harmony import HarmonyParser
from bot.llm.special_tokens import TrailingTokens
from bot.llm.think_tags import UNOPENED, TagQuirk, ThinkTagParser

_HALF = re.compile("[\ud800-\udfff]")


class Halves:
    """Joins the halves of a surrogate pair that a server cut into two pieces.

    A half that stays alone is no text: it can be neither stored nor sent, and becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """The piece in whole characters."""
        if piece.isascii() and not self._held:
            return piece
        text, self._held = self._held + piece, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return _whole(text)

    def flush(self) -> str:
        """What is left at the end."""
        held, self._held = self._held, ""
        return _whole(held)


def _whole(text: str) -> str:
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class ReasoningSplitter:
    """Parts one answer; `habit` is the model's."""

    def __init__(self, habit: TagQuirk) -> None:
        self._habit = habit
        self._harmony: HarmonyParser | None = HarmonyParser()
        self._splitter: ThinkTagParser | None = ThinkTagParser(habit)
        self._trailing = TrailingTokens()
        self._halves = (Halves(), Halves())  # of text and of reasoning
        self._before = ""  # the piece of text before this one

    def take(self, delta: Delta) -> Delta:
        """The delta, with what is reasoning of its text told apart."""
        delta = self._joined(delta)
        if not delta.text:
            return delta
        reasoning, text = "", delta.text
        if self._harmony is not None:
            reasoning, text = self._harmony.feed(text)
            if self._harmony.settled:
                self._harmony = None
        if text and self._splitter is not None:
            thought, text = self._splitter.feed(text)
            reasoning += thought
            if self._splitter.settled:
                self._splitter = None
        text = self._answer(text)
        if text == delta.text and not reasoning:
            return delta
        return replace(delta, text=text, reasoning=delta.reasoning + reasoning)

    def _joined(self, delta: Delta) -> Delta:
        text, reasoning = self._halves
        said, thought = text.feed(delta.text), reasoning.feed(delta.reasoning)
        if said is delta.text and thought is delta.reasoning:
            return delta
        return replace(delta, text=said, reasoning=thought)

    def flush(self, *, cut: bool) -> Delta:
        """What was held back, at the end; `cut` tells that a limit or a filter ended the answer."""
        text, reasoning = (halves.flush() for halves in self._halves)
        last = self.take(Delta(text)) if text else Delta()
        rest = self._rest(cut=cut)
        return Delta(last.text + rest.text, reasoning + last.reasoning + rest.reasoning)

    def _rest(self, *, cut: bool) -> Delta:
        reasoning, text = self._harmony.flush(cut) if self._harmony is not None else ("", "")
        if self._splitter is not None:
            thought, text = self._splitter.feed(text) if text else ("", "")
            rest, more = ("", "") if self._splitter.settled else self._splitter.flush(cut)
            reasoning, text = reasoning + thought + rest, text + more
        text = self._answer(text) if text else ""
        return Delta(text + self._trailing.flush(cut), reasoning)

    def _answer(self, text: str) -> str:
        text = self._trailing.feed(text) if text else ""
        if UNOPENED in text:
            self._habit.notice(self._before, text)
        if text:
            self._before = text
        return text
