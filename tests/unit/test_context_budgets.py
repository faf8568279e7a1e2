"""Budgets follow from settings, facts and refusals, in this order."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from bot.context.budgets import MAX_IMAGES, MIN_TOKENS, ContextBudgets, room_for_answer
from bot.domain.errors import ContextTooLong, ImageRefused
from bot.domain.model import ModelFacts
from tests.support.core_kit import ScriptedModel


def model(name: str = "a", **facts: object) -> ScriptedModel:
    return ScriptedModel(name=name, facts=ModelFacts(**facts))  # type: ignore[arg-type]


@dataclass
class Case:
    """A model's facts and the settings, with the resulting budget."""

    budget: int
    facts: dict[str, object] = field(default_factory=dict)
    context_tokens: int | None = None
    max_output_tokens: int | None = None


@pytest.mark.parametrize(
    "case",
    [
        Case(16_000),
        Case(5_000, context_tokens=5_000),
        Case(50_000, context_tokens=50_000),
        Case(6_144, {"window": 8_192}),
        Case(32_000, {"window": 400_000}),
        Case(400_000 - 16_384, {"window": 400_000, "is_configured": True}),
        Case(100_000, {"window": 400_000, "is_configured": True}, context_tokens=100_000),
        Case(100_000, {"window": 400_000}, context_tokens=100_000),
        Case(6_144, {"window": 8_192}, context_tokens=100_000),
        Case(7_192, {"window": 8_192}, max_output_tokens=1_000),
        Case(4_096, {"window": 8_192}, max_output_tokens=9_000),
        Case(9_000, {"context_tokens": 9_000}),
        Case(9_000, {"context_tokens": 9_000}, context_tokens=5_000),
        Case(MIN_TOKENS, {"window": 100}),
    ],
    ids=str,
)
def test_the_budget_of_a_first_request(case: Case) -> None:
    budgets = ContextBudgets(
        context_tokens=case.context_tokens, max_output_tokens=case.max_output_tokens
    )
    assert budgets.get(model(**case.facts)) == case.budget


def test_room_for_the_answer() -> None:
    assert room_for_answer(8_000, None) == 2_000
    assert room_for_answer(200_000, None) == 16_384
    assert room_for_answer(8_000, 500) == 500
    assert room_for_answer(8_000, 90_000) == 4_000


# ── refusals ──────────────────────────────────────────────────────────────────────────────────
def test_an_unknown_window_halves_the_request_and_teaches_nothing() -> None:
    budgets = ContextBudgets()
    assert budgets.learn(model(), 1_000, ContextTooLong()) == 500
    assert budgets.get(model()) == 16_000


def test_a_named_window_is_kept_for_the_model_that_refused() -> None:
    """The server counted twice what we expected; a quarter of the window is left for the answer."""
    budgets = ContextBudgets()
    error = ContextTooLong(window=8_000, asked=20_000)
    assert budgets.learn(model(), 10_000, error) == 3_000
    assert budgets.get(model()) == 6_000
    assert budgets.get(model("b")) == 16_000


def test_a_fallbacks_window_is_not_the_chains() -> None:
    budgets, chain = ContextBudgets(), model("a,b")
    error = ContextTooLong(window=4_000, model="b")
    assert not budgets.is_of_first(chain, "b")
    assert budgets.learn(chain, 10_000, error) == 3_000
    assert budgets.get(chain) == 16_000
    assert budgets.get(model("b")) == 3_000
    assert budgets.is_of_first(chain, "a")
    assert budgets.is_of_first(chain, "")
    budgets.learn(chain, 10_000, ContextTooLong(window=4_000, model="a"))
    assert budgets.get(chain) == 3_000


def test_a_window_larger_than_the_request_halves_it() -> None:
    assert ContextBudgets().learn(model(), 1_000, ContextTooLong(window=8_000)) == 500


def test_a_tiny_window_leaves_a_workable_budget() -> None:
    budgets = ContextBudgets()
    assert budgets.learn(model(), 10_000, ContextTooLong(window=64)) == MIN_TOKENS
    assert budgets.get(model()) == MIN_TOKENS


def test_the_smallest_window_that_was_named_counts() -> None:
    budgets = ContextBudgets()
    for window in (8_000, 4_000, 8_000):
        budgets.learn(model(), 20_000, ContextTooLong(window=window))
    assert budgets.get(model()) == 3_000


def test_a_number_of_images_is_kept_for_the_model_that_refused() -> None:
    budgets, chain = ContextBudgets(), model("a,b")
    budgets.learn_images(chain, ImageRefused(limit=4, model="b"))
    budgets.learn_images(chain, ImageRefused(model="a"))
    assert budgets.max_images(chain) == MAX_IMAGES
    assert budgets.max_images(model("b")) == 4
