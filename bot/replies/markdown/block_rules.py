"""The dialect's markdown-it block rules: tables, formulas, fenced Markdown, link definitions."""

from __future__ import annotations

import re

from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock, lheading, reference

from bot.replies.markdown.fences import FenceStack, contains_markdown
from bot.replies.markdown.math import formula_block_length
from bot.replies.markdown.table_rows import alignments, count_header_cells, split_cells

MOST_CELLS = 20_000
"""The most empty cells to add to a table's short rows: a few bytes of source could demand many."""

LONGEST_TITLE = 100
"""The most characters of a title above a line of dashes."""

TIGHT_HEADING = re.compile(r"#{2,6}(?=[^\W_]|\*)")
_CLOSING_MARKS = re.compile(r"[ \t]#+[ \t]*$")
_SENTENCE_ENDS = frozenset(".!?:;,…。！？：；，、؟।۔)）」』】”\"'")

INTERRUPTS: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
_FENCE = re.compile(r"(`{3,}+|~{3,}+)[ \t]*+([^`\n]*+)")


def definition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A link definition, which is shown as text in addition to taking effect.

    A list of sources often defines links that the text never uses, and the link may be on another
    page. Footnotes are not definitions.
    """
    at = state.bMarks[start] + state.tShift[start]
    if state.src.startswith("[^", at) or not reference(state, start, end, silent):
        return False
    if not silent:
        lines = range(start, state.line)
        state.push("paragraph_open", "p", 1).map = [start, state.line]
        inline = state.push("inline", "", 0)
        inline.content = "\\" + "\n".join(_line(state, number) for number in lines)
        inline.map, inline.children = [start, state.line], []
        state.push("paragraph_close", "p", -1)
    return True


def underlined_title(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A heading with a line of `=` or `-` below it; dashes below a sentence are a rule.

    Models write `---` between sections, often without the empty line that CommonMark wants above.
    """
    begun, kind = len(state.tokens), state.parentType
    if silent or not lheading(state, start, end, silent):
        return False
    opening, title = state.tokens[begun], state.tokens[begun + 1].content
    if opening.markup == "=" or may_be_title(title):
        return True
    del state.tokens[begun:]
    state.line, state.parentType = start, kind
    return False


def tight_heading(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A heading without a blank behind its marks (`##标题`); one mark alone begins a hashtag."""
    if _first(state, start) != "#" or state.is_code_block(start):
        return False
    line = _line(state, start)
    marks = TIGHT_HEADING.match(line)
    if marks is None or silent:
        return marks is not None
    level, place = len(marks[0]), [start, start + 1]
    opening = state.push("heading_open", f"h{level}", 1)
    opening.markup, opening.map = marks[0], place
    inline = state.push("inline", "", 0)
    inline.content = _CLOSING_MARKS.sub("", line[level:]).strip()
    inline.map, inline.children = place, []
    state.push("heading_close", f"h{level}", -1).markup = marks[0]
    state.line = start + 1
    return True


def may_be_title(text: str) -> bool:
    """Whether a paragraph with dashes below it looks like a title: short, in one line, no
    sentence."""
    bare = text.strip().rstrip("*_")
    return len(bare) <= LONGEST_TITLE and "\n" not in bare and bare[-1:] not in _SENTENCE_ENDS


def _line(state: StateBlock, number: int) -> str:
    """A line without the markers and indentation of its containers."""
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]


def _first(state: StateBlock, number: int) -> str:
    """The first character of a line (a line feed if empty), enough to skip most lines cheaply."""
    at = state.bMarks[number] + state.tShift[number]
    return state.src[at] if at < state.eMarks[number] else "\n"


def formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula that has its lines to itself."""
    if _first(state, start) not in "$\\" or state.is_code_block(start):
        return False

    def line(number: int) -> str | None:
        inside = number < end and state.sCount[number] >= state.blkIndent
        return _line(state, number) if inside else None

    length, ended = formula_block_length(line, start)
    if not length or silent:
        return length > 0
    token = state.push("math_block", "", 0)
    token.content = state.getLines(start, start + length, state.blkIndent, False)
    token.map = [start, start + length]
    token.meta = {"ended": ended}
    state.line = start + length
    return True


def nested_fence(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A fence whose language is Markdown; markdown-it's own rule handles all others."""
    if _first(state, start) not in "`~":
        return False
    opening = _FENCE.fullmatch(_line(state, start))
    if opening is None or not contains_markdown(opening[2]) or state.is_code_block(start):
        return False
    if silent:
        return True
    stack, number, ended = FenceStack.begin(opening[2], opening[1]), start + 1, False
    while number < end and not ended:
        if state.sCount[number] < state.blkIndent and _line(state, number):
            break
        indent = " " * max(0, state.sCount[number] - state.blkIndent)
        next_line = _line(state, number + 1) if number + 1 < end else None
        ended = stack.feed(indent + _line(state, number), next_line)
        number += 1
    token = state.push("fence", "code", 0)
    token.info, token.markup = opening[2], opening[1]
    token.content = state.getLines(start + 1, number - ended, state.sCount[start], True)
    token.map = [start, number]
    token.meta = {"ended": ended, "ambiguous": ended and stack.ambiguous}
    state.line = number
    return True


def pipe_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A GFM table, with cells split by `table_rows`."""
    if start + 2 > end or _first(state, start + 1) not in "|-:":
        return False
    if state.is_code_block(start) or state.is_code_block(start + 1):
        return False
    if state.sCount[start + 1] < state.blkIndent or "|" not in _line(state, start):
        return False
    aligned = alignments(_line(state, start + 1))
    if aligned is None or count_header_cells(_line(state, start), len(aligned)) != len(aligned):
        return False
    if silent:
        return True
    table = state.push("table_open", "table", 1)
    state.push("thead_open", "thead", 1).map = [start, start + 1]
    _row(state, start, aligned, "th")
    state.push("thead_close", "thead", -1)
    last = _body(state, start + 2, end, aligned)
    state.push("table_close", "table", -1)
    table.map = [start, last]
    state.line = last
    return True


def _body(state: StateBlock, first: int, end: int, aligned: list[str]) -> int:
    """Parse the rows below the header; returns the number of the line after them."""
    rules = state.md.block.ruler.getRules(
        "blockquote"
    )  # anything that may interrupt a quote ends a table
    kind, state.parentType = state.parentType, "table"
    number, missing = first, 0
    while number < end and state.sCount[number] >= state.blkIndent and _line(state, number).strip():
        if any(rule(state, number, end, True) for rule in rules) or state.is_code_block(number):
            break
        if number == first:
            body = state.push("tbody_open", "tbody", 1)
        missing += _row(state, number, aligned, "td")
        number += 1
        if missing > MOST_CELLS:
            break
    if number > first:
        body.map = [first, number]
        state.push("tbody_close", "tbody", -1)
    state.parentType = kind
    return number


def _row(state: StateBlock, number: int, aligned: list[str], tag: str) -> int:
    """Parse one row; returns how many cells it lacks."""
    cells = split_cells(_line(state, number), len(aligned))
    missing = len(aligned) - len(cells)
    state.push("tr_open", "tr", 1).map = [number, number + 1]
    for alignment, cell in zip(aligned, cells + [""] * missing, strict=True):
        token = state.push(f"{tag}_open", tag, 1)
        if alignment:
            token.attrs = {"style": f"text-align:{alignment}"}
        inline = state.push("inline", "", 0)
        inline.map, inline.content, inline.children = [number, number + 1], cell, []
        state.push(f"{tag}_close", tag, -1)
    state.push("tr_close", "tr", -1)
    return missing
