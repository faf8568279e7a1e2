"""Renders emphasis for a terminal: bold, italic and struck-through text instead of Markdown marks.

Code, headings, lists and tables stay Markdown, which people are used to reading in terminals.
Invariant: later text never changes the output for earlier text.
"""

from __future__ import annotations

from functools import lru_cache

from bot.replies.markdown.inline import Span, parse_inline
from bot.replies.markdown.segments import Segment, split_segments

CACHED_SEGMENTS = 512  # a growing reply changes only its last segment

# Sequences that switch a style on and off (ECMA-48, Select Graphic Rendition).
_STYLES = {
    "**": ("\x1b[1m", "\x1b[22m"),
    "__": ("\x1b[1m", "\x1b[22m"),
    "*": ("\x1b[3m", "\x1b[23m"),
    "_": ("\x1b[3m", "\x1b[23m"),
    "~~": ("\x1b[9m", "\x1b[29m"),
}


def style_emphasis(markdown: str) -> str:
    """Replace emphasis marks in `markdown` with terminal sequences."""
    return "".join(map(_render_segment, split_segments(markdown)))


def _render_segment(segment: Segment) -> str:
    return segment.text if segment.code else _style_text(segment.text)


@lru_cache(CACHED_SEGMENTS)
def _style_text(text: str) -> str:
    edits: dict[int, tuple[int, str]] = {}
    for span in parse_inline(text, ended=True).spans:
        edits.update(_edits(span))
    parts, at = [], 0
    for start in sorted(edits):
        end, sequence = edits[start]
        parts += [text[at:start], sequence]
        at = end
    return "".join([*parts, text[at:]])


def _edits(span: Span) -> dict[int, tuple[int, str]]:
    """Replacements for the marks of one span: start → (end, sequence)."""
    style = _STYLES.get(span.delimiter)
    if style is None:
        return {}
    width = len(span.delimiter)
    return {
        span.start: (span.start + width, style[0]),
        span.end - width: (span.end, style[1]),
    }
