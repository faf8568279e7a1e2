"""The inline markup of one paragraph: what is closed, what is still open, what cannot be told yet.

Invariant: reading is linear whatever is written, and what is told of a place depends on later text
only where a delimiter has not found its partner.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple

import regex  # type: ignore[import-untyped]  # it comes without types

from bot.replies.markdown.flanking import LONGEST_RUN, Flanks, flanks, may_be_of_address
from bot.replies.markdown.math import Doubt, doubt, formula_end

LONGEST_LABEL = 300
"""Characters after which a bracket without its partner is taken for a bracket."""

LONGEST_TARGET = 4_000
"""Characters of a link's address after which it is shown as it comes: no platform takes such links,
and pictures that are written out in addresses would hold back the reply."""

MOST_OPEN = 32
"""Delimiters that may wait for their partners at once. Of more the oldest is taken for a sign:
nobody nests so deep, and each of them would be closed and opened again at every cut."""

# Brackets that are followed by so many others would be dropped at once (MOST_OPEN).
_TOKENS = regex.compile(
    r"""\\(?:.|\n|$) | \$ | (?<!\|)\|\|(?!\|) | `+ | \*+ | _+ | ~+ | \[+(?=\[{32}) | !?\[
        | \] | <(?!<)[^\s<>]*>? | &\#?\w{0,31}\Z | !$""",
    regex.VERBOSE | regex.DOTALL,
)
_RUN = regex.compile("`+")
_CLOSING = regex.compile(r"\]+")
_TARGET = regex.compile(
    r"""\(\s*+(?:<[^<>\n]*>|[^\s()<]?[^\s()]*+(?:\([^\s()]*+\)[^\s()]*+)*+)
        (?:\s+(?:"[^"]*+"|'[^']*+'|\([^()]*+\)))?\s*+\)""",
    regex.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Span:
    """Markup that is whole: its offsets, and its delimiter where it can be closed and reopened.

    `solid` spans (links, addresses, mentions, formulas) must not be cut at all.
    """

    start: int
    end: int
    delimiter: str = ""
    formula: bool = False

    @property
    def solid(self) -> bool:
        """Whether a cut inside would break it."""
        return not self.delimiter


@dataclass(slots=True)
class Opener:
    """A delimiter that waits for its partner: emphasis (`*`, `_`, `~`), a spoiler's bars, or a
    bracket.
    """

    at: int
    char: str
    length: int
    both: bool = False  # it could close as well: the rule of three asks
    original: int = 0


class Resume(NamedTuple):
    """Where reading may go on: at `at`, with all before `clean` decided."""

    at: int = 0
    clean: int = 0

    def moved(self, by: int) -> Resume:
        """The same in a text that begins `by` later, or (below 0) earlier."""
        return Resume(max(0, self.at - by), max(0, self.clean - by))


START = Resume()


@dataclass(slots=True)
class Inline:
    """What was found. `hold` is the offset from which nothing can be told yet; `code` is an open
    code span (offset, backticks); `clean` the offset after a blank before which everything is
    decided; `word` the end of what has come of the last word, where that will stay; `at` an offset
    from which reading again comes to the same, whatever follows.
    """

    spans: list[Span] = field(default_factory=list)
    open: list[Opener] = field(default_factory=list)
    code: tuple[int, int] | None = None
    hold: int = 0
    clean: int = 0
    word: int = 0
    at: int = 0
    dropped: list[tuple[int, int]] = field(default_factory=list)  # brackets of a link to be


def read(text: str, *, ended: bool, since: Resume = START) -> Inline:
    """The markup of `text`; `ended` tells that nothing follows, so that nothing has to wait.

    `since` is where reading may begin: `at` and `clean` of an earlier reading of the same text,
    when less of it was there.
    """
    return _Reader(text, ended, since).read()


class CodeRuns:
    """The runs of backticks of a text, to find each one's partner without looking at all others."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts: dict[int, list[int]] | None = None

    def partner(self, at: int, length: int) -> int | None:
        """Where the next run of `length` backticks begins, from the end `at` of a run on."""
        following = _RUN.search(self._text, at)
        if following is None or len(following.group()) == length:
            return following.start() if following else None
        if self._starts is None:
            self._starts = {}
            for run in _RUN.finditer(self._text, at):
                self._starts.setdefault(len(run.group()), []).append(run.start())
        starts = self._starts.get(length, [])
        index = bisect_left(starts, at)
        return starts[index] if index < len(starts) else None


class _Reader:
    def __init__(self, text: str, ended: bool, since: Resume) -> None:
        self._text, self._ended = text, ended
        self._found = Inline(hold=len(text), clean=since.clean, at=since.at)
        self._at = since.at
        self._runs = CodeRuns(text)
        self._doubtful = False  # what was taken for text may still become a link

    def read(self) -> Inline:
        found = self._found
        while found.code is None and found.hold == len(self._text):
            token = _TOKENS.search(self._text, self._at)
            self._settle(self._at, token.start() if token else len(self._text))
            if token is None:
                break
            self._at = token.end()
            self._take(token.group(), token.start())
        if not self._ended:
            self._drop_brackets()
        return found

    def _settle(self, start: int, end: int) -> None:
        """Between two tokens: if nothing is open, all before the last blank is decided, and at the
        end of the text what has come of its last word, unless that may become a call of somebody.
        """
        found, text = self._found, self._text
        if found.open or self._doubtful:
            return
        found.at = start
        blank = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
        found.clean = max(found.clean, blank + 1)
        if end == len(text) and text.find("@", blank + 1) < 0:
            found.word = end

    def _take(self, token: str, at: int) -> None:
        char, last = token[0], self._at == len(self._text) and not self._ended
        if char in "$\\" and self._formula(at):
            return
        if char == "`":
            self._code(token, at, last)
        elif char == "]":
            self._bracket(at)
        elif last and self._waits(token):
            self._found.hold = at
        elif char in "*_~|":
            self._delimiter(token, at)
        elif token in ("[", "!["):
            self._push(Opener(at, "[", len(token)))
        elif char == "<":
            self._angle(token, at)

    def _waits(self, token: str) -> bool:
        """Whether a token at the end of the text may become another one."""
        if token[0] == "<":
            return token[-1] != ">" and len(token) <= LONGEST_LABEL
        if token[0] == "\\":
            return token in ("\\", "\\\n")
        return True

    def _formula(self, at: int) -> bool:
        """Whether a formula begins here, or something that may be one and must wait."""
        end = formula_end(self._text, at)
        if end is not None and (end < len(self._text) or self._ended):
            self._found.spans.append(Span(at, end, formula=True))
            self._at = end
            return True
        waits = None if self._ended else doubt(self._text, at)
        if end is not None or waits is Doubt.LIKELY:
            self._found.hold = at
            return True
        self._doubtful = self._doubtful or waits is Doubt.POSSIBLE
        return False

    def _angle(self, token: str, at: int) -> None:
        if token[-1] == ">" and len(token) > 2:
            self._found.spans.append(Span(at, self._at))
        else:
            self._at = at + 1

    def _push(self, opener: Opener) -> None:
        stack = self._found.open
        stack.append(opener)
        if len(stack) > MOST_OPEN:
            del stack[0]
            if not self._doubtful:
                self._settle_before(stack[0].at)

    def _settle_before(self, at: int) -> None:
        """The oldest that still waits is at `at`: all before it is decided."""
        found = self._found
        since = max(found.clean, found.at)
        blank = max(self._text.rfind(mark, since, at) for mark in " \n") + 1
        if self._between(blank):
            found.clean = max(found.clean, blank)
        if self._between(at) and self._text[at - 1 : at] not in ("*", "_", "~"):
            found.at = max(found.at, at)

    def _between(self, at: int) -> bool:
        """Whether no span is on both sides of `at`; they are in the order of their ends."""
        for span in reversed(self._found.spans):
            if span.end <= at:
                return True
            if span.start < at:
                return False
        return True

    def _code(self, token: str, at: int, last: bool) -> None:
        partner = self._runs.partner(self._at, len(token))
        if partner is not None:
            end = partner + len(token)
            if end < len(self._text) or self._ended:  # else it may get another length
                self._found.spans.append(Span(at, end, token))
                self._at = end
                return
        if last:
            self._found.hold = at
        elif not self._ended:
            self._found.code = (at, len(token))

    # ── brackets ──────────────────────────────────────────────────────────────────────────────
    def _bracket(self, at: int) -> None:
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
            found.hold = at
        else:
            del found.open[index]
            self._doubtful = self._doubtful or target is not None

    def _may_hold(self, start: int, at: int) -> bool:
        """Whether so short a link may wait for its address to end."""
        return at - start <= LONGEST_LABEL and len(self._text) - at <= LONGEST_TARGET

    def _drop_brackets(self) -> None:
        found = self._found
        near = found.hold - LONGEST_LABEL
        for opener in found.open:
            if opener.char == "[" and opener.at >= near:
                found.dropped.append((opener.at, opener.at + opener.length))
        found.open = [opener for opener in found.open if opener.char != "["]

    # ── emphasis ──────────────────────────────────────────────────────────────────────────────
    def _delimiter(self, token: str, at: int) -> None:
        if len(token) > LONGEST_RUN:
            return
        if token[0] == "_" and not self._ended and may_be_of_address(self._text, at, self._at):
            self._found.hold = at
            return
        opens, closes = _flanks(self._text, at, self._at)
        left = len(token)
        while closes and left:
            used = self._close(token, at, left, both=opens and closes)
            if not used:
                break
            left -= used
        if left and opens and not (token[0] == "~" and len(token) != 2):
            start = self._at - left
            self._push(Opener(start, token[0], left, closes, len(token)))

    def _close(self, token: str, at: int, left: int, *, both: bool) -> int:
        """Match the nearest opener, if there is one; how many characters that takes."""
        stack = self._found.open
        for index in reversed(range(len(stack))):
            opener = stack[index]
            if opener.char != token[0] or _three(opener, len(token), both):
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


def _three(opener: Opener, length: int, both: bool) -> bool:
    """CommonMark's rule of three: such a pair is none."""
    if not (opener.both or both) or opener.char in "~|":
        return False
    return (opener.original + length) % 3 == 0 and not (
        opener.original % 3 == 0 and length % 3 == 0
    )


def _flanks(text: str, start: int, end: int) -> Flanks:
    """What a run may do; a spoiler's bars hug their text and stand outside of words."""
    if text[start] != "|":
        return flanks(text, start, end)
    before, after = text[start - 1 : start], text[end : end + 1]
    opens = bool(after.strip()) and not (before.isascii() and before.isalnum())
    closes = bool(before.strip()) and not (after.isascii() and after.isalnum())
    return Flanks(opens, closes)
