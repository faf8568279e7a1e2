"""Page breaks: what a page keeps together, and what the next page reopens."""

from __future__ import annotations

import pytest
import regex

from bot.replies.paging.document import Document
from tests.support.growth import count_calls
from tests.support.replies import ANSWERS, check_final, final_pages, frame_of
from tests.support.surfaces import EscapingRenderer, PlainRenderer, utf16


def texts(text: str, limit: int) -> list[str]:
    pages = final_pages(text, PlainRenderer(limit))
    check_final(text, pages, PlainRenderer(limit))
    return [page.text for page in pages]


def test_a_long_code_block_is_closed_and_reopened() -> None:
    """Each page has a complete fence with its language, and no line is split."""
    code = "\n".join(f"line_{number} = {number}" for number in range(40))
    pages = texts(f"Before:\n\n```python\n{code}\n```\n\nAfter.", 200)
    assert len(pages) == 3
    inside = [page.removeprefix("Before:\n\n").removesuffix("\n\nAfter.") for page in pages]
    assert all(page.startswith("```python\n") and page.endswith("\n```") for page in inside)
    assert "\n".join(page[len("```python\n") : -len("\n```")] for page in inside) == code


def test_code_inside_a_list_keeps_its_own_indentation() -> None:
    """The next page drops the item's indentation and keeps the code's."""
    body = "\n".join(f"       step_{number}()" for number in range(20))
    pages = texts(f"1. Do this:\n\n   ```py\n   def f():\n{body}\n   ```\n2. And that", 150)
    assert pages[1].startswith("```py\n    step_")
    assert pages[-1].endswith("\n```\n\n2. And that")


def test_a_long_table_repeats_its_header() -> None:
    """Every page of a table is a table."""
    rows = [f"| {number} | value of {number} |" for number in range(30)]
    header = "| No | Value |\n|---:|:---|"
    pages = texts("\n".join([header, *rows]), 200)
    assert len(pages) > 3
    assert all(page.startswith(header + "\n| ") for page in pages)
    assert [row for page in pages for row in page.split("\n")[2:]] == rows


@pytest.mark.parametrize("written", [lambda number: number, lambda number: 1])
def test_lists_keep_their_numbers(written) -> None:  # type: ignore[no-untyped-def]
    """The first item of a page has the number that people expect, whatever the model wrote."""
    items = [f"{written(number)}. item number {number} of the list" for number in range(1, 31)]
    for page in texts("\n".join(items), 150):
        first = page.split("\n")[0]
        assert first.split(". ")[0] == first.split("number ")[1].split(" ")[0]


def test_a_break_inside_an_item_keeps_the_next_number() -> None:
    """A list item longer than a page does not restart the numbering."""
    long = " ".join(f"word{number}" for number in range(60))
    pages = texts(f"1. short\n1. {long}\n1. the third\n1. the fourth", 200)
    assert "3. the third" in pages[-1]
    assert not any(page.startswith("    ") for page in pages)


def test_a_heading_stays_with_its_text() -> None:
    """No page ends with a heading."""
    text = "\n\n".join(f"## Part {n}\n\nSome words about part {n}, quite a few." for n in range(20))
    for page in texts(text, 150):
        assert not page.split("\n")[-1].startswith("#")


def test_inline_markup_is_never_split() -> None:
    """Links stay whole; emphasis that is too long is closed and reopened."""
    link = "[a link of some words](https://example.org/a/rather/long/path?with=parameters)"
    text = " ".join(["some words", link] * 20)
    for page in texts(text, 150):
        assert page.count("](https://example.org/a/rather/long/path?with=parameters)") == (
            page.count("[a link")
        )
    bold = "**" + " ".join(f"word{number}" for number in range(60)) + "**"
    for page in texts(bold, 120):
        assert page.startswith("**") and page.endswith("**") and page.count("**") == 2


@pytest.mark.parametrize("measured", [len, utf16])
def test_graphemes_are_never_split(measured) -> None:  # type: ignore[no-untyped-def]
    """Families, flags, skin tones and combining marks stay whole, in any measure."""
    family = "👨\u200d👩\u200d👧\u200d👦👍🏽🇯🇵e\u0301\u0323한글กำ"
    text = family * 60
    expected = regex.findall(r"\X", text)
    renderer = PlainRenderer(50, measured)
    pages = final_pages(text, renderer)
    check_final(text, pages, renderer)
    assert [one for page in pages for one in regex.findall(r"\X", page.text)] == expected


def test_text_after_a_break_is_still_text() -> None:
    """No page begins with words that would become a list, a heading or a quote there."""
    text = "It was 1986. A year - of all years - with # signs and > marks. " * 30
    for page in texts(text, 100):
        assert page[0].isalpha()


def test_a_line_of_fifty_thousand_characters_is_shown_whole() -> None:
    for line in ("word " * 10_000, "x" * 50_000, "水" * 50_000, "&" * 50_000):
        for renderer in (
            PlainRenderer(2_000),
            PlainRenderer(2_000, utf16),
            EscapingRenderer(3_000),
        ):
            pages = final_pages(line, renderer)
            check_final(line, pages, renderer)
            assert "".join(page.text for page in pages).replace(" ", "") == line.replace(" ", "")


def test_a_final_text_keeps_the_pages_that_it_shares() -> None:
    """An added notice changes no earlier page; a different text is paginated from the beginning."""
    text = "\n\n".join(f"Paragraph {number} of the answer." for number in range(30))
    document = Document(PlainRenderer(200))
    for start in range(0, len(text), 10):
        document.write(text[start : start + 10])
        before = frame_of(document).pages
    document.finish(text + "\n\n*Stopped.*")
    after = frame_of(document).pages
    assert after[: len(before) - 1] == before[:-1]
    assert after[-1].text.endswith("*Stopped.*")
    assert after == final_pages(text + "\n\n*Stopped.*", PlainRenderer(200))
    document = Document(PlainRenderer(200))
    document.write(text)
    frame_of(document)
    document.finish("Sorry.")
    assert [page.text for page in frame_of(document).pages] == ["Sorry."]


def test_writing_to_a_finished_document_raises() -> None:
    document = Document(PlainRenderer(200))
    document.finish("x")
    with pytest.raises(RuntimeError):
        document.write("y")


def test_the_frame_is_cached_until_something_changes() -> None:
    document = Document(PlainRenderer(200))
    document.write("some text")
    assert document.frame() is document.frame()
    before = document.frame()
    document.write(" and more")
    assert document.frame() is not before


def steps(text: str, renderer: PlainRenderer, size: int) -> tuple[int, int]:
    """The longest step and the sum of all steps, in function calls, with a frame every `size`
    characters."""
    document, counts = Document(renderer), []
    for start in range(0, len(text), size):
        document.write(text[start : start + size])
        counts.append(count_calls(document.frame))
    return max(counts), sum(counts)


@pytest.mark.parametrize("limit", [2_000, 12_000])
def test_no_step_is_long_and_the_cost_is_linear(limit: int) -> None:
    """The longest step depends on the page size, and twice the text costs about twice as much."""
    answer = "\n\n".join(ANSWERS.values())
    _, once = steps(answer * 2, PlainRenderer(limit), 40)
    longest, twice = steps(answer * 4, PlainRenderer(limit), 40)
    assert longest < 3 * limit + 5_000  # a page break reads its page
    assert twice < 3 * once  # a quadratic cost would be four times as high
