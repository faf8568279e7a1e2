"""Code blocks that span pages, and the pages that show such a block as a file.

Invariant: everything here depends on the text alone. A file contains only the code: without the
fence, and without the markers and indentation of the containers around the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bot.domain import texts
from bot.domain.replies import File, Page
from bot.replies.markdown.blocks import BlockTree, Leaf, line_prefix, marker_length
from bot.replies.paging.file_names import file_name
from bot.replies.paging.page_breaks import PageBreak, break_between

HEAD_LINES = 12
"""Lines of a block that stay readable above its file: enough to see what the file contains."""

MOST_LINES = 9_999_999
"""The highest line count that the note on a page must have room for."""


@dataclass(frozen=True, slots=True)
class BlockStart:
    """The page where a block begins, after the rest of the block has moved to a file.

    `text` is the text before the block and the block's first lines, closed; `source_end` is
    where they end in the source.
    """

    text: str
    source_end: int
    info: str
    indent: int


@dataclass(frozen=True, slots=True)
class CodePart:
    """One page's part of a block that continues on the next page.

    `first` is the number of the page where the block begins; `size` (in bytes) and `lines` count
    the block so far. If `start` is None, the block cannot become a file, because not even the note
    would fit.
    """

    first: int
    start: BlockStart | None
    code: str
    size: int
    lines: int


def code_part(
    text: str,
    page_break: PageBreak,
    *,
    number: int,
    before: CodePart | None,
    source_offset: Callable[[int], int],
    fits: Callable[[str], bool],
) -> CodePart | None:
    """Page `number`'s part of the code block that `page_break` splits; `text` is the page's text.

    None if the break does not split a code block. `before` is the previous page's part,
    `source_offset` maps an offset in the text to the source, and `fits` says whether some Markdown
    fits on a page.
    """
    if not page_break.tail:
        return None
    tree = BlockTree(text)
    leaf = _split_block(tree, page_break.at)
    if leaf is None:
        return None
    if before is None or leaf.first > 0:
        start = _block_start(tree, leaf, page_break.at, source_offset, fits)
        before = CodePart(number, start, "", 0, 0)
    code = _code(tree, leaf, page_break.at, before)
    size = before.size + len(code.encode("utf-8", errors="replace"))
    lines = before.lines + code.count("\n")
    return CodePart(before.first, before.start, code, size, lines)


def remaining_code(text: str, before: CodePart) -> str:
    """The rest of the block's code, on the page with this `text`, which follows `before`."""
    tree = BlockTree(text)
    return _code(tree, tree.leaves[0], len(text), before) if tree.leaves else ""


def break_after_block(text: str, *, ended: bool) -> PageBreak | None:
    """The break after the block at the start of this page; None while the block may continue.

    `ended`: nothing follows the text.
    """
    tree = BlockTree(text)
    block, *others = tree.leaves
    if not others or not (ended or others[0].first < tree.settled_lines):
        return None
    return break_between(tree, block, others[0])


# ── the pages of a block that became a file ───────────────────────────────────────────────────
def growing_page(block: BlockStart, *, start: int, end: int, lines: int) -> Page:
    """The page where the block begins, while the model still writes the block."""
    return Page(_with_note(block, texts.code_goes_on(lines)), "", start, end, sealed=False)


def file_pages(block: BlockStart, code: str, *, start: int, end: int) -> tuple[Page, Page]:
    """The page where the block begins and its file's page, which ends at `end` in the source."""
    file = File(file_name(block.info, code), code)
    lines = code.count("\n") + (not code.endswith("\n"))
    shown = _with_note(block, texts.code_in_file(lines))
    caption = texts.file_caption(file.name, lines)
    middle = min(block.source_end, end)
    return (
        Page(shown, shown, start, middle, sealed=True),
        Page(caption, caption, middle, end, sealed=True, file=file),
    )


def _with_note(block: BlockStart, sentence: str) -> str:
    return "\n\n".join(filter(None, (block.text, texts.note(sentence))))


def _block_start(
    tree: BlockTree,
    leaf: Leaf,
    break_at: int,
    source_offset: Callable[[int], int],
    fits: Callable[[str], bool],
) -> BlockStart | None:
    """The start with as many first lines as fit beside a note; None if not even the note fits."""
    opening = tree.line_content(leaf, leaf.first)
    indent = len(opening) - len(opening.lstrip(" "))
    for text, end in _shortening_starts(tree, leaf, break_at):
        block = BlockStart(text, source_offset(end), leaf.info, indent)
        notes = (texts.code_goes_on(MOST_LINES), texts.code_in_file(MOST_LINES))
        if all(fits(_with_note(block, sentence)) for sentence in notes):
            return block
    return None


def _shortening_starts(tree: BlockTree, leaf: Leaf, break_at: int) -> Iterator[tuple[str, int]]:
    """Candidate texts and their ends: with twelve lines of the block, then fewer, then none."""
    first = leaf.first + 1
    candidates = tree.line_starts[first + 1 : first + 1 + HEAD_LINES]
    complete = sum(start <= break_at for start in candidates)
    for lines in range(complete, 0, -1):
        end = tree.line_starts[first + lines]
        closing_line = tree.fence_stack(leaf, first + lines).closing_line
        yield tree.text[:end] + line_prefix(leaf.containers) + closing_line, end
    yield tree.text[: tree.line_starts[leaf.first]].rstrip(), tree.line_starts[first]


# ── the code ──────────────────────────────────────────────────────────────────────────────────
def _split_block(tree: BlockTree, at: int) -> Leaf | None:
    """The fenced block whose code continues at offset `at`."""
    for leaf in tree.leaves:
        last = leaf.last - tree.has_closing_line(leaf) if leaf.kind == "fence" else 0
        if leaf.first + 1 < last and tree.line_starts[leaf.first + 1] < at <= tree.end_of(leaf):
            return leaf if last >= len(tree.line_starts) or at < tree.line_starts[last] else None
    return None


def _code(tree: BlockTree, leaf: Leaf, end: int, before: CodePart) -> str:
    """The block's code up to offset `end` on the page that follows `before`."""
    indent = before.start.indent if before.start else 0
    in_line = bool(before.code) and not before.code.endswith("\n")
    parts = []
    for number in range(leaf.first + 1, leaf.last - tree.has_closing_line(leaf)):
        if number >= len(tree.line_starts) or tree.line_starts[number] >= end:
            break
        line = tree.line(number)[: end - tree.line_starts[number]]
        line = line[marker_length(line, number, leaf.containers) :]
        spaces = 0 if in_line else len(line) - len(line.lstrip(" "))
        parts.append(line[min(spaces, indent) :])
        in_line = False
    return "".join(parts)
