"""Markdown as plain text, for one-line previews and search results.

The functions remove marks from a part of a text that may begin and end anywhere. They are no full
parser: when in doubt, a character stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_FENCE = re.compile(r"^ {0,3}(?:`{3,}|~{3,}).*$", re.MULTILINE)
_MARKS = re.compile(
    r"""(?=[`~\[\]!\\|*_\#>+:\ -])(?:  # most characters begin no mark
      (?P<fence> ^\ {0,3}(?:`{3,}|~{3,}).*$ )
    | (?P<block> ^\ {0,3}(?:\#{1,6}\ |(?:>\ ?)++|[-*+]\ (?:\[[ xX]\]\ )?|\|?\ *:?-{3,}.*$) )
    | (?P<code> (?P<ticks>`++)(?P<literal>[^`\n]++)(?P=ticks) )
    | (?P<target> \]\([^)\n]*\)? )
    | (?P<opening> !?\[(?=[^\[\]\n]*+\]\() )
    | (?P<escape> \\[\\`*_{}\[\]()\#+.!|>~-] )
    | (?P<sign> ~~ | ` | \|
        | (?<!\w)_{1,3}(?=\S) | (?<=\S)_{1,3}(?!\w)
        | (?<![A-Za-z0-9])\*{1,3}(?=\S) | (?<=\S)\*{1,3}(?![A-Za-z0-9]) )
    )""",
    re.MULTILINE | re.VERBOSE,
)


def marks_of(
    text: str, start: int, stop: int, kept: Sequence[tuple[int, int]] = ()
) -> Iterator[tuple[int, int]]:
    """The spans of `text[start:stop]` that are invisible once the Markdown is rendered, in order.

    A fence's line or a link's address is not included if it overlaps one of the spans in `kept`.
    """
    for begin, end, has_words in _marks(text, start, stop):
        if not has_words or not any(begin < last and first < end for first, last in kept):
            yield begin, end


def _marks(text: str, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
    """The start and end of each mark, and whether the mark contains words."""
    in_code = sum(1 for _ in _FENCE.finditer(text, 0, start)) % 2 == 1
    for mark in _MARKS.finditer(text, start, stop):
        if mark["fence"] is not None:
            in_code = not in_code
            yield *mark.span(), True
        elif in_code:
            continue
        elif mark["code"] is not None:
            yield mark.start(), mark.start("literal"), False
            yield mark.end("literal"), mark.end(), False
        elif mark["escape"] is not None:
            yield mark.start(), mark.start() + 1, False
        else:
            yield *mark.span(), mark["target"] is not None


def plain(text: str) -> str:
    """The text without its marks."""
    kept, at = [], 0
    for start, end in marks_of(text, 0, len(text)):
        kept.append(text[at:start])
        at = end
    return "".join([*kept, text[at:]])
