"""Which runs of `*`, `_` and `~` may begin and end emphasis.

The rule is CommonMark's, with three changes that every parser of the project shares:

- Scripts that are written without spaces. CommonMark refuses `**注意：**请备份`, because the
  closing run stands between punctuation and a letter. Wide punctuation counts as a letter here, and
  a letter beyond ASCII as an edge, as in https://github.com/tats-u/markdown-cjk-friendly
  (specification.md), extended to Thai, Arabic and all other scripts.
- Arithmetic and file patterns (`2**3**4`, `src/**/*.ts`) are text, and so are the underscores of a
  bare web address (`https://example.org/__init__.py`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

LONGEST_RUN = 64
"""Marks in a row that may still be emphasis: a longer run is a drawn line."""

LONGEST_ADDRESS = 1_000
"""Characters before an underscore in which the beginning of its web address is looked for."""

_ADDRESS = re.compile(r"https?://[^\s<>\"`|\\*\[\]]*+", re.IGNORECASE)
_ADDRESS_GOES_ON = re.compile(r"[.?&#=+%:,;~-]?[A-Za-z0-9]|/|[.?&#=+%:,;~-]_")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_SLASHES = frozenset("/\\")
_BEFORE_PATTERN = frozenset("|,([{:=")


class Flanks(NamedTuple):
    """What a run of delimiters may do."""

    opens: bool
    closes: bool


def flanks(text: str, start: int, end: int, limit: int | None = None) -> Flanks:
    """What the run `text[start:end]` may do; nothing at or after `limit` counts."""
    before, after = _neighbors(text, start, end, limit)
    found = _flanks(text[start], _blocks(before), _blocks(after), before, after)
    if found == (False, False) or text[start] == "~":
        return found
    if text[start] == "_":
        inside = _ADDRESS_GOES_ON.match(text, end) and _follows_address(text, start)
        return Flanks(False, False) if inside else found
    return _without_patterns(found, text, start, end, before, after)


def may_be_of_address(text: str, start: int, end: int) -> bool:
    """Whether the next character tells if a run of underscores belongs to a web address."""
    return end + 1 == len(text) and text[end] in ".?&#=+%:,;~-" and _follows_address(text, start)


def _follows_address(text: str, at: int) -> bool:
    """Whether a bare web address reaches from its beginning to `at` at least."""
    since = max(0, at - LONGEST_ADDRESS)
    scheme = text.rfind("://", since, at)
    if scheme < 0:
        return False
    found = _ADDRESS.match(text, max(0, scheme - 5), at) or _ADDRESS.match(
        text, max(0, scheme - 4), at
    )
    return found is not None and found.end() == at


def strict_flanks(text: str, start: int, end: int) -> Flanks:
    """The same by CommonMark's rule alone, for platforms with a parser of their own."""
    before, after = _neighbors(text, start, end, None)
    kinds = _kind(before), _kind(after)
    left = kinds[1] != "space" and (kinds[1] != "mark" or kinds[0] != "letter")
    right = kinds[0] != "space" and (kinds[0] != "mark" or kinds[1] != "letter")
    return _by_character(text[start], left, right, kinds[0] == "mark", kinds[1] == "mark")


@lru_cache(4_096)
def is_wide(char: str) -> bool:
    """Whether a character belongs to a script that puts no spaces around emphasis."""
    return char > "\x7f" and not char.isspace() and unicodedata.category(char)[0] in "LMCPS"


def is_mark(char: str) -> bool:
    """Whether a character is punctuation or a symbol."""
    return _kind(char) == "mark"


def _flanks(char: str, blocks: bool, blocked: bool, before: str, after: str) -> Flanks:
    """`blocks` and `blocked`: the character before, and after, is punctuation of spaced scripts."""
    left = not after.isspace() and (not blocked or _edge(before))
    right = not before.isspace() and (not blocks or _edge(after))
    return _by_character(char, left, right, is_mark(before), is_mark(after))


def _by_character(
    char: str, left: bool, right: bool, mark_before: bool, mark_after: bool
) -> Flanks:
    if char == "_":
        return Flanks(left and (not right or mark_before), right and (not left or mark_after))
    return Flanks(left, right)


def _without_patterns(
    found: Flanks, text: str, start: int, end: int, before: str, after: str
) -> Flanks:
    """`found` without what arithmetic and file patterns would take for emphasis."""
    opens, closes = found
    single = end - start == 1
    if before.isascii() and after.isascii() and before.isalnum() and after.isalnum():
        if before.isdigit() or after.isdigit():
            return Flanks(False, closes and not (before.isdigit() and after.isdigit()))
        return found
    if before in _SLASHES and not after.isalnum():
        return Flanks(False, closes and not single and after not in "/.*?{")
    if (before in _OPENING and after in _CLOSING) or (
        single and before in _CLOSING and after in _OPENING
    ):
        return Flanks(False, False)
    if before in _BEFORE_PATTERN and after in "./":
        closes = False
    following = text[end + 1 : end + 2]
    if (after == "." and single and following.isalnum()) or (after == "/" and following == "*"):
        opens = False
    return Flanks(opens, closes)


def _neighbors(text: str, start: int, end: int, limit: int | None) -> tuple[str, str]:
    before = text[start - 1] if start else " "
    if start > 1 and ("\ufe00" <= before <= "\ufe0f" or before >= "\U000e0100"):
        before = text[start - 2]  # what a variation selector belongs to
    last = len(text) if limit is None else limit
    return before, text[end] if end < last else " "


def _edge(char: str) -> bool:
    return _kind(char) != "letter" or is_wide(char)


def _blocks(char: str) -> bool:
    """Whether a character is punctuation of a script with spaces."""
    return _kind(char) == "mark" and not _is_wide_punctuation(char)


@lru_cache(2_048)
def _is_wide_punctuation(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WFH" and char > "\x7f"


@lru_cache(2_048)
def _kind(char: str) -> str:
    """`space`, `mark` (punctuation and symbols) or `letter` (everything else)."""
    if char.isspace():
        return "space"
    return "mark" if unicodedata.category(char)[0] in "PS" else "letter"
