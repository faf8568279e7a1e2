"""Formulas as HTML: the page draws each marked source, or shows the source if it cannot.

A formula is `<span class="math">` around its source with its delimiters. The page without KaTeX,
the clipboard and a failed drawing thus show what the model wrote.
"""

from __future__ import annotations

import re
from html import escape

_CLOSERS = {"$$": "$$", "\\[": "\\]"}
_BEGIN = re.compile(r"\\begin\{([A-Za-z]{1,30}\*?)\}")
_AFTER = re.compile(r"[ \t]*[.,;:!?]?")
"""Punctuation that may follow a displayed formula because it ends the surrounding sentence."""


def inline_formula(source: str) -> str:
    """A formula within a line of text."""
    return f'<span class="math">{escape(source)}</span>'


def formula_block(source: str, *, ended: bool) -> str:
    """A formula on separate lines; plain text while it has no end or if more text follows it."""
    bare = source.strip()
    after = _end(bare) if ended else None
    if after is None:
        return f"<p>{escape(source).replace(chr(10), '<br />' + chr(10))}</p>\n"
    return f"<p>{inline_formula(bare[:after])}{escape(bare[after:].strip())}</p>\n"


def _end(source: str) -> int | None:
    """The offset after the formula's closing mark, or None if text follows it."""
    begin = _BEGIN.match(source)
    closer = f"\\end{{{begin[1]}}}" if begin else _CLOSERS[source[:2]]
    at = source.find(closer, 2)
    end = at + len(closer)
    return end if at >= 0 and _AFTER.fullmatch(source, end) else None
