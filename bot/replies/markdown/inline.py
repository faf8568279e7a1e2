"""Inline markup of one paragraph: which spans are complete, which are open, what is undecided.

Invariant: parsing is linear for any input. Later text changes the result for earlier text only
where a delimiter still lacks its partner.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import regex  # type: ignore[import-untyped]  # it comes without types

from bot.replies.markdown.code_names import may_begin_name, may_begin_share
from bot.replies.markdown.code_spans import BacktickRuns
from bot.replies.markdown.flanking import LONGEST_RUN, Flanks, flanks, may_continue_address
from bot.replies.markdown.math import OpenFormula, formula_end, open_formula

LONGEST_LABEL = 300
"""Characters after which a bracket without a partner is plain text."""

LONGEST_TARGET = 4_000
"""Characters of a link's address above which the link is shown raw: no platform accepts such links,
and images encoded in addresses (`data:`) would hold back the reply."""

MOST_OPEN = 32
"""Delimiters that may wait for their partners at the same time. Beyond this, the oldest becomes
plain text: real text does not nest so deeply, and a page break would close and reopen them all."""

# A bracket followed by this many others would be dropped immediately (MOST_OPEN).
_TOKENS = regex.compile(
    r"""\\(?:.|\n|$) | \$ | (?<!\|)\|\|(?!\|) | `+ | \*+ | _+ | ~+ | \[+(?=\[{32}) | !?\[
        | \] | <(?!<)[^\s<>]*>? | &\#?\w{0,31}\Z | !$""",
    regex.VERBOSE | regex.DOTALL,
)
_CLOSING = regex.compile(r"\]+")
_TARGET = regex.compile(
    r"""\(\s*+(?:<[^<>\n]*>|[^\s()<]?[^\s()]*+(?:\([^\s()]*+\)[^\s()]*+)*+)
        (?:\s+(?:"[^"]*+"|'[^']*+'|\([^()]*+\)))?\s*+\)""",
    regex.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Span:
    """Complete markup from `start` to `end`.

    `delimiter` is repeated to close and reopen the span around a page break; atomic spans (links,
    addresses, mentions, formulas) have none.
    """

    start: int
    end: int
    delimiter: str = ""
    formula: bool = False

    @property
    def atomic(self) -> bool:
        """Whether a page break inside would destroy the span."""
        return not self.delimiter


@dataclass(slots=True)
class Opener:
    """A delimiter waiting for its partner: emphasis (`*`, `_`, `~`), spoiler bars or a bracket."""

    at: int
    char: str
    length: int
    can_close: bool = False  # for CommonMark's rule of three
    original_length: int = 0


class ResumePoint(NamedTuple):
    """Where parsing may resume (`at`), and the offset before which all markup is decided."""

    at: int = 0
    decided: int = 0

    def shift(self, by: int) -> ResumePoint:
        """The same point in a text that begins `by` characters later (negative: earlier)."""
        return ResumePoint(max(0, self.at - by), max(0, self.decided - by))


START = ResumePoint()


@dataclass(slots=True)
class InlineMarkup:
    """The markup of a text that may still grow.

    `hold_from`: offset from which nothing can be shown yet. `code`: an open code span as (offset,
    backticks). `decided`: offset after the last whitespace before which all markup is final.
    `word_end`: end of the last word, if that part of the word is final. `resume_at`: offset from
    which parsing gives the same result again, whatever follows. `dropped_brackets`: ranges of
    brackets that probably belong to unfinished links.
    """

    spans: list[Span] = field(default_factory=list)
    open: list[Opener] = field(default_factory=list)
    code: tuple[int, int] | None = None
    hold_from: int = 0
    decided: int = 0
    word_end: int = 0
    resume_at: int = 0
    dropped_brackets: list[tuple[int, int]] = field(default_factory=list)


def parse_inline(text: str, *, ended: bool, resume: ResumePoint = START) -> InlineMarkup:
    """Parse the inline markup of `text`. If it has `ended`, nothing is held back.

    `resume` is a point from parsing a shorter version of the same text.
    """
    return _InlineParser(text, ended, resume).parse()


class _InlineParser:
    """Consumes one token after another; `_at` is the offset after the last one."""

    def __init__(self, text: str, ended: bool, resume: ResumePoint) -> None:
        self._text, self._ended = text, ended
        self._found = InlineMarkup(hold_from=len(text), decided=resume.decided, resume_at=resume.at)
        self._at = resume.at
        self._runs = BacktickRuns(text)
        self._undecided = False  # earlier plain text may still become a link or a formula

    def parse(self) -> InlineMarkup:
        found = self._found
        while found.code is None and found.hold_from == len(self._text):
            token = _TOKENS.search(self._text, self._at)
            self._mark_decided(self._at, token.start() if token else len(self._text))
            if token is None:
                break
            self._at = token.end()
            self._consume_token(token.group(), token.start())
        if not self._ended:
            self._drop_brackets()
        return found

    def _mark_decided(self, start: int, end: int) -> None:
        """Process plain text between two tokens.

        If no markup is open, everything up to the last whitespace is decided. So is an unfinished
        word at the end of the text, unless the word may become a mention.
        """
        found, text = self._found, self._text
        if found.open or self._undecided:
            return
        found.resume_at = start
        blank = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
        found.decided = max(found.decided, blank + 1)
        if end == len(text) and text.find("@", blank + 1) < 0:
            found.word_end = end

    def _consume_token(self, token: str, at: int) -> None:
        char, at_end = token[0], self._at == len(self._text) and not self._ended
        if char in "$\\" and self._consume_formula(at):
            return
        if char == "`":
            self._consume_backticks(token, at, at_end)
        elif char == "]":
            self._close_bracket(at)
        elif (at_end and self._may_change(token)) or self._may_be_share(token, at):
            self._found.hold_from = at
        elif char in "*_~|":
            self._consume_delimiter(token, at)
        elif token in ("[", "!["):
            self._push(Opener(at, "[", len(token)))
        elif char == "<":
            self._consume_angle(token, at)

    def _may_change(self, token: str) -> bool:
        """Whether a token at the end of the text may still become a different token."""
        if token[0] == "<":
            return token[-1] != ">" and len(token) <= LONGEST_LABEL
        if token[0] == "\\":
            return token in ("\\", "\\\n")
        return True

    def _consume_formula(self, at: int) -> bool:
        """Consume a formula or hold back a possible one; return False for plain text."""
        end = formula_end(self._text, at)
        if end is not None and (end < len(self._text) or self._ended):
            self._found.spans.append(Span(at, end, formula=True))
            self._at = end
            return True
        guess = None if self._ended else open_formula(self._text, at)
        if end is not None or guess is OpenFormula.LIKELY:
            self._found.hold_from = at
            return True
        self._undecided = self._undecided or guess is OpenFormula.POSSIBLE
        return False

    def _consume_angle(self, token: str, at: int) -> None:
        if token[-1] == ">" and len(token) > 2:
            self._found.spans.append(Span(at, self._at))
        else:
            self._at = at + 1

    def _push(self, opener: Opener) -> None:
        stack = self._found.open
        stack.append(opener)
        if len(stack) > MOST_OPEN:
            del stack[0]
            if not self._undecided:
                self._mark_decided_before(stack[0].at)

    def _mark_decided_before(self, at: int) -> None:
        """Mark everything before the oldest open delimiter (at `at`) as decided."""
        found = self._found
        since = max(found.decided, found.resume_at)
        blank = max(self._text.rfind(mark, since, at) for mark in " \n") + 1
        if self._is_between_spans(blank):
            found.decided = max(found.decided, blank)
        if self._is_between_spans(at) and self._text[at - 1 : at] not in ("*", "_", "~"):
            found.resume_at = max(found.resume_at, at)

    def _is_between_spans(self, at: int) -> bool:
        """Whether no span contains `at`; spans are ordered by their ends."""
        for span in reversed(self._found.spans):
            if span.end <= at:
                return True
            if span.start < at:
                return False
        return True

    def _consume_backticks(self, token: str, at: int, at_end: bool) -> None:
        partner = self._runs.partner(self._at, len(token))
        if partner is not None:
            end = partner + len(token)
            if end < len(self._text) or self._ended:  # else the run may still grow
                self._found.spans.append(Span(at, end, token))
                self._at = end
                return
        if at_end:
            self._found.hold_from = at
        elif not self._ended:
            self._found.code = (at, len(token))

    # ── brackets ──────────────────────────────────────────────────────────────────────────────
    def _close_bracket(self, at: int) -> None:
        found = self._found
        index = next((i for i in reversed(range(len(found.open))) if found.open[i].char == "["), -1)
        if index < 0:
            self._at = _CLOSING.match(self._text, at).end()
            return
        opener = found.open[index]
        target = _TARGET.match(self._text, at + 1, partial=not self._ended)
        if target is not None and not target.partial:
            del found.open[index:]
            found.spans.append(Span(opener.at, target.end()))
            self._at = target.end()
        elif target is not None and self._may_hold(opener.at, at):
            found.hold_from = at
        else:
            del found.open[index]
            self._undecided = self._undecided or target is not None

    def _may_hold(self, start: int, at: int) -> bool:
        """Whether a link is short enough to hold back until its address ends."""
        return at - start <= LONGEST_LABEL and len(self._text) - at <= LONGEST_TARGET

    def _drop_brackets(self) -> None:
        found = self._found
        near = found.hold_from - LONGEST_LABEL
        for opener in found.open:
            if opener.char == "[" and opener.at >= near:
                found.dropped_brackets.append((opener.at, opener.at + opener.length))
        found.open = [opener for opener in found.open if opener.char != "["]

    # ── emphasis ──────────────────────────────────────────────────────────────────────────────
    def _consume_delimiter(self, token: str, at: int) -> None:
        if len(token) > LONGEST_RUN:
            return
        if token[0] == "_" and not self._ended and self._may_be_name(token, at):
            self._found.hold_from = at
            return
        opens, closes = _flanks(self._text, at, self._at)
        left = len(token)
        while closes and left:
            used = self._close(token, at, left, can_open=opens)
            if not used:
                break
            left -= used
        if left and opens and not (token[0] == "~" and len(token) != 2):
            start = self._at - left
            self._push(Opener(start, token[0], left, closes, len(token)))

    def _may_be_name(self, token: str, at: int) -> bool:
        """Whether the next characters decide if underscores belong to an address or a name."""
        if may_continue_address(self._text, at, self._at):
            return True
        return len(token) == 2 and may_begin_name(self._text, at)

    def _may_be_share(self, token: str, at: int) -> bool:
        """Whether the next characters decide if backslashes begin a path in a network."""
        return not self._ended and token[1:] == "\\" and may_begin_share(self._text, at)

    def _close(self, token: str, at: int, left: int, *, can_open: bool) -> int:
        """Pair a closing run with the nearest opener; return how many marks the pair uses."""
        stack = self._found.open
        for index in reversed(range(len(stack))):
            opener = stack[index]
            if opener.char != token[0] or _breaks_rule_of_three(opener, len(token), can_open):
                continue
            used = 2 if min(opener.length, left) >= 2 else 1
            if token[0] in "~|" and used != 2:
                continue
            if token[0] == "|" and "\n" in self._text[opener.at : at]:
                return 0
            begin = opener.at + opener.length - used
            end = at + len(token) - left + used
            self._found.spans.append(Span(begin, end, token[0] * used))
            opener.length -= used
            brackets = [other for other in stack[index + 1 :] if other.char == "["]
            stack[index + 1 :] = brackets
            if opener.length == 0:
                del stack[index]
            return used
        return 0


def _breaks_rule_of_three(opener: Opener, length: int, can_open: bool) -> bool:
    """Whether CommonMark's rule of three forbids the pair (rules 9 and 10 of emphasis)."""
    if not (opener.can_close or can_open) or opener.char in "~|":
        return False
    return (opener.original_length + length) % 3 == 0 and not (
        opener.original_length % 3 == 0 and length % 3 == 0
    )


def _flanks(text: str, start: int, end: int) -> Flanks:
    """Whether a run may open or close; spoiler bars must touch their text, and no word outside."""
    if text[start] != "|":
        return flanks(text, start, end)
    before, after = text[start - 1 : start], text[end : end + 1]
    opens = bool(after.strip()) and not (before.isascii() and before.isalnum())
    closes = bool(before.strip()) and not (after.isascii() and after.isalnum())
    return Flanks(opens, closes)
