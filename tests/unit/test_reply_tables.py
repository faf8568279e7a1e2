"""A long table that grows: its frames cost as much as its end, and look as if all were parsed."""

from __future__ import annotations

import random

import pytest

from bot.replies.markdown.blocks import BlockTree
from bot.replies.markdown.mend import mend
from bot.replies.markdown.table_cut import next_cut
from bot.replies.paging.document import Document
from tests.support.growth import count_calls
from tests.support.surfaces import PlainRenderer

WHOLE = "|some words|`a|b` and *more*|\n"
ODD = (
    "|a\n", "a|b\n", "| a | b | c |\n", "|`x|y`|\n", "|*x|y*|\n", "||\n", "| |\n", "|-|-|\n",
    "|`open|b|\n", "| $a|b$ | c |\n", "|\\|\n", "$$|x\n", "\\[|x\n", "> q|r\n", "- x|y\n", "\n",
    "text\n", "    x|y\n", "```\n", "# h\n",
)  # fmt: skip


def table(seed: int) -> str:
    """A table with odd rows, or what ends it, between many ordinary ones."""
    chance = random.Random(seed)
    text = chance.choice(["", "Some *words*.\n\n"]) + "|one|two|\n|-|:-|\n"
    for _ in range(chance.randint(1, 4)):
        text += WHOLE * chance.randint(10, 40)
        text += "".join(chance.choices(ODD, k=chance.randint(0, 3)))
    return text


@pytest.mark.parametrize("seed", range(40))
def test_each_frame_is_as_if_the_whole_table_were_parsed(seed: int) -> None:
    """Tries odd rows and other blocks after many rows, in chunks of any size."""
    text, chance = table(seed), random.Random(seed)
    document, end = Document(PlainRenderer(1_000_000)), 0
    while end < len(text):
        step = chance.choice([1, 2, 7, 40, 300])
        document.write(text[end : end + step])
        end = min(len(text), end + step)
        frame, mended = document.frame(), mend(text[:end])
        assert "".join(page.text for page in frame.pages) == mended.text.rstrip()
        assert all(page.stable == text[: len(page.stable)] for page in frame.pages)


def test_a_frame_of_a_table_costs_the_same_at_any_length() -> None:
    """Rows that are complete are not parsed again."""
    document, costs = Document(PlainRenderer(1_000_000)), []
    document.write("|one|two|\n|-|-|\n")
    for _ in range(8):
        document.write(WHOLE * 40)
        document.frame()
        document.write("|some")
        costs.append(count_calls(document.frame))
        document.write("|words|\n")
    assert max(costs) < 1.5 * min(costs)


def test_no_cut_where_a_row_lacks_a_cell_or_may_be_another_block() -> None:
    """A row that lacks a cell counts toward a limit; one without a pipe may become a formula."""
    head = "|one|two|\n|-|-|\n"
    for row in ("|one\n", "$$|x\n", "one|two\n"):
        cut = next_cut(BlockTree(head + WHOLE * 20 + row + WHOLE * 20), 0)
        assert cut is not None
        assert cut.at == len(head + WHOLE * 20)
