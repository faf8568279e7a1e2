"""Reads the token counts of an answer, whatever names and meanings a provider gives them.

Invariant: the resulting counts satisfy `Usage` (parts never exceed the whole), however absurd the
provider's counts are, because a wrong count must not cost the answer.
`docs/platform-facts-models.md` has the source of each name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from bot.domain.model import Usage

MAX_TOKEN_COUNT = 10**12
"""Larger counts are nonsense, and SQLite could not add up many of them."""

_Paths: TypeAlias = tuple[tuple[str, ...], ...]

# The first path with a positive count is read; several of them repeat the same count.
_INPUT: _Paths = (("prompt_tokens",), ("input_tokens",))
_OUTPUT: _Paths = (("completion_tokens",), ("output_tokens",))
_TOTAL: _Paths = (("total_tokens",),)
_CACHED: _Paths = (
    ("prompt_tokens_details", "cached_tokens"),  # OpenAI and nearly all compatible servers
    ("prompt_token_details", "cached_tokens"),  # Mistral, which also has the two other names
    ("input_tokens_details", "cached_tokens"),  # the Responses API
    ("prompt_cache_hit_tokens",),  # DeepSeek
    ("cached_tokens",),  # Moonshot
    ("cache_read_input_tokens",),  # Anthropic, and LiteLLM for all of its providers
    ("num_cached_tokens",),  # Mistral
    ("timings", "cache_n"),  # older llama.cpp, beside the usage
)
_WRITTEN: _Paths = (
    ("prompt_tokens_details", "cache_write_tokens"),  # OpenAI, OpenRouter
    ("input_tokens_details", "cache_write_tokens"),
    ("prompt_tokens_details", "cache_creation_tokens"),  # LiteLLM
    ("cache_creation_input_tokens",),  # Anthropic
)
_REASONING: _Paths = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "thinking_tokens"),  # Anthropic
    ("reasoning_tokens",),  # SGLang, Perplexity
)


def parse_usage(counts: Mapping[str, Any]) -> Usage:
    """The token counts in a usage object; 0 for an absent or invalid count."""
    cached, written = _count(counts, _CACHED), _count(counts, _WRITTEN)
    input_tokens = _whole_input(counts, cached + written)
    output_tokens, reasoning = _whole_output(counts, input_tokens)
    cached = min(cached, input_tokens)
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached,
        cache_write_tokens=min(written, input_tokens - cached),
        reasoning_tokens=reasoning,
        reports_cache=_has_number(counts, _CACHED),
    )


def _whole_input(counts: Mapping[str, Any], from_cache: int) -> int:
    """The tokens of the whole request, including those read from and written to the cache.

    Anthropic counts these separately, and so do bridges that only rename its fields: a part that is
    larger than the whole gives them away.
    """
    count = _count(counts, _INPUT)
    is_anthropic = "prompt_tokens" not in counts and (
        "cache_read_input_tokens" in counts or "cache_creation_input_tokens" in counts
    )
    return _limit(count + from_cache) if is_anthropic or from_cache > count else count


def _whole_output(counts: Mapping[str, Any], input_tokens: int) -> tuple[int, int]:
    """The tokens of the whole answer, and of its reasoning.

    xAI and Gemini count reasoning separately; the total is then larger than its two parts. Gemini
    sends no count of reasoning, so the difference is the count. Without an input count the total is
    of no use, because the difference is mostly the input.
    """
    output, reasoning = _count(counts, _OUTPUT), _count(counts, _REASONING)
    hidden = _count(counts, _TOTAL) - input_tokens - output if input_tokens else 0
    if reasoning == 0:
        reasoning = max(hidden, 0)
        return _limit(output + reasoning), _limit(reasoning)
    if hidden >= reasoning or reasoning > output:
        output += reasoning
    return _limit(output), min(reasoning, _limit(output))


def _count(counts: Mapping[str, Any], paths: _Paths) -> int:
    """The first positive count at one of these paths, or 0."""
    found = (_token_count(_value_at(counts, path)) for path in paths)
    return next((count for count in found if count > 0), 0)


def _has_number(counts: Mapping[str, Any], paths: _Paths) -> bool:
    """Whether one of these paths has a number, including 0."""
    return any(isinstance(_value_at(counts, path), int | float) for path in paths)


def _value_at(counts: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = counts
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _token_count(value: Any) -> int:
    """A number of tokens; 0 if it is invalid."""
    try:
        count = int(value or 0)
    except (OverflowError, TypeError, ValueError):
        return 0
    return count if 0 <= count <= MAX_TOKEN_COUNT else 0


def _limit(count: int) -> int:
    return min(count, MAX_TOKEN_COUNT)
