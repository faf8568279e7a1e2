"""A cut in a table that still grows, so that its first rows are not parsed again.

Invariant: cutting does not change the blocks. Each row before a cut is complete, begins with a
pipe, so that no other block can begin there, and lacks no cell, so that it does not count toward
the limit of added cells.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.replies.markdown.blocks import BlockTree, Leaf
from bot.replies.markdown.table_rows import alignments, split_cells

LEFT = 3
"""The fewest complete rows to leave after a cut: mending may hold back the last ones."""

SHORTEST = 400
"""The fewest characters of rows that justify another cut."""


@dataclass(frozen=True, slots=True)
class TableCut:
    """The place `at` in a text, in a table; `head` is the table's header with its delimiter row.

    `head`, followed by the text from `at` on, has the same blocks as the text from the table on.
    """

    head: str
    at: int

    @property
    def begin(self) -> int:
        """The offset in the text at which its head would begin."""
        return self.at - len(self.head)


def next_cut(tree: BlockTree, begin: int) -> TableCut | None:
    """A cut in the tree's only block; None if none is worth it.

    `begin` is the tree's offset in the text.
    """
    leaf = tree.leaves[0] if len(tree.leaves) == 1 else None
    if leaf is None or leaf.kind != "table" or leaf.containers or leaf.last < tree.complete_lines:
        return None
    rows = leaf.first + 2
    if tree.complete_lines - LEFT <= rows:
        return None
    last = _last_whole_row(tree, leaf, rows)
    if tree.line_starts[last] - tree.line_starts[rows] < SHORTEST:
        return None
    head = tree.text[tree.line_starts[leaf.first] : tree.line_starts[rows]]
    return TableCut(head, begin + tree.line_starts[last])


def _last_whole_row(tree: BlockTree, leaf: Leaf, rows: int) -> int:
    """The number of the line after the rows that may be before a cut; line `rows` is the first."""
    columns = len(alignments(tree.line(leaf.first + 1)) or ())
    for number in range(rows, tree.complete_lines - LEFT):
        line = tree.line(number)
        if not line.startswith("|") or len(split_cells(line, columns)) < columns:
            return number
    return tree.complete_lines - LEFT
