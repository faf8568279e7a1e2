"""Token counts of every provider have the same meaning here, whatever they are called on the wire.

The numbers come from the providers' documentation and from public reports; the source stands beside
each. `docs/platform-facts-models.md` has the addresses.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.model import Usage
from bot.llm.chunks import parse_chunk
from bot.llm.usage import MAX_TOKEN_COUNT, parse_usage

SHAPES: dict[str, tuple[dict[str, Any], Usage]] = {
    "OpenAI (API reference, chat streaming)": (
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 128, "audio_tokens": 0},
        },
        Usage(2006, 300, 1920, 0, 128),
    ),
    "OpenAI with writes to the cache (openai 3.52, completion_usage.py)": (
        {
            "prompt_tokens": 2048,
            "completion_tokens": 10,
            "total_tokens": 2058,
            "prompt_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 896},
        },
        Usage(2048, 10, 1024, 896),
    ),
    "Responses (API reference, response.completed)": (
        {
            "input_tokens": 328,
            "input_tokens_details": {"cached_tokens": 256, "cache_write_tokens": 0},
            "output_tokens": 52,
            "output_tokens_details": {"reasoning_tokens": 20},
            "total_tokens": 380,
        },
        Usage(328, 52, 256, 0, 20),
    ),
    "DeepSeek (API reference, usage)": (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 50,
            "total_tokens": 1050,
            "prompt_cache_hit_tokens": 960,
            "prompt_cache_miss_tokens": 40,
            "completion_tokens_details": {"reasoning_tokens": 31},
        },
        Usage(1000, 50, 960, 0, 31),
    ),
    "Moonshot (API reference, usage)": (
        {"prompt_tokens": 500, "completion_tokens": 9, "total_tokens": 509, "cached_tokens": 256},
        Usage(500, 9, 256),
    ),
    "xAI: reasoning is counted apart (vercel/ai#12425)": (
        {
            "prompt_tokens": 12,
            "completion_tokens": 1,
            "total_tokens": 399,
            "prompt_tokens_details": {"text_tokens": 12, "cached_tokens": 11},
            "completion_tokens_details": {"reasoning_tokens": 386},
        },
        Usage(12, 387, 11, 0, 386),
    ),
    "xAI: the documentation's example, without reasoning": (
        {
            "prompt_tokens": 125,
            "completion_tokens": 48,
            "total_tokens": 173,
            "prompt_tokens_details": {"text_tokens": 125, "cached_tokens": 98},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        Usage(125, 48, 98),
    ),
    "Gemini: the total alone tells of reasoning (clarifai-python#978)": (
        {"prompt_tokens": 20, "completion_tokens": 424, "total_tokens": 1016},
        Usage(20, 996, 0, 0, 572),
    ),
    "a Gemini bridge that counts reasoning apart (CLIProxyAPI#5733)": (
        {
            "prompt_tokens": 21,
            "completion_tokens": 0,
            "total_tokens": 81,
            "completion_tokens_details": {"reasoning_tokens": 60},
        },
        Usage(21, 60, 0, 0, 60),
    ),
    "OpenRouter (documentation, usage accounting)": (
        {
            "prompt_tokens": 194,
            "completion_tokens": 2,
            "total_tokens": 196,
            "cost": 0.95,
            "cost_details": {"upstream_inference_cost": 19},
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        Usage(194, 2, 0, 100),
    ),
    "LiteLLM: Anthropic's counts beside inclusive ones (documentation, prompt caching)": (
        {
            "prompt_tokens": 2030,
            "completion_tokens": 12,
            "total_tokens": 2042,
            "prompt_tokens_details": {"cached_tokens": 1800, "cache_creation_tokens": 200},
            "cache_read_input_tokens": 1800,
            "cache_creation_input_tokens": 200,
        },
        Usage(2030, 12, 1800, 200),
    ),
    "Anthropic's own counts: the input excludes the cache (documentation, prompt caching)": (
        {
            "input_tokens": 50,
            "output_tokens": 393,
            "cache_read_input_tokens": 100_000,
            "cache_creation_input_tokens": 248,
        },
        Usage(100_298, 393, 100_000, 248),
    ),
    "a bridge that only renamed Anthropic's fields": (
        {
            "prompt_tokens": 50,
            "completion_tokens": 3,
            "total_tokens": 53,
            "cache_read_input_tokens": 4_000,
        },
        Usage(4_050, 3, 4_000),
    ),
    "vLLM without --enable-prompt-tokens-details (source, protocol.py)": (
        {
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "total_tokens": 10,
            "prompt_tokens_details": None,
        },
        Usage(7, 3),
    ),
    "SGLang (source, protocol.py)": (
        {"prompt_tokens": 7, "completion_tokens": 30, "total_tokens": 37, "reasoning_tokens": 25},
        Usage(7, 30, 0, 0, 25),
    ),
    "Mistral (symfony/ai#2343, from its service)": (
        {
            "prompt_tokens": 801,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 768},
        },
        Usage(801, 2, 768),
    ),
    "Mistral, another name in its API reference (vercel/ai#14382)": (
        {"prompt_tokens": 90, "completion_tokens": 5, "total_tokens": 95, "num_cached_tokens": 64},
        Usage(90, 5, 64),
    ),
    "Mistral, a third name there (vercel/ai#14889)": (
        {
            "prompt_tokens": 90,
            "completion_tokens": 5,
            "total_tokens": 95,
            "prompt_token_details": {"cached_tokens": 64},
        },
        Usage(90, 5, 64),
    ),
    "a total without a count of the input is no reasoning": (
        {"prompt_tokens": 0, "completion_tokens": 5, "total_tokens": 900},
        Usage(0, 5),
    ),
}


@pytest.mark.parametrize(("counts", "usage"), SHAPES.values(), ids=SHAPES)
def test_every_providers_counts_have_one_meaning(counts: dict[str, Any], usage: Usage) -> None:
    assert parse_usage(counts) == usage


@pytest.mark.parametrize("counts", [shape for shape, _ in SHAPES.values()], ids=SHAPES)
def test_counts_come_in_a_chunk_of_their_own_or_beside_the_finish_reason(
    counts: dict[str, Any],
) -> None:
    choice = {"delta": {}, "finish_reason": "stop"}
    for chunk in ({"choices": [], "usage": counts}, {"choices": [choice], "usage": counts}):
        assert parse_chunk(json.dumps(chunk).encode()).usage == parse_usage(counts)


def test_groq_and_llama_cpp_have_counts_beside_the_usage() -> None:
    """Groq's `x_groq`, and llama.cpp's `timings` with the tokens from its slot's cache."""
    counts = {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42}
    groq = {"choices": [], "usage": None, "x_groq": {"id": "req_1", "usage": counts}}
    assert parse_chunk(json.dumps(groq).encode()).usage == Usage(40, 2)
    llama = {"choices": [], "usage": counts, "timings": {"cache_n": 36, "prompt_n": 4}}
    assert parse_chunk(json.dumps(llama).encode()).usage == Usage(40, 2, 36)
    text = {"choices": [{"delta": {"content": "a"}}], "x_groq": "req_1", "timings": 5}
    assert parse_chunk(json.dumps(text).encode()).text == "a"


