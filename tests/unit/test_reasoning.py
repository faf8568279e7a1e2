"""How people see reasoning: not at all, as a note, or as a few lines above the answer."""

from __future__ import annotations

import pytest

from bot.domain import texts
from bot.domain.model import ReasoningDisplay
from bot.turns.display import ReplyParts
from bot.turns.reasoning import (
    NOTE_AFTER_SECONDS,
    NOTE_INTERVAL_SECONDS,
    ReasoningView,
    split_reasoning,
)

LABEL = f"> _{texts.THOUGHTS}_\n"


# ── the note ──────────────────────────────────────────────────────────────────────────────────
def notes_of(display: ReasoningDisplay, *moments: float) -> list[str]:
    """The notes shown while a model streams "a0 ", "a1 ", … at these moments."""
    view, notes = ReasoningView(display), list[str]()
    for number, now in enumerate(moments):
        view.add(f"a{number} ")
        view.show_progress(now, note=notes.append, sign=notes.append)
    return notes


def test_hidden_reasoning_gets_one_note_and_only_if_it_lasts() -> None:
    """A quick answer costs no request for a note."""
    last = NOTE_AFTER_SECONDS
    assert notes_of(ReasoningDisplay.HIDDEN, 0.0, 1.0, last - 0.1) == []
    assert notes_of(ReasoningDisplay.HIDDEN, 5.0, 6.0, 5 + last, 60.0) == ["_Thinking…_"]


def test_shown_reasoning_appears_immediately_and_then_at_an_even_pace() -> None:
    pace = NOTE_INTERVAL_SECONDS
    notes = notes_of(ReasoningDisplay.SHOWN, 0.0, 0.1, pace, pace + 0.1)
    assert notes == [f"{LABEL}> a0", f"{LABEL}> a0 a1 a2"]


def test_hidden_reasoning_is_not_above_the_answer() -> None:
    view = ReasoningView(ReasoningDisplay.HIDDEN)
    view.add("secret")
    assert not view.pending
    assert view.text("more") == ""


def test_the_next_model_starts_with_empty_reasoning() -> None:
    """The reasoning of a failed model is not shown above the next model's answer."""
    view = ReasoningView(ReasoningDisplay.SHOWN)
    view.add("first")
    view.reset()
    assert not view.pending and view.text() == ""
    view.add("second")
    assert view.pending
    assert ReplyParts(reasoning=view.text()).opening() == f"{LABEL}> second\n\n"


def test_an_answer_that_looked_like_reasoning_is_shown_once() -> None:
    view = ReasoningView(ReasoningDisplay.SHOWN)
    view.add("It is 42.")
    assert view.text(content="It is 42.") == ""


# ── a closing tag without an opening one ──────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("Hm.\n</think>\n\nYes.", "Hm.", "Yes."),
        ("Hm.\n</think>Yes.", "Hm.", "Yes."),
        ("Hm.\n</think>\nDraft.\n</think>\nYes.", "Hm.\n\nDraft.", "Yes."),
        ("Hm.\n</think>", "Hm.", ""),
        ("`</think>` ends it.", "", "`</think>` ends it."),
        ("It ends with </think> there.", "", "It ends with </think> there."),
        ("So:\n```\nHm.\n</think>\n```\n", "", "So:\n```\nHm.\n</think>\n```\n"),
        ("So:\n\n<think>\nHm.\n</think>\n\nYes.", "", "So:\n\n<think>\nHm.\n</think>\n\nYes."),
        ("```py\nx\n```\n</think>\nYes.", "```py\nx\n```", "Yes."),
        ("Now the answer.</think>Yes.", "Now the answer.", "Yes."),
        ("1. Scan.\n<channel|>Yes.", "1. Scan.", "Yes."),
        ("Write `Hm.</think>Yes.` there", "", "Write `Hm.</think>Yes.` there"),
        ("<|channel>thought ends. <channel|>", "", "<|channel>thought ends. <channel|>"),
        ("Yes.", "", "Yes."),
    ],
)
def test_a_closing_tag_after_a_line_or_a_sentence_ends_reasoning(
    text: str, reasoning: str, answer: str
) -> None:
    """Chat templates may put the opening tag into the prompt; prose only mentions the tag."""
    assert split_reasoning(text) == (reasoning, answer)
