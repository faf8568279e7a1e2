"""The shape of what a reply costs: linear in its length, in small steps, whatever is written.

Costs are counted (calls of Python functions, characters rendered), not timed: the same everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from bot.replies.paging.document import Document
from tests.support.surfaces import Measured
from tests.support.worst_documents import CASES

UNKIND = (
    "one word",
    "stars both",
    "strong open",
    "emphasis",
    "closing",
    "brackets",
    "empty links",
    "pictures",
    "long address",
    "backticks",
    "backticks apart",
    "backticks growing",
    "code",
    "pipes",
    "blanks",
    "table of 2,000 rows",
    "open emphasis",
)
LIMIT = 2_000


class Counted(Measured):
    """Counts the characters that are rendered to be measured."""

    rendered = 0

    def measure(self, markdown: str) -> int:
        self.rendered += len(markdown)
        return super().measure(markdown)


def calls_of_steps(document: Document) -> Iterator[int]:
    """How many Python functions each step calls, until all that has come is shown."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    while True:
        calls = 0
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            document.frame()
        finally:
            sys.setprofile(before)
        yield calls
        if not document.behind:
            return


def all_steps(text: str, renderer: Measured) -> list[int]:
    """The steps of a text that comes at once, its end included."""
    document = Document(renderer)
    document.write(text)
    steps = list(calls_of_steps(document))
    document.finish()
    return steps + list(calls_of_steps(document))


@pytest.mark.parametrize("name", UNKIND)
def test_twice_as_much_costs_twice_as_much(name: str) -> None:
    """A document of any make is worked through in linear time, and no step grows with it."""
    short, long = Counted(LIMIT), Counted(LIMIT)
    half, whole = all_steps(CASES[name][:12_000], short), all_steps(CASES[name][:24_000], long)
    assert sum(whole) < 3.5 * sum(half)  # and four times would be quadratic
    assert long.rendered < 3.5 * short.rendered
    assert max(whole) < 1.5 * max(half) + 1_000


# A fence of 24,000 backticks is longer than a page, and every cut would close it.
@pytest.mark.parametrize("name", sorted({*UNKIND} - {"backticks"}))
def test_a_page_is_rendered_a_few_times_only(name: str) -> None:
    """Looks and cuts together render less than 25 pages for each page that is shown."""
    renderer = Counted(LIMIT)
    document = Document(renderer)
    document.write(CASES[name][:24_000])
    document.finish()
    list(calls_of_steps(document))
    pages = len(document.frame().pages)
    assert renderer.rendered < 25 * (pages + 3) * LIMIT
