"""Decides which runs of `*`, `_` and `~` may open and close emphasis.

The rule is CommonMark's with two changes, which every parser of the project shares:

- Scripts written without spaces. CommonMark rejects `**注意：**请备份`, because the
  closing run stands between punctuation and a letter. Wide punctuation counts as a letter here, and
  a letter beyond ASCII as an edge, as in https://github.com/tats-u/markdown-cjk-friendly
  (specification.md), extended to Thai, Arabic and all other scripts.
- Arithmetic and file patterns (`2**3**4`, `src/**/*.ts`) are text, and so are the underscores of a
  bare web address (`https://example.org/__init__.py`), of a program's name (`__init__`) and of a
  blank to fill in (`____`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from bot.replies.markdown.code_names import is_name_mark

LONGEST_RUN = 64
"""The longest run that may be emphasis; a longer one is a drawn line."""

LONGEST_UNDERSCORES = 3
"""The same for underscores: more are a blank to fill in (`____是首都，____。`)."""

LONGEST_ADDRESS = 1_000
"""How many characters before an underscore are searched for the start of a web address."""

_ADDRESS = re.compile(r"https?://[^\s<>\"`|\\*\[\]]*+", re.IGNORECASE)
_ADDRESS_CONTINUES = re.compile(r"[.?&#=+%:,;~-]?[A-Za-z0-9]|/|[.?&#=+%:,;~-]_")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_SLASHES = frozenset("/\\")
_BEFORE_PATTERN = frozenset("|,([{:=")


class Flanks(NamedTuple):
    """Whether a delimiter run may open and close emphasis."""

    opens: bool
    closes: bool


def flanks(text: str, start: int, end: int, limit: int | None = None) -> Flanks:
    """Whether the run `text[start:end]` may open and close; ignores text from `limit` on."""
    if text[start] == "_" and end - start > LONGEST_UNDERSCORES:
        return Flanks(False, False)
    before, after = _neighbors(text, start, end, limit)
    found = _flanks(text[start], _blocks(before), _blocks(after), before, after)
    if found == (False, False) or text[start] == "~":
        return found
    if text[start] == "_":
        inside = _ADDRESS_CONTINUES.match(text, end) and _follows_address(text, start)
        is_plain = inside or is_name_mark(text, start, end)
        return Flanks(False, False) if is_plain else found
    return _without_patterns(found, text, start, end, before, after)


def may_continue_address(text: str, start: int, end: int) -> bool:
    """Whether the next character will decide if the underscores are part of a web address."""
    return end + 1 == len(text) and text[end] in ".?&#=+%:,;~-" and _follows_address(text, start)


def _follows_address(text: str, at: int) -> bool:
    """Whether a bare web address continues up to `at`."""
    since = max(0, at - LONGEST_ADDRESS)
    scheme = text.rfind("://", since, at)
    if scheme < 0:
        return False
    found = _ADDRESS.match(text, max(0, scheme - 5), at) or _ADDRESS.match(
        text, max(0, scheme - 4), at
    )
    return found is not None and found.end() == at


def commonmark_flanks(text: str, start: int, end: int) -> Flanks:
    """Apply CommonMark's unchanged rule, for platforms that parse Markdown themselves."""
    before, after = _neighbors(text, start, end, None)
    kinds = _kind(before), _kind(after)
    left = kinds[1] != "space" and (kinds[1] != "mark" or kinds[0] != "letter")
    right = kinds[0] != "space" and (kinds[0] != "mark" or kinds[1] != "letter")
    return _by_character(text[start], left, right, kinds[0] == "mark", kinds[1] == "mark")


@lru_cache(4_096)
def is_wide(char: str) -> bool:
    """Whether a character belongs to a script that needs no spaces around emphasis."""
    return char > "\x7f" and not char.isspace() and unicodedata.category(char)[0] in "LMCPS"


def is_punctuation(char: str) -> bool:
    """Whether a character is punctuation or a symbol."""
    return _kind(char) == "mark"


def _flanks(char: str, blocks: bool, blocked: bool, before: str, after: str) -> Flanks:
    """The flanks of a run between the characters `before` and `after`.

    `blocks` and `blocked`: `before` and `after` are punctuation of a script that uses spaces.
    """
    left = not after.isspace() and (not blocked or _edge(before))
    right = not before.isspace() and (not blocks or _edge(after))
    return _by_character(char, left, right, is_punctuation(before), is_punctuation(after))


def _by_character(
    char: str, left: bool, right: bool, mark_before: bool, mark_after: bool
) -> Flanks:
    if char == "_":
        return Flanks(left and (not right or mark_before), right and (not left or mark_after))
    return Flanks(left, right)


def _without_patterns(
    found: Flanks, text: str, start: int, end: int, before: str, after: str
) -> Flanks:
    """Restrict `found` for arithmetic and file patterns, whose marks are not emphasis."""
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
        before = text[start - 2]  # the character that a variation selector modifies
    last = len(text) if limit is None else limit
    return before, text[end] if end < last else " "


def _edge(char: str) -> bool:
    return _kind(char) != "letter" or is_wide(char)


def _blocks(char: str) -> bool:
    """Whether a character is punctuation of a script that uses spaces, and may block emphasis."""
    return _kind(char) == "mark" and not _is_wide_punctuation(char)


@lru_cache(2_048)
def _is_wide_punctuation(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WFH" and char > "\x7f"


@lru_cache(2_048)
def _kind(char: str) -> str:
    """The kind of a character: `space`, `mark` (punctuation, symbols) or `letter` (the rest)."""
    if char.isspace():
        return "space"
    return "mark" if unicodedata.category(char)[0] in "PS" else "letter"
