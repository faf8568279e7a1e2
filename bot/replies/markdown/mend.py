"""Completes half-written Markdown, so that people never see raw markers that later become markup.

Invariant: mending only closes open markup, holds back a short undecided end, or leaves out the
brackets of an unfinished link. It never adds text that the model did not write.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace

from bot.replies.markdown.blocks import MARKERS_ONLY, BlockTree, Leaf, line_prefix, marker_length
from bot.replies.markdown.code_spans import BacktickRuns
from bot.replies.markdown.fences import FenceStack, contains_markdown
from bot.replies.markdown.inline import START, InlineMarkup, ResumePoint, parse_inline
from bot.replies.markdown.table_rows import escape_inner_pipes, last_cell_start

_SEPARATOR = re.compile(r"[\s>]*+[|:\- \t]*+\Z")
# At the beginning of a page: a list, a heading, a quote, code, a heading's underline, a table.
_BLOCK = re.compile(
    r"[-+*](\s|$)|#{1,6}(\s|$)|##|>|\d{1,9}[.)](\s|$)|```|~~~|=+\s*$|-+\s*$|\|| {4}|\t"
)
LONGEST_MARKS = 400
"""Characters of a line of markers that is held back; a longer line is shown as it arrives."""

MOST_HELD = 4
"""Consecutive undecided lines and blocks to hold back; further ones are shown as they are."""

_BLOCK_START = 12  # characters that decide whether _BLOCK matches
_PIPE = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class MendedText:
    """Complete Markdown (`text`) that shows the source up to offset `end`.

    No later text changes anything before `stable_end`. The next mending may parse from `resume`.
    """

    text: str
    end: int
    stable_end: int
    resume: ResumePoint = START


def mend(
    text: str,
    base: int = 0,
    resume: ResumePoint = START,
    tree: BlockTree | None = None,
    *,
    head: str = "",
) -> MendedText:
    """Mend the growing Markdown `text`, which is known to be complete before `base`.

    `resume` comes from mending a shorter version of the text; `tree` is the block tree of
    `text[base:]` below `head`, which repeats a table's header, if the caller has it already.
    """
    begin = base - len(head)
    mended = _mend(tree or BlockTree(head + text[base:]), resume.shift(begin))
    point = mended.resume.shift(-begin)
    return MendedText(
        text[:base] + mended.text[len(head) :],
        begin + mended.end,
        begin + mended.stable_end,
        ResumePoint(max(base, point.at), max(base, point.decided)),
    )


def close_open(markdown: str) -> str:
    """Close a code block at the end of `markdown`, so that text can follow below."""
    if "```" not in markdown and "~~~" not in markdown:
        return markdown
    tree = BlockTree(markdown)
    leaf = tree.leaves[-1] if tree.leaves else None
    if leaf is None or leaf.kind != "fence" or tree.has_closing_line(leaf):
        return markdown
    return _end_line(markdown) + line_prefix(leaf.containers) + tree.closing_line(leaf)


def close_marks(markdown: str) -> str:
    """Close what an answer that was cut off has left open: code, emphasis, a cell's code.

    Text that ends with half of a link stays as it is: nothing is taken away.
    """
    bare = markdown.rstrip()
    mended = mend(bare).text
    return mended if mended.startswith(bare) else close_open(markdown)


def mask_markers(tree: BlockTree, leaf: Leaf) -> str:
    """A leaf's source with spaces for its containers' markers, so that offsets stay valid."""
    lines = []
    for number in range(leaf.first, min(leaf.last, len(tree.line_starts))):
        line = tree.line(number)
        marks = marker_length(line, number, leaf.containers)
        if leaf.kind == "heading" and number == leaf.first:
            marks += len(line[marks:]) - len(line[marks:].lstrip("# "))
        lines.append(" " * min(marks, len(line)) + line[marks:])
    return "".join(lines)


def stays_paragraph(source: str, at: int, *, ended: bool) -> bool:
    """Whether a paragraph's text from `at` on is still a paragraph at the beginning of a page."""
    following = source[at : at + _BLOCK_START]
    return (ended or len(following) == _BLOCK_START) and not _BLOCK.match(following)


