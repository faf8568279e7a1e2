"""Half-written Markdown made whole: what will be markup in the end is never shown raw on the way.

Invariant: mending only closes what is open, holds back a short end that cannot be told yet, or
leaves out the brackets of a link to be; it never shows what was not written.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace

from bot.replies.markdown.blocks import MARKS, BlockTree, Leaf, consume, prefix
from bot.replies.markdown.fences import Nesting, nests
from bot.replies.markdown.inline import START, CodeRuns, Inline, Resume, read
from bot.replies.markdown.table_rows import closed, last_cell

_SEPARATOR = re.compile(r"[\s>]*+[|:\- \t]*+\Z")
# At the beginning of a page this would be a list, a heading, a quote, a table, code, a rule.
_BLOCK = re.compile(
    r"[-+*](\s|$)|#{1,6}(\s|$)|>|\d{1,9}[.)](\s|$)|```|~~~|=+\s*$|-+\s*$|\|| {4}|\t"
)
LONGEST_MARKS = 400
"""Marks that a line may begin with and still be held back: a longer one is shown as it comes."""

MOST_HELD = 4
"""Lines and blocks above each other of which too little has come: more are shown as they are."""

_UNSURE = 12  # characters that tell whether it is one of these
_PIPE = re.compile(r"(?<!\\)\|")
_TICKS = re.compile("`+")


@dataclass(frozen=True, slots=True)
class Mended:
    """What can be shown well: `text`, and how far in the source that reaches.

    `clean` is the offset before which no later text changes anything; `resume` tells from where the
    words have to be read the next time.
    """

    text: str
    keep: int
    clean: int
    resume: Resume = START


def mend(
    text: str, base: int = 0, since: Resume = START, outline: BlockTree | None = None
) -> Mended:
    """The growing Markdown `text`, made whole; everything before `base` is known to be whole.

    `since` is `resume` of an earlier mending, when less of the text was there; `outline` is that
    of the text from `base` on, if somebody has it already.
    """
    mended = _mend(outline or BlockTree(text[base:]), since.moved(base))
    return Mended(
        text[:base] + mended.text,
        base + mended.keep,
        base + mended.clean,
        mended.resume.moved(-base),
    )


def close_open(markdown: str) -> str:
    """`markdown` with a code block that is open at its end closed, so that more can stand below."""
    if "```" not in markdown and "~~~" not in markdown:
        return markdown
    outline = BlockTree(markdown)
    leaf = outline.leaves[-1] if outline.leaves else None
    if leaf is None or leaf.kind != "fence" or outline.fence_ends(leaf):
        return markdown
    return _line_end(markdown) + prefix(leaf.containers) + outline.closer(leaf)


def blanked(outline: BlockTree, leaf: Leaf) -> str:
    """The source of a leaf with blanks for the marks of its containers, so that offsets stay."""
    lines = []
    for number in range(leaf.first, min(leaf.last, len(outline.starts))):
        line = outline.line(number)
        marks = consume(line, number, leaf.containers)
        if leaf.kind == "heading" and number == leaf.first:
            marks += len(line[marks:]) - len(line[marks:].lstrip("# "))
        lines.append(" " * min(marks, len(line)) + line[marks:])
    return "".join(lines)


def goes_on(source: str, at: int, *, ended: bool) -> bool:
    """Whether a paragraph may be cut at `at`: what follows is still a paragraph by itself."""
    following = source[at : at + _UNSURE]
    return (ended or len(following) == _UNSURE) and not _BLOCK.match(following)


def _mend(outline: BlockTree, since: Resume = START, held: int = 0) -> Mended:
    text = outline.text
    start = outline.starts[-1]
    leaf = outline.leaves[-1] if outline.leaves else None
    if leaf is None:
        return Mended("", len(text), 0)
    if leaf.kind == "fence" and not outline.fence_closed(leaf):
        return _fence(outline, leaf, held)
    if start < len(text) and held < MOST_HELD and _only_marks(text, start):
        return _without(text, start, held)
    if outline.closed(leaf) or leaf.kind in ("rule", "code", "empty", "formula"):
        clean = outline.starts[-1] if outline.closed(leaf) else outline.starts[leaf.first]
        return Mended(text, len(text), clean)
    if leaf.kind == "table":
        return _table(outline, leaf, since, held)
    return _paragraph(outline, leaf, since, held)


def _only_marks(text: str, start: int) -> bool:
    """Whether nobody can tell yet what the last line, which begins at `start`, will be."""
    return len(text) - start <= LONGEST_MARKS and MARKS.match(text, start) is not None


def _without(text: str, start: int, held: int) -> Mended:
    """The same without the line at `start`, of which too little has come."""
    if start == 0:
        return Mended("", 0, 0)
    mended = _mend(BlockTree(text[:start]), held=held + 1)
    return replace(mended, keep=min(mended.keep, start))


def _fence(outline: BlockTree, leaf: Leaf, held: int) -> Mended:
    begin = outline.starts[leaf.first]
    first = leaf.first + 1
    if first > outline.complete:  # its language is not yet known
        return _before(outline, begin, held)
    doubtful = leaf.doubtful and outline.fence_ends(leaf)
    start = outline.starts[leaf.last - 1 if doubtful else -1]
    line = outline.line(len(outline.starts) - 1)
    tail = line[consume(line, len(outline.starts) - 1, leaf.containers) :].strip()
    whole = tail.strip(leaf.markup[0]) and not doubtful
    keep = len(outline.text) if whole else start  # perhaps the fence's end
    shown = outline.text[:keep]
    if not shown[outline.starts[first] :].strip():
        return _before(outline, begin, held)
    clean = _clean_in_fence(outline, leaf, start)
    lines = bisect_left(outline.starts, keep)
    closer = outline.nesting(leaf, lines).closer
    return Mended(_line_end(shown) + prefix(leaf.containers) + closer, keep, clean)


def _clean_in_fence(outline: BlockTree, leaf: Leaf, start: int) -> int:
    """The offset in a fence before which no later text changes anything."""
    last = bisect_left(outline.starts, start) - 1
    if last <= leaf.first:
        return outline.starts[leaf.first]
    unsure = nests(leaf.info) and Nesting.may_begin(outline.bare(leaf, last))
    return outline.starts[last] if unsure else start


def _before(outline: BlockTree, begin: int, held: int) -> Mended:
    """All before a block of which too little has come."""
    text = outline.text[:begin]
    line = text.rfind("\n") + 1
    if held >= MOST_HELD or not text[:line].strip():
        return Mended(text[:line] if text[:line].strip() else "", begin, 0)
    mended = _mend(BlockTree(text[:line]), held=held + 1)
    return replace(mended, keep=min(mended.keep, begin))


def _table(outline: BlockTree, leaf: Leaf, since: Resume, held: int) -> Mended:
    """A table's last row may be half-written; its last cell is mended like a paragraph."""
    text, start = outline.text, outline.starts[-1]
    clean = start if len(outline.starts) > leaf.first + 3 else outline.starts[leaf.first]
    if start == len(text):
        return Mended(text, start, clean)
    number = len(outline.starts) - 1
    row = start + consume(outline.line(number), number, leaf.containers)
    cell = row + last_cell(text[row:])
    source = text[cell:].removesuffix("\\")  # in a table a pipe is escaped in code, too
    mended = _inline(text, cell, source, since, held)
    shown = mended.text[:row] + closed(mended.text[row:])
    return replace(mended, text=shown, clean=clean)


