"""The cost of a reply is linear in its length and comes in small steps, for any text.

The tests count costs (function calls, characters rendered) instead of timing them, so that results
are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.replies.paging.document import Document
from tests.support.growing_documents import PLAIN
from tests.support.growth import count_calls
from tests.support.surface_harnesses import WebHarness
from tests.support.surfaces import PlainRenderer
from tests.support.worst_documents import CASES

WORST = (
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


class Counted(PlainRenderer):
    """Counts the characters that are rendered to be measured."""

    rendered = 0

    def measure(self, markdown: str) -> int:
        self.rendered += len(markdown)
        return super().measure(markdown)


def calls_of_steps(document: Document) -> Iterator[int]:
    """How many Python functions each step calls, until everything written is shown."""
    while True:
        yield count_calls(document.frame)
        if not document.behind:
            return


def all_steps(text: str, renderer: PlainRenderer) -> list[int]:
    """The steps of a text that arrives in one piece, including its end."""
    document = Document(renderer)
    document.write(text)
    steps = list(calls_of_steps(document))
    document.finish()
    return steps + list(calls_of_steps(document))


@pytest.mark.parametrize("name", WORST)
def test_the_cost_is_linear_in_the_length(name: str) -> None:
    """No step grows with the document."""
    short, long = Counted(LIMIT), Counted(LIMIT)
    half, whole = all_steps(CASES[name][:12_000], short), all_steps(CASES[name][:24_000], long)
    assert sum(whole) < 3.5 * sum(half)  # a quadratic cost would be four times as high
    assert long.rendered < 3.5 * short.rendered
    assert max(whole) < 1.5 * max(half) + 1_000


# A fence of 24,000 backticks is longer than a page, and every break would close it.
@pytest.mark.parametrize("name", sorted({*WORST} - {"backticks"}))
def test_a_page_is_rendered_a_few_times_only(name: str) -> None:
    """Checks and breaks together render fewer than 25 pages for each page shown."""
    renderer = Counted(LIMIT)
    document = Document(renderer)
    document.write(CASES[name][:24_000])
    document.finish()
    list(calls_of_steps(document))
    pages = len(document.frame().pages)
    assert renderer.rendered < 25 * (pages + 3) * LIMIT


LONG = PLAIN | {"list": "- some words and `code`\n" * 80}


@pytest.mark.parametrize("name", LONG)
async def test_the_page_gets_a_frame_at_the_same_cost_at_any_length(name: str) -> None:
    """The page shows the source, so that nothing of a growing block is parsed for its frames."""
    async with WebHarness.start() as harness:
        surface = harness.surface()
        document = Document(surface.renderer, surface.files)
        costs = []
        for _ in range(3):
            for _ in range(10):
                document.write(LONG[name])
                document.frame()
            document.write("a")
            costs.append(count_calls(document.frame))
        assert document.frame().pages[0].text == document.text
    assert len(set(costs)) == 1