def _mend(tree: BlockTree, resume: ResumePoint = START, held: int = 0) -> MendedText:
    """Mend the last leaf; `held` counts the lines and blocks that are already held back."""
    text = tree.text
    start = tree.line_starts[-1]
    leaf = tree.leaves[-1] if tree.leaves else None
    if leaf is None:
        return MendedText("", len(text), 0)
    if leaf.kind == "fence" and not tree.is_fence_closed(leaf):
        return _mend_fence(tree, leaf, held)
    if start < len(text) and held < MOST_HELD and _only_markers(text, start):
        return _mend_without_line(text, start, held)
    if tree.is_closed(leaf) or leaf.kind in ("rule", "code", "empty", "formula"):
        stable = start if tree.is_closed(leaf) else tree.line_starts[leaf.first]
        return MendedText(text, len(text), stable)
    if leaf.kind == "table":
        return _mend_table(tree, leaf, resume, held)
    return _mend_paragraph(tree, leaf, resume, held)


def _only_markers(text: str, start: int) -> bool:
    """Whether the last line, which begins at `start`, may still become any kind of block."""
    return len(text) - start <= LONGEST_MARKS and MARKERS_ONLY.match(text, start) is not None


def _mend_without_line(text: str, start: int, held: int) -> MendedText:
    """Hold back the undecided line at `start` and mend the text before it."""
    if start == 0:
        return MendedText("", 0, 0)
    mended = _mend(BlockTree(text[:start]), held=held + 1)
    return replace(mended, end=min(mended.end, start))


def _mend_before(tree: BlockTree, begin: int, held: int) -> MendedText:
    """Hold back the undecided block at `begin` and mend the text before it."""
    text = tree.text[:begin]
    line = text.rfind("\n") + 1
    if held >= MOST_HELD or not text[:line].strip():
        return MendedText(text[:line] if text[:line].strip() else "", begin, 0)
    mended = _mend(BlockTree(text[:line]), held=held + 1)
    return replace(mended, end=min(mended.end, begin))


def _mend_fence(tree: BlockTree, leaf: Leaf, held: int) -> MendedText:
    begin = tree.line_starts[leaf.first]
    first = leaf.first + 1
    if first > tree.complete_lines:  # its language is not yet complete
        return _mend_before(tree, begin, held)
    ambiguous = leaf.ambiguous and tree.has_closing_line(leaf)
    start = tree.line_starts[leaf.last - 1 if ambiguous else -1]
    last = tree.line_content(leaf, len(tree.line_starts) - 1).strip()
    may_close = not last.strip(leaf.markup[0]) or ambiguous
    end = start if may_close else len(tree.text)
    shown = tree.text[:end]
    if not shown[tree.line_starts[first] :].strip():
        return _mend_before(tree, begin, held)
    closing_line = tree.fence_stack(leaf, bisect_left(tree.line_starts, end)).closing_line
    text = _end_line(shown) + line_prefix(leaf.containers) + closing_line
    return MendedText(text, end, _stable_end_in_fence(tree, leaf, start))


def _stable_end_in_fence(tree: BlockTree, leaf: Leaf, start: int) -> int:
    last = bisect_left(tree.line_starts, start) - 1
    if last <= leaf.first:
        return tree.line_starts[leaf.first]
    content = tree.line_content(leaf, last)
    undecided = contains_markdown(leaf.info) and FenceStack.is_ambiguous(content)
    return tree.line_starts[last] if undecided else start


