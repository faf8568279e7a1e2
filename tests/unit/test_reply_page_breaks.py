"""Page breaks: what a page keeps together, and what the next page reopens."""

from __future__ import annotations

import gc
import time

import pytest
import regex

from bot.domain.replies import Page
from bot.replies.paging.document import Document
from bot.replies.unseen_text import MAX_MARKS, UnseenText
from tests.support.replies import ANSWERS, check_final, final_pages, frame_of, frames
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
    """No page begins with words that would be a list, a heading or a quote there."""
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


def slowest(text: str, renderer: PlainRenderer, size: int) -> tuple[float, float]:
    """The third-longest step and the sum of all, in seconds of CPU, with a frame every `size`."""
    document, steps = Document(renderer), []
    gc.disable()
    for start in range(0, len(text), size):
        document.write(text[start : start + size])
        began = time.thread_time()
        document.frame()
        steps.append(time.thread_time() - began)
    gc.enable()
    return sorted(steps)[-3], sum(steps)


@pytest.mark.parametrize("limit", [2_000, 12_000])
def test_no_step_is_long_and_the_cost_is_linear(limit: int) -> None:
    """A frame takes less than 10 ms, and twice the text about twice as long."""
    answer = "\n\n".join(ANSWERS.values())
    longest, once = slowest(answer * 2, PlainRenderer(limit), 40)
    _, twice = slowest(answer * 4, PlainRenderer(limit), 40)
    assert longest < 0.02, f"{longest * 1000:.1f} ms"  # 10 ms, doubled for a busy machine
    assert twice < 3.5 * once


def test_the_cost_is_linear_without_a_page_limit() -> None:
    """A page that never ends is not parsed again from its beginning."""
    answer = "\n\n".join(ANSWERS.values())
    longest, once = slowest(answer * 3, PlainRenderer(10**9), 200)
    _, twice = slowest(answer * 6, PlainRenderer(10**9), 200)
    assert longest < 0.02, f"{longest * 1000:.1f} ms"
    assert twice < 3.5 * once


def test_stable_text_only_grows() -> None:
    """Appended text never changes, and it closely follows the written text."""
    text = ANSWERS["latin_prose"]
    before, lag = "", []
    for length, frame in enumerate(frames(text, PlainRenderer(10**9))[:-1], 1):
        page = frame.pages[-1] if frame.pages else Page("", "", 0, 0, sealed=False)
        assert page.stable.startswith(before)
        before = page.stable
        lag.append(length - len(before))
    assert sum(lag) / len(lag) < 40


# ── unseen text ─────────────────────────────────────────────────────────────────────────────────
def test_the_age_is_that_of_the_oldest_unseen_text() -> None:
    """The age never understates, and its memory is bounded."""
    unseen = UnseenText()
    assert unseen.oldest(5.0) == 5.0
    unseen.text_written(10, 1.0)
    unseen.text_written(15, 1.005)
    unseen.text_written(20, 2.0)
    assert unseen.oldest(9.0) == 1.0
    unseen.text_shown(12)
    assert unseen.oldest(9.0) == 1.0
    unseen.text_shown(15)
    assert unseen.oldest(9.0) == 2.0
    unseen.text_shown(20)
    assert unseen.oldest(9.0) == 9.0
    for number in range(3 * MAX_MARKS):
        unseen.text_written(100 + number, 10.0 + number)
    assert len(unseen._marks) <= MAX_MARKS
    unseen.text_shown(100 + 2 * MAX_MARKS)
    assert unseen.oldest(1e6) <= 10.0 + 2 * MAX_MARKS + 1
