"""Comparing a text with everything that a person wrote costs the same however much that is."""

from __future__ import annotations

from bot.domain.repetition import Repetition
from tests.support.growth import PART, grows_faster

QUESTION = "a question of another person about something else"


def test_a_long_history_slows_no_comparison() -> None:
    """A conversation of 10,000 messages is compared reply by reply, in one transaction."""
    whole = " ".join(f"word{number}" for number in range(20_000))
    part = whole[: len(whole) // PART]
    known = {text: Repetition([text], {"Ann"}) for text in (whole, part)}

    def compare(text: str) -> None:
        for _ in range(100):
            assert not known[text].is_in(QUESTION)

    assert not grows_faster(compare, part, whole, limit=PART / 2)


def test_runs_of_each_length_are_found() -> None:
    said = Repetition(["one two three", "four five six seven eight nine ten"])
    assert said.is_in("She said: one two three!")
    assert said.is_in("and five six seven eight nine ten")
    assert not said.is_in("five six seven eight nine")
