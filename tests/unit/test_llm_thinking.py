"""Reasoning between tags: told from text, however it is cut, and never the loss of an answer."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.llm.think_tags import TAGS, TagQuirk, ThinkTagParser


def split(
    pieces: list[str], *, finish: str = "stop", habit: TagQuirk | None = None
) -> tuple[str, str]:
    """The reasoning and the text of an answer that comes in these pieces."""
    splitter = ThinkTagParser(habit or TagQuirk())
    told = []
    for piece in pieces:
        told.append(("", piece) if splitter.settled else splitter.feed(piece))
    if not splitter.settled:
        told.append(splitter.flush(finish in ("length", "content_filter")))
    return "".join(reasoning for reasoning, _ in told), "".join(text for _, text in told)


def unopened() -> TagQuirk:
    habit = TagQuirk()
    habit.unopened = True
    return habit


ANSWERS = [
    # (the answer, its reasoning, its text)
    ("Yes.", "", "Yes."),
    ("<think>\nHm.\n</think>\n\nYes.", "\nHm.\n", "Yes."),
    ("<think>Hm.</think>Yes.", "Hm.", "Yes."),
    (" \n<think>Hm.</think> Yes.", "Hm.", "Yes."),
    ("<thinking>a < b </think> </thin</thinking>Yes.", "a < b </think> </thin", "Yes."),
    ("<thought>Hm.</thought>\nYes.", "Hm.", "Yes."),
    ("<think></think>Yes.", "", "Yes."),
    ("</think>\n\nYes.", "", "Yes."),
    ("<think>a</think>\n<think>b</think>\nYes.", "ab", "Yes."),
    ("<think>Hm.</think>\n\n", "Hm.", ""),
    ("<think>Hm.</think>\n\nYes, </think> it is <think>.", "Hm.", "Yes, </think> it is <think>."),
    ("  indented", "", "  indented"),
    ("<thinker> is a word", "", "<thinker> is a word"),
    ("<thi", "", "<thi"),
    ("< think>", "", "< think>"),
    ("<Think>loud</Think>", "", "<Think>loud</Think>"),
    ("`<think>` begins it, `</think>` ends it.", "", "`<think>` begins it, `</think>` ends it."),
    ("```\n<think>x</think>\n```", "", "```\n<think>x</think>\n```"),
    ("So: <think>x</think>", "", "So: <think>x</think>"),
    (" \n ", "", " \n "),
    ("", "", ""),
]


@pytest.mark.parametrize(("answer", "reasoning", "text"), ANSWERS)
def test_every_cut_gives_the_same(answer: str, reasoning: str, text: str) -> None:
    """Whole, character by character, and cut at every one and every two places."""
    places = range(1, len(answer))
    cuts = [(), tuple(places), *combinations(places, 1), *combinations(places, 2)]
    for cut in cuts:
        pieces = [answer[a:b] for a, b in pairwise((0, *cut, len(answer)))]
        assert split(pieces) == (reasoning, text), pieces


_BITS = st.lists(
    st.sampled_from([*TAGS, "<thi", "nk>", "</", ">", "\n", " ", "Hm.", "`", "İ", "🙂"]),
    max_size=12,
).map("".join)


@given(answer=_BITS, cuts=st.lists(st.integers(0, 60), max_size=6), assumed=st.booleans())
def test_any_chunking_gives_the_same(answer: str, cuts: list[int], assumed: bool) -> None:
    """Also with an opening tag that is taken to have been in the prompt."""
    ends = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[a:b] for a, b in pairwise(ends)]

    def habit() -> TagQuirk:
        return unopened() if assumed else TagQuirk()

    assert split(pieces, habit=habit()) == split([answer], habit=habit())


@given(answer=_BITS, assumed=st.booleans())
def test_an_answer_that_is_whole_loses_no_word(answer: str, assumed: bool) -> None:
    """What is neither a tag nor a blank is in the reasoning or in the text."""
    reasoning, text = split([answer], habit=unopened() if assumed else TagQuirk())
    for word in ("Hm.", "`", "🙂"):
        assert (reasoning + text).count(word) >= answer.count(word)


@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
def test_a_tag_that_never_closes_does_not_swallow_the_answer(finish: str) -> None:
    """The model says that it has answered: so the answer is in what it wrote."""
    _, text = split(["<think>", "It is", " 42.</thi"], finish=finish)
    assert text == "It is 42.</thi"
    _, text = split(["<think>a</think><think>b", "c"], finish=finish)
    assert text == "bc"


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_reasoning_that_was_cut_off_is_no_answer(finish: str) -> None:
    assert split(["<think>", "It is</", "th"], finish=finish) == ("It is</th", "")


def test_an_opening_tag_in_the_prompt_is_learned_from_its_closing_tag() -> None:
    """The piece with the tag begins a line; quoted inside a line it means nothing."""
    habit = TagQuirk()
    for before, piece in (("`", "</think>"), ("the ", "tag </think>"), ("", "a </think>")):
        habit.notice(before, piece)
        assert not habit.unopened
    for before, piece in (("done.\n", "</think>"), ("", "</think>\n"), ("x", "\n</think>\n\nHi")):
        habit = TagQuirk()
        habit.notice(before, piece)
        assert habit.unopened
        assert split(["Hm.\n", "</thi", "nk>\n\nHi"], habit=habit) == ("Hm.\n", "Hi")
        assert habit.unopened


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_what_was_learned_wrongly_costs_no_answer_and_is_forgotten(finish: str) -> None:
    """All of it is text in the end, and the next answer streams again."""
    habit = unopened()
    reasoning, text = split(["It is", " 42."], habit=habit, finish=finish)
    assert (reasoning, text) == ("It is 42.", "It is 42.")
    assert not habit.unopened
    assert split(["It is", " 42."], habit=habit) == ("", "It is 42.")


def test_a_model_that_opens_its_tags_after_all_is_believed() -> None:
    habit = unopened()
    assert split(["<think>Hm.</think>Hi"], habit=habit) == ("Hm.", "Hi")
    assert not habit.unopened


def test_text_is_not_held_longer_than_it_can_be_a_tag() -> None:
    """The first piece that is none goes out at once, with all before it."""
    splitter = ThinkTagParser(TagQuirk())
    assert splitter.feed("<th") == ("", "")
    assert splitter.feed("ere") == ("", "<there")
    assert splitter.settled
