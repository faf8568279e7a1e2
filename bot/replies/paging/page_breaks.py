"""Possible page breaks between and inside blocks, each with its quality.

Invariant: a break closes open markup in the page's tail and reopens it in the next page's head, so
every page stands on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from bot.replies.markdown.blocks import (
    BlockTree,
    Container,
    Leaf,
    in_sibling_items,
    line_prefix,
    marker_length,
    quote_prefix,
    shared_containers,
)
from bot.replies.markdown.fences import FenceStack, contains_markdown

LONGEST_INFO = 60
"""The most characters of a fence's opening line to repeat on the next page: usually one word."""


class BreakQuality(IntEnum):
    """How good a break is; lower is better. Breaks from EMPHASIS on split something visible."""

    BLOCK = 0
    ITEM = 1
    NESTED = 2
    ROW = 3
    BLANK_LINE = 4
    LINE = 5
    SENTENCE = 6
    WORD = 7
    EMPHASIS = 8
    GRAPHEME = 9
    CODE = 10
    ATOMIC = 11


class PageBreak(NamedTuple):
    """A page break: the page is the text before `at` plus `tail`.

    The next page begins at `resume`, inside `containers`, with `head` in place of the next `skip`
    characters.
    """

    at: int
    resume: int
    quality: BreakQuality
    tail: str = ""
    head: str = ""
    skip: int = 0
    containers: tuple[Container, ...] = ()

    @property
    def closing_fence(self) -> str:
        """The fence that closes the code block split here; "" outside code blocks."""
        return self.tail.strip("\n> ") if self.tail and "\n" in self.head else ""

    def page_before(self, text: str) -> str:
        """The Markdown of the page that ends here."""
        return text[: self.at].rstrip() + self.tail


def block_breaks(tree: BlockTree) -> Iterator[PageBreak]:
    """Breaks between blocks, and between the lines of code and the rows of tables."""
    before: Leaf | None = None
    for leaf in tree.leaves:
        if before is not None and leaf.first < tree.settled_lines:
            yield break_between(tree, before, leaf)
        if leaf.kind == "fence":
            yield from _in_fence(tree, leaf)
        elif leaf.kind == "table":
            yield from _in_table(tree, leaf)
        elif leaf.kind in ("code", "formula"):
            for number in range(leaf.first + 1, min(leaf.last, tree.settled_lines)):
                yield _at_line(tree, number, leaf.containers, BreakQuality.LINE)
        before = leaf


def break_between(tree: BlockTree, before: Leaf, leaf: Leaf) -> PageBreak:
    """The break between two neighboring leaves."""
    common = shared_containers(before, leaf)
    own = leaf.containers[len(common) :]
    quality = BreakQuality.NESTED if common else BreakQuality.BLOCK
    if in_sibling_items(before, leaf):
        quality = BreakQuality.ITEM
    if before.kind == "heading":
        quality = BreakQuality.WORD  # a heading stays with the text below it
    found = _at_line(tree, leaf.first, common, quality)
    return _renumber(tree, found, own[0]) if own and own[0].number is not None else found


def fence_ends(tree: BlockTree, leaf: Leaf, stack: FenceStack) -> tuple[str, str]:
    """The tail that closes a fence with this stack of open fences, and the head that reopens it."""
    nested = contains_markdown(leaf.info)
    opening = stack.opening_line if nested else tree.line_content(leaf, leaf.first).strip()
    if len(opening) > LONGEST_INFO:
        opening = leaf.markup
    return (
        "\n" + line_prefix(leaf.containers) + stack.closing_line,
        quote_prefix(leaf.containers) + opening + "\n",
    )


def _renumber(tree: BlockTree, found: PageBreak, item: Container) -> PageBreak:
    """Continue the list's numbering on the next page, whatever number the model wrote."""
    line = tree.line(item.line)
    digits = re.match(r" *(\d{1,9})(?=[.)])", line[found.skip :])
    if digits is None or int(digits[1]) == item.number:
        return found
    return found._replace(head=f"{found.head}{item.number}", skip=found.skip + digits.end())


def _at_line(
    tree: BlockTree,
    number: int,
    containers: tuple[Container, ...],
    quality: BreakQuality,
    *,
    tail: str = "",
    head: str = "",
) -> PageBreak:
    """A break before line `number`."""
    start = tree.line_starts[number]
    skip = marker_length(tree.line(number), number, containers)
    head += quote_prefix(containers)
    return PageBreak(start, start, quality, tail, head, skip, containers)


def _in_fence(tree: BlockTree, leaf: Leaf) -> Iterator[PageBreak]:
    closed = tree.has_closing_line(leaf)
    stack = tree.fence_stack(leaf, leaf.first + 1)
    tail, head = fence_ends(tree, leaf, stack)
    for number in range(leaf.first + 2, min(leaf.last - closed, tree.settled_lines)):
        if contains_markdown(leaf.info):
            stack.feed(tree.line_content(leaf, number - 1), tree.line_content(leaf, number))
            tail, head = fence_ends(tree, leaf, stack)
        blank = not tree.line(number - 1).strip(" \t\n>")
        quality = BreakQuality.BLANK_LINE if blank else BreakQuality.LINE
        yield _at_line(tree, number, leaf.containers, quality, tail=tail, head=head)


def _in_table(tree: BlockTree, leaf: Leaf) -> Iterator[PageBreak]:
    """Breaks between rows; the head repeats the table's header."""
    head = ""
    for number in (leaf.first, leaf.first + 1):
        cells = tree.line_content(leaf, number).rstrip("\n")
        head += quote_prefix(leaf.containers) + cells + "\n"
    for number in range(leaf.first + 3, min(leaf.last, tree.settled_lines)):
        yield _at_line(tree, number, leaf.containers, BreakQuality.ROW, head=head)
