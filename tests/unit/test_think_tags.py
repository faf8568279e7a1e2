"""Reasoning between tags is separated from text, however it is split, and no answer is lost."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.llm.think_tags import TAGS, StreamQuirks, ThinkTagParser


def split(
    pieces: list[str], *, finish: str = "stop", quirks: StreamQuirks | None = None
) -> tuple[str, str]:
    """The reasoning and the text of an answer that arrives in these pieces."""
    parser = ThinkTagParser(quirks or StreamQuirks())
    parsed = []
    for piece in pieces:
        parsed.append(("", piece) if parser.settled else parser.feed(piece))
    if not parser.settled:
        parsed.append(parser.flush(finish in ("length", "content_filter")))
    return "".join(reasoning for reasoning, _ in parsed), "".join(text for _, text in parsed)


def inside_tag() -> StreamQuirks:
    quirks = StreamQuirks()
    quirks.starts_inside_tag = True
    return quirks


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
def test_the_result_does_not_depend_on_one_or_two_cuts(
    answer: str, reasoning: str, text: str
) -> None:
    """The text arrives whole, character by character, and cut at every position or pair of
    positions."""
    positions = range(1, len(answer))
    cuts = [(), tuple(positions), *combinations(positions, 1), *combinations(positions, 2)]
    for cut in cuts:
        pieces = [answer[a:b] for a, b in pairwise((0, *cut, len(answer)))]
        assert split(pieces) == (reasoning, text), pieces


_BITS = st.lists(
    st.sampled_from([*TAGS, "<thi", "nk>", "</", ">", "\n", " ", "Hm.", "`", "İ", "🙂"]),
    max_size=12,
).map("".join)


@given(answer=_BITS, cuts=st.lists(st.integers(0, 60), max_size=6), assumed=st.booleans())
def test_the_result_does_not_depend_on_the_pieces(
    answer: str, cuts: list[int], assumed: bool
) -> None:
    """This also holds if the answer is assumed to start inside a tag."""
    ends = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[a:b] for a, b in pairwise(ends)]

    def quirks() -> StreamQuirks:
        return inside_tag() if assumed else StreamQuirks()

    assert split(pieces, quirks=quirks()) == split([answer], quirks=quirks())


@given(answer=_BITS, assumed=st.booleans())
def test_a_complete_answer_loses_no_word(answer: str, assumed: bool) -> None:
    """Every word ends up in the reasoning or in the text."""
    reasoning, text = split([answer], quirks=inside_tag() if assumed else StreamQuirks())
    for word in ("Hm.", "`", "🙂"):
        assert (reasoning + text).count(word) >= answer.count(word)


@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
def test_an_unclosed_tag_does_not_swallow_the_answer(finish: str) -> None:
    """The finish reason says that the model answered, so the answer is part of its text."""
    _, text = split(["<think>", "It is", " 42.</thi"], finish=finish)
    assert text == "It is 42.</thi"
    _, text = split(["<think>a</think><think>b", "c"], finish=finish)
    assert text == "bc"


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_reasoning_cut_off_by_a_limit_is_not_an_answer(finish: str) -> None:
    assert split(["<think>", "It is</", "th"], finish=finish) == ("It is</th", "")


def test_a_closing_tag_alone_reveals_an_opening_tag_in_the_prompt() -> None:
    """The tag must begin a line; one quoted inside a line means nothing."""
    quirks = StreamQuirks()
    for before, piece in (("`", "</think>"), ("the ", "tag </think>"), ("", "a </think>")):
        quirks.detect_unopened_tag(before, piece)
        assert not quirks.starts_inside_tag
    for before, piece in (("done.\n", "</think>"), ("", "</think>\n"), ("x", "\n</think>\n\nHi")):
        quirks = StreamQuirks()
        quirks.detect_unopened_tag(before, piece)
        assert quirks.starts_inside_tag
        assert split(["Hm.\n", "</thi", "nk>\n\nHi"], quirks=quirks) == ("Hm.\n", "Hi")
        assert quirks.starts_inside_tag


def test_the_closing_tag_may_be_another_or_follow_a_sentence() -> None:
    """Gemma 4 on vLLM, and DeepSeek-V4 on SGLang."""
    for piece, tag in (("Scan.\n<channel|>", "<channel|>"), ("Done.</think>Hi", "</think>")):
        quirks = StreamQuirks()
        quirks.detect_unopened_tag("", piece)
        assert quirks.starts_inside_tag
        assert split([f"Hm.{tag}Hi"], quirks=quirks) == ("Hm.", "Hi")


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_wrong_assumption_costs_no_answer_and_is_dropped(finish: str) -> None:
    """The whole answer becomes text at its end, and the next answer streams normally."""
    quirks = inside_tag()
    reasoning, text = split(["It is", " 42."], quirks=quirks, finish=finish)
    assert (reasoning, text) == ("It is 42.", "It is 42.")
    assert not quirks.starts_inside_tag
    assert split(["It is", " 42."], quirks=quirks) == ("", "It is 42.")


def test_an_opening_tag_disproves_the_assumption() -> None:
    quirks = inside_tag()
    assert split(["<think>Hm.</think>Hi"], quirks=quirks) == ("Hm.", "Hi")
    assert not quirks.starts_inside_tag


def test_text_is_held_back_only_while_it_may_be_a_tag() -> None:
    """The first piece that rules out a tag releases all held text."""
    parser = ThinkTagParser(StreamQuirks())
    assert parser.feed("<th") == ("", "")
    assert parser.feed("ere") == ("", "<there")
    assert parser.settled
