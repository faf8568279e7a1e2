"""The request that `doctor` sends to try a model."""

from __future__ import annotations

from bot.config.settings import Settings
from bot.domain.model import ChatRequest
from bot.llm.check import QUESTION
from bot.turns.context import ContextWindow, today


def probe_request(settings: Settings, now: float) -> ChatRequest:
    """The request that a turn would send for a short question; `now` is in Unix seconds."""
    window = ContextWindow(
        budget=settings.context_tokens,
        system_prompt=settings.prompt,
        questions=frozenset({QUESTION.id}),
        today=today(now, settings.zone),
    )
    window.add([QUESTION])
    return ChatRequest(
        messages=window.messages(),
        max_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
    )
