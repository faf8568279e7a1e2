"""The inline markup of one paragraph: what is closed, what is still open, what cannot be told yet.

Invariant: reading is linear, and what is told of a place depends on later text only where a
delimiter has not found its partner.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

import regex  # type: ignore[import-untyped]  # it comes without types

LONGEST_LABEL = 300
"""Characters after which a bracket without its partner is taken for a bracket."""

_TOKENS = regex.compile(
    r"""\\(?:.|\n|$) | `+ | \*+ | _+ | ~+ | !?\[ | \] | <[^\s<>]*>? | &\#?\w{0,31}\Z | !$""",
    regex.VERBOSE | regex.DOTALL,
)
_RUN = regex.compile("`+")
_TARGET = regex.compile(
    r"""\(\s*+(?:<[^<>\n]*>|[^\s()<]?[^\s()]*+(?:\([^\s()]*+\)[^\s()]*+)*+)
        (?:\s+(?:"[^"]*+"|'[^']*+'|\([^()]*+\)))?\s*+\)""",
    regex.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Span:
    """Markup that is whole: its offsets, and its delimiter where it can be closed and reopened.

    `solid` spans (links, addresses, mentions) must not be cut at all.
    """

    start: int
    end: int
    delimiter: str = ""

    @property
    def solid(self) -> bool:
        """Whether a cut inside would break it."""
        return not self.delimiter


@dataclass(slots=True)
class Opener:
    """A delimiter that waits for its partner: emphasis (`*`, `_`, `~`), or a bracket."""

    at: int
    char: str
    length: int
    both: bool = False  # it could close as well: the rule of three asks
    original: int = 0


@dataclass(slots=True)
class Inline:
    """What was found. `hold` is the offset from which nothing can be told yet; `code` is an open
    code span (offset, backticks); `clean` an offset before which everything is decided.
    """

    spans: list[Span] = field(default_factory=list)
    open: list[Opener] = field(default_factory=list)
    code: tuple[int, int] | None = None
    hold: int = 0
    clean: int = 0
    dropped: list[tuple[int, int]] = field(default_factory=list)  # brackets of a link to be


def read(text: str, *, ended: bool) -> Inline:
    """The markup of `text`; `ended` tells that nothing follows, so that nothing has to wait."""
    return _Reader(text, ended).read()


class _Reader:
    def __init__(self, text: str, ended: bool) -> None:
        self._text, self._ended = text, ended
        self._found = Inline(hold=len(text))
        self._at = 0

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
        if self._found.open:
            return
        decided = max(self._text.rfind(" ", start, end), self._text.rfind("\n", start, end)) + 1
        if end == len(self._text) and self._text.find("@", decided) < 0:
            decided = end
        self._found.clean = max(self._found.clean, decided)

    def _take(self, token: str, at: int) -> None:
        char, last = token[0], self._at == len(self._text) and not self._ended
        if char == "`":
            self._code(token, at, last)
        elif char == "]":
            self._bracket(at)
        elif last and self._waits(token):
            self._found.hold = at
        elif char in "*_~":
            self._delimiter(token, at)
        elif token in ("[", "!["):
            self._found.open.append(Opener(at, "[", len(token)))
        elif char == "<":
            self._angle(token, at)

    def _waits(self, token: str) -> bool:
        """Whether a token at the end of the text may become another one."""
        if token[0] == "<":
            return token[-1] != ">" and len(token) <= LONGEST_LABEL
        if token[0] == "\\":
            return token in ("\\", "\\\n")
        return True

    def _angle(self, token: str, at: int) -> None:
        if token[-1] == ">" and len(token) > 2:
            self._found.spans.append(Span(at, self._at))
        else:
            self._at = at + 1

    def _code(self, token: str, at: int, last: bool) -> None:
        for run in _RUN.finditer(self._text, self._at):
            if len(run.group()) == len(token):
                if run.end() == len(self._text) and not self._ended:
                    break  # it may go on, and then it is another length
                self._found.spans.append(Span(at, run.end(), token))
                self._at = run.end()
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
            return
        opener = found.open[index]
        target = _TARGET.match(self._text, at + 1, partial=not self._ended)
        if target is not None and not target.partial:
            del found.open[index:]
            found.spans.append(Span(opener.at, target.end()))
            self._at = target.end()
        elif target is not None and at - opener.at <= LONGEST_LABEL:
            found.hold = at
        else:
            del found.open[index]

    def _drop_brackets(self) -> None:
        found = self._found
        near = found.hold - LONGEST_LABEL
        for opener in found.open:
            if opener.char == "[" and opener.at >= near:
                found.dropped.append((opener.at, opener.at + opener.length))
        found.open = [opener for opener in found.open if opener.char != "["]

    # ── emphasis ──────────────────────────────────────────────────────────────────────────────
    def _delimiter(self, token: str, at: int) -> None:
        opens, closes = _flanks(self._text, at, self._at, token[0])
        left = len(token)
        while closes and left:
            used = self._close(token, at, left, both=opens and closes)
            if not used:
                break
            left -= used
        if left and opens and not (token[0] == "~" and len(token) != 2):
            start = self._at - left
            self._found.open.append(Opener(start, token[0], left, closes, len(token)))

    def _close(self, token: str, at: int, left: int, *, both: bool) -> int:
        """Match the nearest opener, if there is one; how many characters that takes."""
        stack = self._found.open
        for index in reversed(range(len(stack))):
            opener = stack[index]
            if opener.char != token[0] or _three(opener, len(token), both):
                continue
            used = 2 if min(opener.length, left) >= 2 else 1
            if token[0] == "~" and used != 2:
                continue
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
    if not (opener.both or both) or opener.char == "~":
        return False
    return (opener.original + length) % 3 == 0 and not (
        opener.original % 3 == 0 and length % 3 == 0
    )


def _flanks(text: str, start: int, end: int, char: str) -> tuple[bool, bool]:
    """Whether a run of delimiters may open, and whether it may close."""
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    left = not after.isspace() and (not _punctuation(after) or _edge(before))
    right = not before.isspace() and (not _punctuation(before) or _edge(after))
    if char == "_":
        opens = left and (not right or _punctuation(before))
        return opens, right and (not left or _punctuation(after))
    return left, right


def _edge(char: str) -> bool:
    return char.isspace() or _punctuation(char)


def _punctuation(char: str) -> bool:
    return unicodedata.category(char)[0] in "PS"
