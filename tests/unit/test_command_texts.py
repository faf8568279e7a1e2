"""The replies to /model, /effort and /context fit every platform and show names as plain text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.discord.render import DiscordRenderer, size
from bot.domain import command_texts, http_texts, model_names
from bot.domain.context import ContextPart, ContextPartKind, ContextReport
from bot.domain.conversations import Effort
from tests.support.reports import REPORT

DISCORD = 2_000  # characters of a message
NAMES = st.lists(st.text(min_size=1, max_size=300), max_size=60, unique=True)
HOSTILE = "`x` **b** <@1> @everyone [a](https://b.test)\n# h\x1b[31m\u202e\u2028" + "y" * 500


@given(NAMES, st.text(max_size=300), st.text(max_size=300))
def test_any_list_of_models_fits_a_discord_message(
    names: list[str], chosen: str, default: str
) -> None:
    renderer = DiscordRenderer()
    offered = command_texts.models_offered(chosen, default, default, names)
    refused = command_texts.model_refused(chosen, names)
    for text in (offered, refused):
        assert size(renderer.render(text)) <= DISCORD


def test_the_refusal_of_the_api_is_short() -> None:
    """It stays short however many models a server offers, and however long and strange their names
    are."""
    text = http_texts.model_not_offered([f"{n}{HOSTILE}" for n in range(500)])
    assert len(text) < 2_500 and text.isprintable()
    assert text.endswith("and 480 more that GET /models lists")


@pytest.mark.parametrize("providers", [1, 3, 40, 10_000])
def test_thousands_of_models_are_grouped_and_counted(providers: int) -> None:
    """Every listed provider shows at least one name, and the hint explains how to search."""
    names = [f"provider{n % providers}/model-{n}" for n in range(10_000)]
    text = command_texts.models_offered(None, "echo", "echo", names)
    assert 500 < len(text) <= DISCORD
    assert "`/model` with a part of a name" in text
    assert "more" in text


def test_a_few_models_are_listed_one_a_line() -> None:
    text = command_texts.models_offered("b/2", "b/2", "a/1", ["a/1", "b/2"])
    assert text == (
        "This conversation uses `b/2`. You can choose:\n- `a/1`\n- `b/2`\n\n"
        "`/model default` returns to `a/1`."
    )


def test_names_are_plain_text() -> None:
    """No markup, mention, line break or control character in a name takes effect."""
    shown = command_texts.name(HOSTILE)
    assert shown.count("`") == 2
    assert "\n" not in shown
    assert not set(shown) & {"\x1b", "\u202e", "\u2028"}
    assert len(shown) <= 102
    for text in (
        command_texts.model_chosen(HOSTILE),
        command_texts.effort_chosen(Effort.LOW, HOSTILE, None),
        command_texts.which_conversation("model", HOSTILE),
        command_texts.context_described(replace(REPORT, model=HOSTILE)),
    ):
        assert shown in text
        assert "@everyone" not in text.replace(shown, "")


def test_the_context_in_full() -> None:
    assert command_texts.context_described(REPORT) == (
        "With the next question, `ollama/llama3.1:8b` gets about 9,200 tokens of at most 24,000; "
        "its window has 32,768.\n\n"
        "`████████░░░░░░░░░░░░`\n\n"
        "- Instructions (system prompt): 350 tokens (1 %)\n"
        "- Summary of earlier messages: 900 tokens (4 %)\n"
        "- 42 messages: 7,400 tokens (31 %)\n"
        "- 2 files: 550 tokens (2 %)\n"
        "- Free: 14,800 tokens (62 %)\n\n"
        "120 older messages are only in the summary. 1 older message is left out. "
        "Of the last request, 8,000 tokens came from the provider's cache."
    )


def test_a_context_without_more_than_the_prompt() -> None:
    report = ContextReport("echo", 1_000, None, (ContextPart(ContextPartKind.PROMPT, 1),))
    text = command_texts.context_described(report)
    assert "1 token of at most 1,000.\n\n`█░" in text
    assert text.endswith("1 token (1 %)\n- Free: 999 tokens (99 %)")


def test_a_full_context_leaves_nothing_free() -> None:
    """Estimates may exceed the budget."""
    report = replace(REPORT, budget=9_000)
    text = command_texts.context_described(report)
    assert "`" + "█" * 20 + "`" in text
    assert "Free: 0 tokens (0 %)" in text


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=5))
def test_percentages_add_up(amounts: list[int]) -> None:
    """No part that exists shows 0 %, and none is more than 5 points off."""
    percents = command_texts.percentages(amounts)
    total = sum(amounts)
    assert sum(percents) == (100 if total else 0)
    for amount, percent in zip(amounts, percents, strict=True):
        assert (percent > 0) == (amount > 0)
        assert not total or abs(percent - amount * 100 / total) < 5


def test_a_summary_is_plain_text_and_cut() -> None:
    shown = command_texts.summary_shown("```\n**bold** " + "x" * 5_000)
    assert shown.startswith("The summary begins:\n```\n'''\n**bold** ")
    assert shown.endswith("…\n```")
    assert shown.count("```") == 2
    whole = f"{command_texts.context_described(REPORT)}\n\n{shown}"
    assert size(DiscordRenderer().render(whole)) <= DISCORD


# ── names ─────────────────────────────────────────────────────────────────────────────────────
OFFERED = ("openai/gpt-5", "openai/gpt-5-mini", "azure/gpt-5", "ollama/Llama3.1:8b", "echo")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("openai/gpt-5", "openai/gpt-5"),
        ("OpenAI/GPT-5", "openai/gpt-5"),
        ("gpt-5-mini", "openai/gpt-5-mini"),
        ("llama3.1:8b", "ollama/Llama3.1:8b"),
        ("Echo", "echo"),
        ("gpt-5", None),  # two providers have it
        ("gpt", None),
        ("", None),
    ],
)
def test_a_name_is_resolved_if_it_means_one_model(typed: str, found: str | None) -> None:
    assert model_names.resolve(typed, OFFERED) == found


def test_the_exact_name_wins() -> None:
    assert model_names.resolve("A", ("a", "A", "b/A")) == "A"


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("gpt-5", ["openai/gpt-5", "openai/gpt-5-mini", "azure/gpt-5"]),
        ("LLAMA", ["ollama/Llama3.1:8b"]),
        ("o", ["openai/gpt-5", "openai/gpt-5-mini", "ollama/Llama3.1:8b", "echo"]),
        ("", list(OFFERED)),
        ("none", []),
    ],
)
def test_a_search_finds_parts_and_puts_beginnings_first(typed: str, found: list[str]) -> None:
    assert model_names.search(typed, OFFERED) == found


def test_suggestions_are_spelled_alike() -> None:
    assert model_names.suggest("opnai/gpt-5", OFFERED)[0] == "openai/gpt-5"
    assert model_names.suggest("lama3.1:8b", OFFERED) == ["ollama/Llama3.1:8b"]
    assert model_names.suggest("x" * 10_000, OFFERED) == []


@given(st.text(), st.lists(st.text(), max_size=20))
def test_any_names_can_be_searched(typed: str, names: list[str]) -> None:
    assert set(model_names.search(typed, names)) <= set(names)
    assert set(model_names.suggest(typed, names)) <= set(names)
    assert model_names.resolve(typed, names) in (None, *names)
    assert "`" not in model_names.plain(typed)
    assert 0 < len(model_names.plain(typed)) <= 100
