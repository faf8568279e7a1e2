r"""Finds where LaTeX formulas begin and end; their source is shown unchanged.

Recognizes `$x_1$`, `$$…$$`, `\(…\)`, `\[…\]` and `\begin{name}…\end{name}`. Prices and shell
variables (`$5 or $10`, `$HOME`) are text. Invariant: every function looks at a bounded number of
characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum

LONGEST_INLINE = 240
"""The longest formula within a line, between two single dollars, in characters."""

LONGEST_DISPLAY = 4_000
"""The longest displayed formula or environment, in characters."""

_SHORT = 12  # longest formula that contains no sign from _SIGNS, such as `$f(x)$`
_BRIEF = 16  # characters after a dollar to hold back until they look like a formula
_SIGNS = frozenset("\\^_=<>+{}")
_NO_FORMULA = ("**", "](", "`")
_PRICE = re.compile(r"\$\d[\d,.]*[kKmMbB]?(?:[\s,.;:!?)/–—-]\s*[^\W\d_]|\s*$)")
_VARIABLE = re.compile(r"\$[A-Z_][A-Z0-9_]+(?![A-Za-z0-9_{^\\])")
_BEGIN = re.compile(r"\\begin\{([A-Za-z]{1,30}\*?)\}")
_BLOCK = re.compile(r"(?:\$\$(?!\$)|\\\[|\\begin\{([A-Za-z]{1,30}\*?)\})")
_PAIRS = {"$$": "$$", "\\(": "\\)", "\\[": "\\]"}


class OpenFormula(Enum):
    """How likely a text whose end has not arrived is a formula rather than a price."""

    LIKELY = "likely"
    POSSIBLE = "possible"


def formula_end(text: str, at: int, limit: int | None = None) -> int | None:
    r"""The offset after the formula starting with the `$` or `\` at `at`; None for plain text."""
    last = len(text) if limit is None else limit
    opener = text[at : at + 2]
    if opener in _PAIRS:
        return _paired(text, at, last, opener)
    if opener == "\\b":
        begin = _BEGIN.match(text, at, last)
        closer = f"\\end{{{begin[1]}}}" if begin else ""
        end = text.find(closer, at, min(last, at + LONGEST_DISPLAY)) if begin else -1
        return end + len(closer) if end >= 0 else None
    return _between_dollars(text, at, last) if text[at] == "$" else None


def open_formula(text: str, at: int) -> OpenFormula | None:
    """Whether the text at `at` may be a formula whose end has not arrived yet."""
    opener, rest = text[at : at + 2], len(text) - at
    if opener in _PAIRS or opener == "\\b":
        if opener == "\\b" and not "\\begin{".startswith(text[at : at + 7]):
            return None
        return OpenFormula.LIKELY if rest <= LONGEST_INLINE else None
    if text[at] != "$" or rest > LONGEST_INLINE or rest == 1:
        return OpenFormula.LIKELY if text[at] == "$" and rest == 1 else None
    following = text[at + 1 :]
    if "\n" in following or following[0].isspace() or any(s in following for s in _NO_FORMULA):
        return None
    if "$" in following[:-1] or (_VARIABLE.match(text, at) and following[-1].isspace()):
        return None
    if not following.endswith("$") and _PRICE.match(text, at):
        return None
    signed = not _SIGNS.isdisjoint(following)
    likely = signed or following.endswith("$") or rest <= _BRIEF
    return OpenFormula.LIKELY if likely else OpenFormula.POSSIBLE


def formula_block_closer(line: str) -> str | None:
    r"""The closing mark if `line` starts a formula that continues below; otherwise None.

    Such a line is `$$` or `\[`, alone or followed by part of the formula, or it starts an
    environment.
    """
    bare = line.strip()
    begin = _BLOCK.match(bare)
    if begin is None:
        return None
    if begin[1]:
        closer = f"\\end{{{begin[1]}}}"
        return closer if closer not in bare else None
    closer, inside = _PAIRS[bare[:2]], bare[2:]
    alone = not inside or not _SIGNS.isdisjoint(inside)
    return closer if alone and closer not in inside else None


def formula_block_length(line: Callable[[int], str | None], first: int) -> tuple[int, bool]:
    """Number of lines in the formula that starts at line `first` (0: none), and whether it ended.

    `line` returns a line by its number, or None after the last one. An empty line also stops a
    formula, which then has not ended.
    """
    closer = formula_block_closer(line(first) or "")
    if closer is None:
        return 0, False
    number = first + 1
    while (found := line(number)) is not None and found.strip():
        number += 1
        if closer in found:
            return number - first, True
    return number - first, False


def _paired(text: str, at: int, last: int, opener: str) -> int | None:
    if opener == "$$" and text[at + 2 : at + 3] == "$":
        return None
    most = LONGEST_DISPLAY if opener != "\\(" else 4 * LONGEST_INLINE
    end = text.find(_PAIRS[opener], at + 2, min(last, at + most))
    if end < 0 or not text[at + 2 : end].strip():
        return None
    content = text[at + 2 : end].strip()
    if opener == "\\[" and _SIGNS.isdisjoint(content):  # `\[1\]` is an escaped bracket
        return None
    displayed = opener == "$$" and _begins_line(text, at)
    if not displayed and not _looks_like_formula(content):  # `$$5 or $$10` are prices
        return None
    return end + 2


def _begins_line(text: str, at: int) -> bool:
    """Whether only a few blanks precede `at` in its line."""
    before = text[max(0, at - 4) : at]
    return not before.rpartition("\n")[2].strip(" \t")


def _between_dollars(text: str, at: int, last: int) -> int | None:
    most = min(last, at + LONGEST_INLINE)
    end = text.find("$", at + 1, most)
    while end > 0 and text[end - 1] == "\\":
        end = text.find("$", end + 1, most)
    content = text[at + 1 : end] if end > 0 else ""
    if not content or content[0].isspace() or content[-1].isspace() or "\n" in content:
        return None
    following = text[end + 1] if end + 1 < last else " "
    before = text[at - 1] if at else " "
    if following == "{" or _is_ascii_word(following) or _is_ascii_word(before) or before in "\\$":
        return None
    if "\\$" in content and "\\text" not in content:  # text between escaped dollars is prose
        return None
    if following == "$" or _PRICE.match(text, at, end) or not _looks_like_formula(content):
        return None
    return end + 1


def _looks_like_formula(content: str) -> bool:
    if any(sign in content for sign in _NO_FORMULA):
        return False
    if not _SIGNS.isdisjoint(content):
        return True
    return len(content) <= _SHORT and not any(map(str.isspace, content))


def _is_ascii_word(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "_")
