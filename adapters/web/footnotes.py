"""Footnotes: `[^1]` in a text, and `[^1]: …` wherever the model wrote it, usually at the end.

Each is rendered in place and independently of the other, because a growing answer is rendered block
by block. The page links them, and shows a reference without a footnote as text. `mdit-py-plugins`
works differently: it numbers and moves footnotes in whole documents.
"""

from __future__ import annotations

import re
from html import escape

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

LONGEST_LABEL = 40
"""The most characters of a label."""

INDENT = 4
"""How many columns to indent a footnote's further lines."""

_LABEL = rf"\[\^([^\s\[\]^\\`]{{1,{LONGEST_LABEL}}})\]"
_REFERENCE = re.compile(rf"{_LABEL}(?!\()")
_DEFINITION = re.compile(rf"{_LABEL}:[ \t]*")


def add_footnotes(parser: MarkdownIt) -> None:
    """Let `parser` find footnotes: the tokens `footnote_ref`, `footnote_open` and
    `footnote_close`, with the label in the first two's `content`."""
    parser.inline.ruler.before("link", "footnote_ref", _reference)
    parser.block.ruler.before(
        "reference", "footnote", _definition, {"alt": ["paragraph", "reference"]}
    )


def reference_html(label: str) -> str:
    """A reference to a footnote."""
    return f'<span class="ref">[^{escape(label)}]</span>'


def opening_html(label: str) -> str:
    """The beginning of a footnote."""
    return f'<div class="note" data-note="{escape(label)}">\n'


def _reference(state: StateInline, silent: bool) -> bool:
    found = _REFERENCE.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        state.push("footnote_ref", "", 0).content = found[1]
    state.pos = found.end()
    return True


def _definition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    begin = state.bMarks[start] + state.tShift[start]
    found = _DEFINITION.match(state.src, begin, state.eMarks[start])
    if found is None or state.is_code_block(start):
        return False
    if silent:
        return True
    opening = state.push("footnote_open", "div", 1)
    opening.content, opening.map = found[1], [start, start + 1]
    _tokenize_inside(state, start, end, found.end())
    opening.map[1] = state.line
    state.push("footnote_close", "div", -1)
    return True


def _tokenize_inside(state: StateBlock, start: int, end: int, content: int) -> None:
    """Parse the rest of the first line, and the indented lines below it, as in a list item."""
    kept = state.bMarks[start], state.tShift[start], state.sCount[start]
    around = state.blkIndent, state.parentType
    state.blkIndent += INDENT
    state.bMarks[start], state.tShift[start], state.sCount[start] = content, 0, state.blkIndent
    state.parentType = "footnote"
    state.md.block.tokenize(state, start, end)
    state.bMarks[start], state.tShift[start], state.sCount[start] = kept
    state.blkIndent, state.parentType = around
