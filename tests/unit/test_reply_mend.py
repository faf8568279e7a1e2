"""Mending: frames never show characters raw that become markup later, according to an independent
parser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.model import ReasoningDisplay
from bot.domain.replies import Frame
from bot.domain.turns import Outcome
from bot.replies.markdown.inline import START
from bot.replies.markdown.mend import close_marks, close_open, mend
from bot.turns.outcome import ReplyDraft
from bot.turns.reasoning import ReasoningView
from tests.support.replies import (
    ANSWERS,
    BEYOND_COMMONMARK,
    anything,
    chunked,
    documents,
    few_examples,
    first_raw,
    frames,
    visible_text,
)
from tests.support.surfaces import PlainRenderer


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
def test_half_written_markup_is_completed(written: str, seen: str) -> None:
    """Open markup is closed, and an undecided end is held back."""
    assert shown(written) == seen


@pytest.fixture(scope="module", params=sorted(ANSWERS.keys() - BEYOND_COMMONMARK))
def grown(request: pytest.FixtureRequest) -> tuple[str, list[Frame]]:
    """A realistic answer, and its frame after every character."""
    text = ANSWERS[request.param]
    return text, frames(text, PlainRenderer(100_000))


def test_answers_never_show_raw_markup(grown: tuple[str, list[Frame]]) -> None:
    """After every character of a realistic answer, all visible text is in the final text."""
    text, seen = grown
    final = visible_text(text)
    for length, frame in enumerate(seen, 1):
        for page in frame.pages:
            assert first_raw(visible_text(page.text), final) is None, (
                text[:length][-60:],
                page.text[-60:],
            )


@settings(few_examples, max_examples=12)
@given(documents, st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_generated_documents_never_show_raw_markup(text: str, sizes: list[int]) -> None:
    final = visible_text(text)
    for frame in frames(chunked(text, sizes), PlainRenderer(100_000)):
        for page in frame.pages:
            assert first_raw(visible_text(page.text), final) is None, page.text[-80:]


dense = st.text(alphabet="*_~[]()`!<&\\ab \n", max_size=300)


@settings(few_examples, max_examples=40)
@given(st.one_of(anything, dense), st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_resuming_gives_the_same_result_as_starting_over(text: str, sizes: list[int]) -> None:
    written, resume = "", START
    for chunk in chunked(text, sizes):
        written += chunk
        mended, fresh = mend(written, resume=resume), mend(written)
        assert replace(mended, resume=START) == replace(fresh, resume=START)
        resume = mended.resume


def test_mending_holds_back_little_text(grown: tuple[str, list[Frame]]) -> None:
    """A line of markers, a table header, or a link's address."""
    _, seen = grown
    behind = [
        length - (frame.pages[-1].end if frame.pages else 0)
        for length, frame in enumerate(seen[:-1], 1)
    ]
    assert max(behind) < 160
    assert sum(behind) / len(behind) < 12


def test_an_open_code_block_is_closed_so_that_text_can_follow() -> None:
    assert close_open("- a\n  ```py\n  x = 1") == "- a\n  ```py\n  x = 1\n  ```"
    assert close_open("```\nx\n```") == "```\nx\n```"
    assert close_open("**open") == "**open"


@pytest.mark.parametrize(
    ("cut_off", "shown_then"),
    [
        ("This is **bold te", "This is **bold te**"),
        ("- `a *b", "- `a *b`"),
        ("***both of ", "***both of***"),
        ("- a\n  ```py\n  x = 1", "- a\n  ```py\n  x = 1\n  ```"),
        ("see [the link](https://e", "see [the link](https://e"),
        ("whole *text*.", "whole *text*."),
        ("", ""),
    ],
)
def test_an_answer_that_was_cut_off_shows_no_open_marks(cut_off: str, shown_then: str) -> None:
    """Nothing of it is taken away."""
    assert close_marks(cut_off) == shown_then
    stopped = ReplyDraft("", ReasoningView(ReasoningDisplay.HIDDEN))
    stopped.text.append(cut_off)
    result = stopped.to_result(Outcome.STOPPED, "Stopped.")
    assert result.content == cut_off.strip()
    assert result.display == "\n\n".join(filter(None, (shown_then, "_Stopped._")))
    assert stopped.to_result(Outcome.ANSWERED).display in (cut_off.strip(), close_open(cut_off))
