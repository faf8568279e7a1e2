"""Frames: nothing that is markup in the end is seen raw on the way, judged by another parser."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.replies import Frame
from bot.replies.markdown.inline import START
from bot.replies.markdown.mend import close_open, mend
from tests.support.replies import (
    ANSWERS,
    BEYOND_COMMONMARK,
    anything,
    chunked,
    documents,
    frames,
    quickly,
    raw_in,
    visible,
)
from tests.support.surfaces import Measured


def shown(text: str) -> str:
    return mend(text).text.rstrip()


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("some **bol", "some **bol**"),
        ("some **bold*", "some **bold**"),
        ("some **", "some"),
        ("some **bold ", "some **bold**"),
        ("*one **two", "*one **two***"),
        ("***both", "***both***"),
        ("~~gone", "~~gone~~"),
        ("run `make te", "run `make te`"),
        ("run `", "run"),
        ("run ``a ` b", "run ``a ` b``"),
        ("see [the page](https://exa", "see the page"),
        ("see [the **pa", "see the **pa**"),
        ("see [x]", "see x"),
        ("see [x] and", "see [x] and"),
        ("a picture ![of a ca", "a picture of a ca"),
        ("hi <@1234", "hi"),
        ("hi <@1234>", "hi <@1234>"),
        ("1 < 2", "1 < 2"),
        ("2 * 3", "2 * 3"),
        ("snake_case_name", "snake_case_name"),
        ("AT&am", "AT"),
        ("AT&amp; T", "AT&amp; T"),
        ("a \\", "a"),
        ("text\n--", "text"),
        ("text\n##", "text"),
        ("text\n\n1", "text"),
        ("text\n\n1. ", "text"),
        ("text\n\n- **", "text"),
        ("text\n\n| a | b |", "text"),
        ("text\n\n| a | b |\n|--", "text"),
        ("text\n| a | b |\n", "text"),
        ("| a |\n|---|\n| **b", "| a |\n|---|\n| **b**"),
        ("| a |\n|---|\n| b |\n|", "| a |\n|---|\n| b |"),
        ("text\n```py", "text"),
        ("text\n```py\n", "text"),
        ("text\n```py\nx", "text\n```py\nx\n```"),
        ("```\nx\n``", "```\nx\n```"),
        ("- a\n\n  ```\n  x", "- a\n\n  ```\n  x\n  ```"),
        ("> ```\n> x", "> ```\n> x\n> ```"),
        ("> some *it", "> some *it*"),
        ("> **two\n> lines", "> **two\n> lines**"),
    ],
)
def test_half_written_markup(written: str, seen: str) -> None:
    """What is open is closed; what cannot be told yet is held back."""
    assert shown(written) == seen


@pytest.fixture(scope="module", params=sorted(ANSWERS.keys() - BEYOND_COMMONMARK))
def grown(request: pytest.FixtureRequest) -> tuple[str, list[Frame]]:
    """A realistic answer, and its frame after every character."""
    text = ANSWERS[request.param]
    return text, frames(text, Measured(100_000))


def test_answers_are_never_seen_raw(grown: tuple[str, list[Frame]]) -> None:
    """After every character of a realistic answer, what is seen is there in the end."""
    text, seen = grown
    final = visible(text)
    for length, frame in enumerate(seen, 1):
        for page in frame.pages:
            assert raw_in(visible(page.text), final) is None, (text[:length][-60:], page.text[-60:])


@settings(quickly, max_examples=12)
@given(documents, st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_generated_documents_are_never_seen_raw(text: str, sizes: list[int]) -> None:
    """The same holds for generated Markdown."""
    final = visible(text)
    for frame in frames(chunked(text, sizes), Measured(100_000)):
        for page in frame.pages:
            assert raw_in(visible(page.text), final) is None, page.text[-80:]


dense = st.text(alphabet="*_~[]()`!<&\\ab \n", max_size=300)


@settings(quickly, max_examples=40)
@given(st.one_of(anything, dense), st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_reading_on_comes_to_what_reading_anew_does(text: str, sizes: list[int]) -> None:
    """Words that are decided need not be read again, however the text grew up to there."""
    written, since = "", START
    for chunk in chunked(text, sizes):
        written += chunk
        mended, anew = mend(written, since=since), mend(written)
        assert (mended.text, mended.keep, mended.clean) == (anew.text, anew.keep, anew.clean)
        since = mended.resume


def test_an_answer_is_never_far_behind(grown: tuple[str, list[Frame]]) -> None:
    """What is held back is short: a line of marks, a table's header, a link's address."""
    _, seen = grown
    behind = [
        length - (frame.pages[-1].end if frame.pages else 0)
        for length, frame in enumerate(seen[:-1], 1)
    ]
    assert max(behind) < 160
    assert sum(behind) / len(behind) < 12


def test_text_below_an_open_code_block() -> None:
    """A sentence of ours can stand below an answer that broke off in code."""
    assert close_open("- a\n  ```py\n  x = 1") == "- a\n  ```py\n  x = 1\n  ```"
    assert close_open("```\nx\n```") == "```\nx\n```"
    assert close_open("**open") == "**open"
