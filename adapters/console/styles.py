"""Emphasis in a terminal: bold, italic and struck text instead of its marks.

Code, headings, lists and tables stay as the Markdown that they are, which people read there every
day. Invariant: later text never changes the output for earlier text.
"""

from __future__ import annotations

from functools import lru_cache

from bot.replies.markdown.inline import Span, read
from bot.replies.paging.pieces import Piece, pieces

KEPT = 512  # pieces of replies; a growing one differs in its last piece only

# How a terminal switches each on and off (ECMA-48, Select Graphic Rendition).
_STYLES = {
    "**": ("\x1b[1m", "\x1b[22m"),
    "__": ("\x1b[1m", "\x1b[22m"),
    "*": ("\x1b[3m", "\x1b[23m"),
    "_": ("\x1b[3m", "\x1b[23m"),
    "~~": ("\x1b[9m", "\x1b[29m"),
}


def styled(markdown: str) -> str:
    """`markdown` with its emphasis as a terminal shows it."""
    return "".join(map(_piece, pieces(markdown)))


def _piece(piece: Piece) -> str:
    return piece.text if piece.code else _styled(piece.text)


@lru_cache(KEPT)
def _styled(text: str) -> str:
    edits: dict[int, tuple[int, str]] = {}
    for span in read(text, ended=True).spans:
        edits.update(_edits(span))
    parts, at = [], 0
    for start in sorted(edits):
        end, instead = edits[start]
        parts += [text[at:start], instead]
        at = end
    return "".join([*parts, text[at:]])


def _edits(span: Span) -> dict[int, tuple[int, str]]:
    style = _STYLES.get(span.delimiter)
    if style is None:
        return {}
    width = len(span.delimiter)
    return {
        span.start: (span.start + width, style[0]),
        span.end - width: (span.end, style[1]),
    }
