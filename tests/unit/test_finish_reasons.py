"""Finish reasons in the spellings of providers and bridges."""

from __future__ import annotations

import pytest

from bot.domain.errors import ModelFailed
from bot.llm import finish_reasons


@pytest.mark.parametrize(
    ("reason", "means"),
    [
        ("endoftext", finish_reasons.STOP),  # AI21
        ("endTurn", finish_reasons.STOP),
        ("maxTokens", finish_reasons.LENGTH),
        ("FinishReason.MAX_TOKENS", finish_reasons.LENGTH),
        ("MODEL_ARMOR", finish_reasons.FILTERED),
        ("output_blocked_by_safety", finish_reasons.FILTERED),
        ("success_maybe", ModelFailed),
    ],
)
def test_every_spelling_has_its_meaning(reason: str, means: object) -> None:
    assert finish_reasons.classify_finish_reason(reason) == means