def _mend_table(tree: BlockTree, leaf: Leaf, resume: ResumePoint, held: int) -> MendedText:
    """Mend the last cell of a half-written row as if it were a paragraph."""
    text, start = tree.text, tree.line_starts[-1]
    has_rows = len(tree.line_starts) > leaf.first + 3
    stable = start if has_rows else tree.line_starts[leaf.first]
    if start == len(text):
        return MendedText(text, start, stable)
    number = len(tree.line_starts) - 1
    row = start + marker_length(tree.line(number), number, leaf.containers)
    cell = row + last_cell_start(text[row:])
    source = text[cell:].removesuffix("\\")  # in a table a pipe is escaped even in code
    mended = _mend_inline(text, cell, source, resume, held)
    shown = mended.text[:row] + escape_inner_pipes(mended.text[row:])
    return replace(mended, text=shown, stable_end=stable)


def _mend_paragraph(tree: BlockTree, leaf: Leaf, resume: ResumePoint, held: int) -> MendedText:
    begin = tree.line_starts[leaf.first]
    header = _possible_header(tree, leaf)
    first_line = tree.line(leaf.first)
    if header is not None and header <= begin + marker_length(
        first_line, leaf.first, leaf.containers
    ):
        return _mend_before(tree, begin, held)
    source = mask_markers(tree, leaf)
    if header is not None:
        source = source[: header - begin]
    mended = _mend_inline(tree.text, begin, source, resume, held)
    return mended if leaf.kind == "paragraph" else replace(mended, stable_end=begin)


def _possible_header(tree: BlockTree, leaf: Leaf) -> int | None:
    """Offset of a line at the end of a paragraph that may become a table header."""
    if leaf.kind != "paragraph":
        return None
    last = len(tree.line_starts) - 1
    number = last
    if _SEPARATOR.match(tree.line(last)) and last > leaf.first:
        number = last - 1
    line = tree.line(number)
    pipe = _PIPE.search(_blank_code_spans(line))
    if pipe is None:
        return None
    start = marker_length(line, number, leaf.containers)
    leading = not line[start : pipe.start()].strip()
    return tree.line_starts[number] + (start if leading else pipe.start())


def _blank_code_spans(line: str) -> str:
    parts, at = [], 0
    for start, end in BacktickRuns(line).spans():
        if end is not None:
            parts += [line[at:start], " " * (end - start)]
            at = end
    return "".join(parts) + line[at:]


def _mend_inline(text: str, begin: int, source: str, resume: ResumePoint, held: int) -> MendedText:
    """Mend the markup of `source`, the end of `text` from `begin` on."""
    point = resume.shift(begin)
    point = point if point.at <= len(source) else START
    found = parse_inline(source, ended=False, resume=point)
    end, closers = _closers(source, found)
    shown = source[:end].rstrip()
    line = text.rfind("\n", 0, begin + len(shown)) + 1
    if held < MOST_HELD and _only_markers(text[: begin + len(shown)], line):
        return _mend_without_line(text, line, held)
    parts, at = [text[:begin]], begin
    for start, stop in sorted(found.dropped_brackets):
        if start < len(shown):
            parts.append(text[at : begin + start])
            at = begin + stop
    parts.append(text[at : begin + len(shown)])
    stable = begin + len(source[: max(found.decided, found.word_end)].rstrip())
    point = ResumePoint(found.resume_at, found.decided).shift(-begin)
    return MendedText("".join(parts) + closers, begin + end, stable, point)


def _closers(source: str, found: InlineMarkup) -> tuple[int, str]:
    """How much of `source` to show, and the delimiters that close it."""
    end, closers = found.hold_from, ""
    if found.code is not None:
        at, ticks = found.code
        content = source[at + ticks : end].rstrip("`")
        if content.strip():
            end, closers = at + ticks + len(content.rstrip()), "`" * ticks
        else:
            end = at
    for opener in reversed(found.open):
        if opener.char == "|":  # hold back a spoiler until its closing bars hide it
            same_line = "\n" not in source[opener.at : end]
            end, closers = (min(end, opener.at), "") if same_line else (end, closers)
        elif not source[opener.at + opener.length : end].strip():
            end, closers = min(end, opener.at), ""
        else:
            closers += opener.char * opener.length
    return end, closers


def _end_line(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"