def _paragraph(outline: BlockTree, leaf: Leaf, since: Resume, held: int) -> Mended:
    begin = outline.starts[leaf.first]
    header = _header(outline, leaf)
    if header is not None and header <= begin + consume(
        outline.line(leaf.first), leaf.first, leaf.containers
    ):
        return _before(outline, begin, held)
    source = blanked(outline, leaf)
    if header is not None:
        source = source[: header - begin]
    mended = _inline(outline.text, begin, source, since, held)
    return mended if leaf.kind == "paragraph" else replace(mended, clean=begin)


def _header(outline: BlockTree, leaf: Leaf) -> int | None:
    """The offset of what may turn out to be the header of a table, at the end of a paragraph."""
    if leaf.kind != "paragraph":
        return None
    last = len(outline.starts) - 1
    number = last
    if _SEPARATOR.match(outline.line(last)) and last > leaf.first:
        number = last - 1
    line = outline.line(number)
    pipe = _PIPE.search(_without_code(line))
    if pipe is None:
        return None
    start = consume(line, number, leaf.containers)
    bare = not line[start : pipe.start()].strip()
    return outline.starts[number] + (start if bare else pipe.start())


def _without_code(line: str) -> str:
    """The same with blanks for code spans."""
    parts, at, runs = [], 0, CodeRuns(line)
    while (run := _TICKS.search(line, at)) is not None:
        partner = runs.partner(run.end(), len(run.group()))
        end = run.end() if partner is None else partner + len(run.group())
        parts += [
            line[at : run.start()],
            run.group() if partner is None else " " * (end - run.start()),
        ]
        at = end
    return "".join(parts) + line[at:]


def _inline(text: str, begin: int, source: str, since: Resume, held: int) -> Mended:
    """Mend what is open in `source`, which begins at `begin` and is the end of `text`."""
    resume = since.moved(begin)
    found = read(source, ended=False, since=resume if resume.at <= len(source) else START)
    keep, closers = _closers(source, found)
    shown = source[:keep].rstrip()
    line = text.rfind("\n", 0, begin + len(shown)) + 1
    if held < MOST_HELD and _only_marks(text[: begin + len(shown)], line):
        return _without(text, line, held)
    parts, at = [text[:begin]], begin
    for start, end in sorted(found.dropped):
        if start < len(shown):
            parts.append(text[at : begin + start])
            at = begin + end
    parts.append(text[at : begin + len(shown)])
    clean = begin + len(source[: max(found.clean, found.word)].rstrip())
    resume = Resume(found.at, found.clean).moved(-begin)
    return Mended("".join(parts) + closers, begin + keep, clean, resume)


def _closers(source: str, found: Inline) -> tuple[int, str]:
    """How much of `source` to show, and what closes it."""
    keep, closers = found.hold, ""
    if found.code is not None:
        at, ticks = found.code
        content = source[at + ticks : keep].rstrip("`")
        if content.strip():
            keep, closers = at + ticks + len(content.rstrip()), "`" * ticks
        else:
            keep = at
    for opener in reversed(found.open):
        if opener.char == "|":  # hidden text is not shown before it is hidden
            same_line = "\n" not in source[opener.at : keep]
            keep, closers = (min(keep, opener.at), "") if same_line else (keep, closers)
        elif not source[opener.at + opener.length : keep].strip():
            keep, closers = min(keep, opener.at), ""
        else:
            closers += opener.char * opener.length
    return keep, closers


def _line_end(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"
