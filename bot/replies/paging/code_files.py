"""A code block that goes on over several pages, and what is shown of it when it becomes a file.

Invariant: everything here is a function of the text alone. The file holds the code as it was meant:
without the fence, without the marks and the indentation of what the block stands in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bot.domain import texts
from bot.domain.replies import File, Page
from bot.replies.markdown.blocks import BlockTree, Leaf, consume, prefix
from bot.replies.paging.file_names import file_name
from bot.replies.paging.page_breaks import PageBreak, between

HEAD_LINES = 12
"""Lines of a block that stay readable above its file: enough to see what it is."""

MOST_LINES = 9_999_999
"""The number for which a note about lines always finds room."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The page on which a block begins, as far as it stays when the block becomes a file.

    `text` is what stands before it and its first lines, closed; `source` is where they end.
    """

    text: str
    source: int
    info: str
    indent: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one page shows of a block that goes on behind it.

    `first` is the number of the page where the block begins; `size` (bytes) and `lines` count all
    of it so far. Without a `beginning` it can be no file: not even a note finds room.
    """

    first: int
    beginning: Beginning | None
    code: str
    size: int
    lines: int


def part_of(
    text: str,
    cut: PageBreak,
    *,
    number: int,
    before: Part | None,
    source: Callable[[int], int],
    fits: Callable[[str], bool],
) -> Part | None:
    """The part of the block that `cut` divides, on page `number` with this text; None for no block.

    `before` is the part that the page goes on with, `source` tells where in the source an offset of
    the text is, and `fits` whether a page takes some Markdown.
    """
    if not cut.tail:
        return None
    outline = BlockTree(text)
    leaf = _divided(outline, cut.at)
    if leaf is None:
        return None
    if before is None or leaf.first > 0:
        before = Part(number, _beginning(outline, leaf, cut.at, source, fits), "", 0, 0)
    code = _code(outline, leaf, cut.at, before)
    size = before.size + len(code.encode("utf-8", errors="replace"))
    lines = before.lines + code.count("\n")
    return Part(before.first, before.beginning, code, size, lines)


def rest_of(text: str, before: Part) -> str:
    """What the page after `before`, with this text, has of the block."""
    outline = BlockTree(text)
    return _code(outline, outline.leaves[0], len(text), before) if outline.leaves else ""


def end_of(text: str, *, whole: bool) -> PageBreak | None:
    """The place behind the block that a page with this text begins with, if it surely ended; when
    the text is `whole`, nothing else can follow.
    """
    outline = BlockTree(text)
    block, *others = outline.leaves
    if not others or not (whole or others[0].first < outline.known):
        return None
    return between(outline, block, others[0])


# ── the pages of a block that became a file ───────────────────────────────────────────────────
def growing(beginning: Beginning, *, start: int, end: int, lines: int) -> Page:
    """The page where the block begins, while it is still being written."""
    return Page(_with_note(beginning, texts.code_goes_on(lines)), "", start, end, sealed=False)


def complete(beginning: Beginning, code: str, *, start: int, end: int) -> tuple[Page, Page]:
    """The page where the block begins, and the file's; `end` is where in the source that ends."""
    file = File(file_name(beginning.info, code), code)
    lines = code.count("\n") + (not code.endswith("\n"))
    shown = _with_note(beginning, texts.code_in_file(lines))
    caption = texts.file_caption(file.name, lines)
    middle = min(beginning.source, end)
    return (
        Page(shown, shown, start, middle, sealed=True),
        Page(caption, caption, middle, end, sealed=True, file=file),
    )


def _with_note(beginning: Beginning, sentence: str) -> str:
    return "\n\n".join(filter(None, (beginning.text, texts.note(sentence))))


def _beginning(
    outline: BlockTree,
    leaf: Leaf,
    cut: int,
    source: Callable[[int], int],
    fits: Callable[[str], bool],
) -> Beginning | None:
    """As many first lines as find room together with a note; or none of them, or nothing."""
    opening = outline.line(leaf.first)
    rest = opening[consume(opening, leaf.first, leaf.containers) :]
    indent = len(rest) - len(rest.lstrip(" "))
    for text, end in _heads(outline, leaf, cut):
        found = Beginning(text, source(end), leaf.info, indent)
        notes = (texts.code_goes_on(MOST_LINES), texts.code_in_file(MOST_LINES))
        if all(fits(_with_note(found, sentence)) for sentence in notes):
            return found
    return None


def _heads(outline: BlockTree, leaf: Leaf, cut: int) -> Iterator[tuple[str, int]]:
    """What the page may say, and where that ends: with twelve lines of the block, with fewer …"""
    first = leaf.first + 1
    whole = sum(start <= cut for start in outline.starts[first + 1 : first + 1 + HEAD_LINES])
    for lines in range(whole, 0, -1):
        end = outline.starts[first + lines]
        closer = outline.nesting(leaf, first + lines).closer
        yield outline.text[:end] + prefix(leaf.containers) + closer, end
    yield outline.text[: outline.starts[leaf.first]].rstrip(), outline.starts[first]


# ── the code ──────────────────────────────────────────────────────────────────────────────────
def _divided(outline: BlockTree, at: int) -> Leaf | None:
    """The fenced block whose code goes on at an offset."""
    for leaf in outline.leaves:
        last = leaf.last - outline.fence_ends(leaf) if leaf.kind == "fence" else 0
        if leaf.first + 1 < last and outline.starts[leaf.first + 1] < at <= outline.end(leaf):
            return leaf if last >= len(outline.starts) or at < outline.starts[last] else None
    return None


def _code(outline: BlockTree, leaf: Leaf, upto: int, before: Part) -> str:
    """The block's code up to an offset, on a page that goes on with what is `before`."""
    indent = before.beginning.indent if before.beginning else 0
    in_line = bool(before.code) and not before.code.endswith("\n")
    pieces = []
    for number in range(leaf.first + 1, leaf.last - outline.fence_ends(leaf)):
        if number >= len(outline.starts) or outline.starts[number] >= upto:
            break
        line = outline.line(number)[: upto - outline.starts[number]]
        line = line[consume(line, number, leaf.containers) :]
        spaces = 0 if in_line else len(line) - len(line.lstrip(" "))
        pieces.append(line[min(spaces, indent) :])
        in_line = False
    return "".join(pieces)
