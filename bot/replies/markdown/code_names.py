r"""Names from programs in prose that CommonMark would mangle: `__init__.py`, `%APPDATA%\.config`.

Models often write them without backticks. Two underscores on both sides would make them bold, and a
backslash before punctuation would vanish. Invariant: every function looks at a bounded number of
characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST_NAME = 40
"""The most characters of a name with two underscores on both sides."""

LONGEST_PATH = 260
"""The most characters of a path, as on Windows."""

_NAME = re.compile(r"__([a-z][a-z0-9]*(?:_[a-z0-9]+)*)__(?!_)|__(?:dirname|filename)(?![\w*])")
_UNFINISHED = re.compile(r"__(?:[a-z][a-z0-9_]*[.]?)?")
_CONTINUES = re.compile(r"[(\[/\\]|\.[A-Za-z]")
_JOINED = frozenset("/.")
_KNOWN = re.compile(
    "all|annotations|builtins|call|class|cls|contains|debug|del|delattr|delitem|dict|dirname|doc"
    "|enter|eq|exit|file|filename|func|future|ge|getattr|getattribute|getitem|gt|hash|import|init"
    "|init_subclass|iter|le|len|line|lt|main|missing|mocks|mod|module|name|ne|new|next|package|path"
    "|post_init|proto|pycache|qualname|reduce|repr|self|setattr|setitem|setstate|slots|snapshots"
    "|spec|str|subclasshook|test|tests|typename|version|weakref"
)
_ROOT = r"(?:[A-Za-z]:|%\w{1,40}%|\$env:\w{1,40}|~|\.{1,2}|\\\\[\w.$-]{1,80}|HK[A-Z_]{2,30})"
_PATH = re.compile(rf"{_ROOT}(?:\\[^\\\s]{{0,80}})*+")
_SHARE = re.compile(r"\\\\[A-Za-z0-9][\w.$-]{0,80}\\(?!\\)")
_UNFINISHED_SHARE = re.compile(r"\\\\(?:[A-Za-z0-9][\w.$-]{0,80}\\?)?")
_ESCAPED = frozenset(
    "!\"#$%&'()*+,-./:;<=>?@[]^_{}~\n\r"
)  # not `|` and `` ` ``: for tables and code
_BEFORE_PATH = re.compile(r"[\s\"'`(<\[|=，。：（「]")


def is_name_mark(text: str, start: int, end: int) -> bool:
    """Whether the underscores `text[start:end]` begin or end a name such as `__init__`."""
    if end - start != 2:
        return False
    if _is_name(text, start):
        return True
    since = max(0, end - LONGEST_NAME)
    begin = text.rfind("__", since, start)
    return begin >= 0 and _is_name(text, begin, end)


def may_begin_name(text: str, start: int) -> bool:
    """Whether text still to come may decide if the underscores at `start` begin a name."""
    return len(text) - start <= LONGEST_NAME and _UNFINISHED.fullmatch(text, start) is not None


def names(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Start and end of each such name in `text[start:end]`."""
    for found in _NAME.finditer(text, start, end):
        if _is_name(text, found.start()):
            yield found.span()


def keeps_backslash(text: str, at: int) -> bool:
    """Whether the backslash at `at` is part of a Windows path although it could be an escape."""
    if text.startswith("\\\\", at):
        return _SHARE.match(text, at) is not None and _begins_word(text, at)
    if text[at + 1 : at + 2] not in _ESCAPED:
        return False
    if text[at - 1 : at] == "¯":  # an arm: ¯\_(ツ)_/¯
        return True
    since = max(0, at - LONGEST_PATH)
    begin = max((found.end() for found in _BEFORE_PATH.finditer(text, since, at)), default=since)
    if not text[begin:at].strip(".~"):  # `.\*` is rather a pattern
        return text[begin:at] in (".", "..", "~") and text[at + 1] in "._"
    return _PATH.fullmatch(text, begin, at) is not None


def may_begin_share(text: str, at: int) -> bool:
    """Whether text still to come may decide if two backslashes at `at` begin a network path."""
    return _UNFINISHED_SHARE.fullmatch(text, at) is not None and _begins_word(text, at)


def _is_name(text: str, start: int, end: int | None = None) -> bool:
    found = _NAME.match(text, start, start + LONGEST_NAME)
    if found is None or (end is not None and found.end() != end):
        return False
    if text[start - 1 : start] in ("_", "\\"):
        return False
    joined = start > 0 and text[start - 1] in _JOINED
    known = found[1] is None or _KNOWN.fullmatch(found[1]) is not None
    return known or joined or _CONTINUES.match(text, found.end()) is not None


def _begins_word(text: str, at: int) -> bool:
    return at == 0 or _BEFORE_PATH.match(text, at - 1) is not None
