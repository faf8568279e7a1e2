"""Cuts: what a page keeps together, and what the next one opens again."""

from __future__ import annotations

import gc
import time

import pytest
import regex

from bot.domain.replies import Page
from bot.replies.paging.document import Document
from bot.replies.unseen_text import MAX_MARKS, UnseenText
from tests.support.replies import ANSWERS, check_final, frame_of, frames, whole
from tests.support.surfaces import Escaping, Measured, utf16


def texts(text: str, limit: int) -> list[str]:
    pages = whole(text, Measured(limit))
    check_final(text, pages, Measured(limit))
    return [page.text for page in pages]


def test_a_long_code_block_is_closed_and_opened_again() -> None:
    """Each page has a whole fence with its language, and no line is broken."""
    code = "\n".join(f"line_{number} = {number}" for number in range(40))
    pages = texts(f"Before:\n\n```python\n{code}\n```\n\nAfter.", 200)
    assert len(pages) == 3
    inside = [page.removeprefix("Before:\n\n").removesuffix("\n\nAfter.") for page in pages]
    assert all(page.startswith("```python\n") and page.endswith("\n```") for page in inside)
    assert "\n".join(page[len("```python\n") : -len("\n```")] for page in inside) == code


def test_code_inside_a_list_keeps_its_own_indentation() -> None:
    """The item's indentation goes from the next page, the code's own stays."""
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
    """The first item of a page has the number that people would read, however it was written."""
    items = [f"{written(number)}. item number {number} of the list" for number in range(1, 31)]
    for page in texts("\n".join(items), 150):
        first = page.split("\n")[0]
        assert first.split(". ")[0] == first.split("number ")[1].split(" ")[0]


def test_a_cut_inside_an_item_keeps_the_next_number() -> None:
    """An item that is longer than a page does not make the list begin anew."""
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
    """Links stay whole; emphasis that is too long is closed, and opened again."""
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
    renderer = Measured(50, measured)
    pages = whole(text, renderer)
    check_final(text, pages, renderer)
    assert [one for page in pages for one in regex.findall(r"\X", page.text)] == expected


def test_what_follows_a_cut_is_still_text() -> None:
    """A page never begins with words that would be a list, a heading or a quote there."""
    text = "It was 1986. A year - of all years - with # signs and > marks. " * 30
    for page in texts(text, 100):
        assert page[0].isalpha()


def test_one_line_of_fifty_thousand_characters() -> None:
    """It goes through, whole, with words or without."""
    for line in ("word " * 10_000, "x" * 50_000, "水" * 50_000, "&" * 50_000):
        for renderer in (Measured(2_000), Measured(2_000, utf16), Escaping(3_000)):
            pages = whole(line, renderer)
            check_final(line, pages, renderer)
            assert "".join(page.text for page in pages).replace(" ", "") == line.replace(" ", "")


def test_a_final_text_keeps_the_pages_it_shares() -> None:
    """A sentence of ours below changes no page above it; another text is cut anew."""
    text = "\n\n".join(f"Paragraph {number} of the answer." for number in range(30))
    document = Document(Measured(200))
    for start in range(0, len(text), 10):
        document.write(text[start : start + 10])
        before = frame_of(document).pages
    document.finish(text + "\n\n*Stopped.*")
    after = frame_of(document).pages
    assert after[: len(before) - 1] == before[:-1]
    assert after[-1].text.endswith("*Stopped.*")
    assert after == whole(text + "\n\n*Stopped.*", Measured(200))
    document = Document(Measured(200))
    document.write(text)
    frame_of(document)
    document.finish("Sorry.")
    assert [page.text for page in frame_of(document).pages] == ["Sorry."]


def test_a_finished_document_takes_nothing_more() -> None:
    """Writing after the end is a mistake of ours, and said so."""
    document = Document(Measured(200))
    document.finish("x")
    with pytest.raises(RuntimeError):
        document.write("y")


def test_the_same_frame_until_something_changes() -> None:
    """Planning twice parses once."""
    document = Document(Measured(200))
    document.write("some text")
    assert document.frame() is document.frame()
    before = document.frame()
    document.write(" and more")
    assert document.frame() is not before


def slowest(text: str, renderer: Measured, size: int) -> tuple[float, float]:
    """The longest step and the sum of all, in seconds of this thread, a frame every `size`."""
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
    """A frame takes less than 10 ms, and a reply of twice the length about twice as long."""
    answer = "\n\n".join(ANSWERS.values())
    longest, once = slowest(answer * 2, Measured(limit), 40)
    _, twice = slowest(answer * 4, Measured(limit), 40)
    assert longest < 0.02, f"{longest * 1000:.1f} ms"  # 10 ms; twice that for a busy machine
    assert twice < 3.5 * once


def test_a_terminal_without_limit_is_linear_too() -> None:
    """One page that never ends is not parsed again from its beginning."""
    answer = "\n\n".join(ANSWERS.values())
    longest, once = slowest(answer * 3, Measured(10**9), 200)
    _, twice = slowest(answer * 6, Measured(10**9), 200)
    assert longest < 0.02, f"{longest * 1000:.1f} ms"
    assert twice < 3.5 * once


def test_stable_text_only_grows() -> None:
    """What may be appended was never other, and it follows what is written closely."""
    text = ANSWERS["latin_prose"]
    before, lag = "", []
    for length, frame in enumerate(frames(text, Measured(10**9))[:-1], 1):
        page = frame.pages[-1] if frame.pages else Page("", "", 0, 0, sealed=False)
        assert page.stable.startswith(before)
        before = page.stable
        lag.append(length - len(before))
    assert sum(lag) / len(lag) < 40


# ── ages ──────────────────────────────────────────────────────────────────────────────────────
def test_unseen_text() -> None:
    """The age is that of the oldest text that is not seen, never younger, and bounded in memory."""
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