# ── nonsense ──────────────────────────────────────────────────────────────────────────────────
NAMES = (
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cached_tokens",
    "prompt_cache_hit_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "reasoning_tokens",
)
DETAILS = ("prompt_tokens_details", "input_tokens_details", "completion_tokens_details")
NONSENSE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.integers(0, 3000),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(NAMES), st.integers(), max_size=2),
)
COUNTS = st.dictionaries(st.sampled_from(NAMES), NONSENSE)


@given(COUNTS, st.dictionaries(st.sampled_from(DETAILS), st.one_of(NONSENSE, COUNTS)))
def test_absurd_counts_become_consistent_ones(
    counts: dict[str, Any], details: dict[str, Any]
) -> None:
    """They never cost the answer, and no part is larger than the whole."""
    usage = parse_usage({**counts, **details})
    assert 0 <= usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert 0 <= usage.reasoning_tokens <= usage.output_tokens <= MAX_TOKEN_COUNT
    assert usage.input_tokens <= MAX_TOKEN_COUNT and usage.cache_write_tokens >= 0


def test_a_server_without_cache_counts_is_told_from_one_with_a_miss() -> None:
    tokens = {"prompt_tokens": 9, "completion_tokens": 1}
    assert not parse_usage(tokens).reports_cache
    assert not parse_usage({**tokens, "prompt_tokens_details": None}).reports_cache
    assert parse_usage({**tokens, "prompt_tokens_details": {"cached_tokens": 0}}).reports_cache
    assert parse_usage({**tokens, "cache_read_input_tokens": 0}).reports_cache
