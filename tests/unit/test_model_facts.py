"""Facts about models: the built-in table, and which source wins."""

from __future__ import annotations

import pytest

from bot.domain.model import ModelFacts
from bot.llm.model_facts import TABLE, _look_up, known_facts, merge_facts

OPENAI, ROUTER, LOCAL = (
    "https://api.openai.com/v1",
    "https://openrouter.ai/api/v1",
    "http://127.0.0.1:11434/v1",
)


@pytest.mark.parametrize("pattern", TABLE)
def test_every_row_is_reached(pattern: str) -> None:
    """A model whose name is the pattern, with some text in place of `*`, gets that row."""
    found = (_look_up(pattern.replace("*", rest)) for rest in ("", "-latest", "25-08-07", "x"))
    assert TABLE[pattern] in found


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("gpt-5", 400_000),
        ("gpt-5-mini-2025-08-07", 400_000),
        ("gpt-5-chat-latest", 128_000),
        ("openai/gpt-4o", 128_000),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", 128_000),
        ("anthropic/claude-opus-5.5", 1_000_000),
        ("claude-opus-4-1-20250805", 200_000),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 200_000),
        ("models/gemini-2.5-flash", 1_048_576),
        ("meta-llama/Llama-3.3-70B-Instruct", 131_072),
        ("meta-llama/llama-3.1-8b-instruct:free", 131_072),
        ("llama3:8b", 8_192),
        ("llama3", 8_192),
        ("gemma3:1b", 32_768),
        ("gemma3:4b", 131_072),
        ("openai/gpt-oss-120b:free", 131_072),
        ("gemini-2.5-flash-image", None),
        ("gpt-4o-transcribe", None),
        ("deepseek-chat", None),
        ("my-own-model", None),
    ],
)
def test_names_of_all_providers_are_recognized(model: str, window: int | None) -> None:
    """The most specific row wins; router prefixes and Ollama tags do not matter."""
    assert known_facts(model, ROUTER).window == window


def test_a_local_servers_window_is_not_the_models() -> None:
    """Ollama silently truncates requests to the window with which it loaded the model."""
    facts = known_facts("llama3.1:8b", LOCAL)
    assert (facts.window, facts.max_output, facts.sees) == (None, None, None)
    assert facts.tools is True


def test_the_first_source_that_has_a_fact_wins() -> None:
    configured = ModelFacts(window=9_000, is_configured=True)
    listed = ModelFacts(window=8_000, sees=False)
    merged = merge_facts(configured, listed, ModelFacts(window=7_000, sees=True, tools=True))
    assert merged == ModelFacts(window=9_000, sees=False, tools=True, is_configured=True)
    assert not merge_facts(ModelFacts(), listed).is_configured
