"""Reasoning and special tokens are separated from text, however the text is split into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.model import Delta
from bot.llm.reasoning_splitter import ReasoningSplitter
from bot.llm.special_tokens import TOKENS
from bot.llm.think_tags import StreamQuirks

CHANNELS = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>{}"

ANSWERS = [
    # (the answer, its reasoning, its text)
    (CHANNELS.format("Hm.", "Yes.") + "<|return|>", "Hm.", "Yes."),
    (CHANNELS.format("a <|x|> b", "Yes."), "a <|x|> b", "Yes."),
    ("<|start|>assistant" + CHANNELS.format("Hm.", "Yes.<|end|>"), "Hm.", "Yes."),
    (
        "<|channel|>commentary to=functions.x <|constrain|>json<|message|>{}<|call|>"
        "<|start|>assistant<|channel|>final<|message|>Yes.",
        "{}",
        "Yes.",
    ),
    ("<|channel|>analysis<|message|>Hm.<|start|>assistant<|channel|>final<|message|>Y", "Hm.", "Y"),
    ("<|channel|>final <|message|>Use `<|start|>`.", "", "Use `<|start|>`."),
    ("<|channel|> is a token of harmony.", "", "<|channel|> is a token of harmony."),
    ("The `<|channel|>final<|message|>` header.", "", "The `<|channel|>final<|message|>` header."),
    ("analysisWe see.assistantfinalYes.", "We see.", "Yes."),
    ("analysis of the text: none.", "", "analysis of the text: none."),
    ("analysis", "", "analysis"),
    ("an answer", "", "an answer"),
    ("Yes.<|im_end|>", "", "Yes."),
    ("Yes.</s></s>\n", "", "Yes."),
    ("Yes.\n<|eot_id|>", "", "Yes."),
    ("<think>Hm.</think>Yes.<|im_end|>", "Hm.", "Yes."),
    ("[THINK]Hm.[/THINK]Yes.", "Hm.", "Yes."),
    ("◁think▷Hm.◁/think▷Yes.", "Hm.", "Yes."),
    (
        "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>",
        "Hm.",
        "Yes.",
    ),
    ("<reasoning>Hm.</reasoning>Yes.", "Hm.", "Yes."),
    ("<|thinking|>Hm.<|/thinking|>Yes.", "Hm.", "Yes."),
    ("<｜begin▁of▁sentence｜><think>Hm.</think>Yes.", "Hm.", "Yes."),
    ("<|im_start|>assistant\nYes.<|im_end|>", "", "Yes."),
    (
        "<|begin_of_thought|>Hm.<|end_of_thought|>\n<|begin_of_solution|>Yes.<|end_of_solution|>",
        "Hm.",
        "Yes.",
    ),
    ("`<|im_start|>assistant` begins it.", "", "`<|im_start|>assistant` begins it."),
    ("[1, 2]", "", "[1, 2]"),
    ("<s>gone</s>", "", "<s>gone</s>"),
    ("It ends with `<|im_end|>`", "", "It ends with `<|im_end|>`"),
    ("It ends with `<|im_end|>", "", "It ends with `<|im_end|>"),
    ("The token is <|im_end|>", "", "The token is <|im_end|>"),
    ("The token is:\n\n<|im_end|>", "", "The token is:\n\n<|im_end|>"),
    ("a <|im_end|> b", "", "a <|im_end|> b"),
    ("x < y and <|im", "", "x < y and <|im"),
]


def split(pieces: list[str], *, cut: bool = False) -> tuple[str, str]:
    splitter = ReasoningSplitter(StreamQuirks())
    deltas = [*(splitter.split(Delta(piece)) for piece in pieces), splitter.flush(cut=cut)]
    text = "".join(delta.text for delta in deltas)
    return "".join(delta.reasoning for delta in deltas), text.strip()


@pytest.mark.parametrize(("answer", "reasoning", "text"), ANSWERS)
def test_the_result_does_not_depend_on_the_pieces(answer: str, reasoning: str, text: str) -> None:
    for size in range(1, len(answer) + 1):
        pieces = [answer[i : i + size] for i in range(0, len(answer), size)]
        assert split(pieces) == (reasoning, text), size


@pytest.mark.parametrize("token", TOKENS)
def test_special_tokens_are_dropped_at_the_end_only(token: str) -> None:
    assert split(list(f"Yes.{token}")) == ("", "Yes.")
    assert split(list(f"Use `{token}`.")) == ("", f"Use `{token}`.")


def test_an_answer_cut_by_a_limit_keeps_its_last_characters() -> None:
    """Servers append their token only to answers that end normally."""
    assert split(["The template: <|im_start|>user\nHi<|im_end|>"], cut=True)[1].endswith("_end|>")
    assert split(["<|channel|>analysis<|message|>Hm"], cut=True) == ("Hm", "")
    assert split(["analysisWe see"], cut=True) == ("We see", "")


def test_text_that_only_looks_like_reasoning_is_not_lost() -> None:
    assert split(["analysisWhat", " is it?"])[1] == "analysisWhat is it?"


@given(st.lists(st.sampled_from([*"ab <|>`\n", "<|im_end|>", "</s>", "<|end|>"]), max_size=12))
def test_only_the_end_of_a_text_can_be_dropped(pieces: list[str]) -> None:
    """The text is always a prefix of the answer."""
    answer = "The text " + "".join(pieces)
    reasoning, text = split(["The text ", *pieces])
    assert reasoning == "" and answer.startswith(text)


@pytest.mark.parametrize(
    "parts", [["a \ud83d", "\ude00 b"], ["a ", "\ud83d", "", "\ude00", " b"]], ids=ascii
)
def test_the_halves_of_a_surrogate_pair_are_joined(parts: list[str]) -> None:
    """Some servers split an emoji between two chunks."""
    assert split(parts) == ("", "a 😀 b")


@pytest.mark.parametrize(
    "parts", [["a \ud83d", " b"], ["a ", "\ude00 b"], ["a ", "\ud83d"]], ids=ascii
)
def test_an_unpaired_surrogate_is_replaced(parts: list[str]) -> None:
    """A surrogate could be neither stored nor sent."""
    text = split(parts)[1]
    assert "\ufffd" in text
    text.encode()


def test_a_tag_that_a_sentence_mentions_is_text() -> None:
    """This applies if the tag is never closed and a word follows."""
    assert split(["<think> is a tag."])[1] == "<think> is a tag."
    assert split(["<think>Hm"])[1] == "Hm"
