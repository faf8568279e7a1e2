"""Interprets finish reasons; an unknown reason means a failure, never a complete answer.

Compatible servers pass on the reasons of the backends behind them, so every provider's wording may
arrive here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bot.domain.errors import ModelError, ModelFailed, Overloaded

STOP, LENGTH, FILTERED = "stop", "length", "content_filter"

# A complete answer. We offer no tools, so a tool call is a stray end of a text.
_COMPLETE = """
    stop stopped eos eos_token end_turn stop_sequence stop_sequences stop_token end complete
    completed done finished finish success tool_calls tool_call tool_use function_call pause_turn
    natural endoftext end_of_text end_of_turn eos_found stop_str
"""
_LENGTH = """
    length max_tokens max_token max_length max_output_tokens max_new_tokens max_completion_tokens
    model_length token_limit error_limit model_context_window_exceeded context_length_exceeded
    context_window_exceeded incomplete truncated maximum_tokens maximum_length out_of_tokens
    time_limit
"""
# Azure, Gemini, Anthropic, Bedrock, Cohere, Zhipu, and the spellings of their bridges.
_FILTERED = """
    content_filter content_filtered contentfilter safety recitation blocklist prohibited_content
    spii language image_safety refusal refused sensitive guardrail_intervened guardrails guardrail
    error_toxic moderation flagged blocked censored violation model_armor
"""
# The server gave up; a retry or another server may succeed.
_GAVE_UP = """
    error network_error insufficient_system_resource insufficient_system_resources abort aborted
    cancelled canceled timeout timed_out overloaded server_error internal_error disconnect
    user_cancel model_error eviction preempted
"""
_MEANINGS: Mapping[str, str | type[ModelError]] = {
    word: meaning
    for words, meaning in (
        (_COMPLETE, STOP),
        (_LENGTH, LENGTH),
        (_FILTERED, FILTERED),
        (_GAVE_UP, Overloaded),
    )
    for word in words.split()
}
_UNFINISHED = frozenset(
    {"", "null", "none", "nil", "undefined", "false", "not_finished", "in_progress"}
)
_PREFIX = re.compile(r"^(finish_?reason[._]|stop_?reason[._])")
_WORD_BREAKS = re.compile(r"[\s-]+|(?<=[a-z])(?=[A-Z])")
_FILTER_WORDS = re.compile(r"safety|filter|moderat|prohibited|guardrail|recitation")


def parse_finish_reason(value: object) -> str | None:
    """The finish reason in a chunk's field, or None if the field means "not finished"."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return None if text.strip().lower() in _UNFINISHED else text


def prefer_native_reason(reason: str, native: object) -> str:
    """The reason in the words of the server behind OpenRouter, if only that one tells of a failure.

    OpenRouter passes on some failures and refusals as "stop".
    """
    if not isinstance(native, str) or classify_finish_reason(reason) != STOP:
        return reason
    return native if classify_finish_reason(native) in (FILTERED, Overloaded) else reason


def classify_finish_reason(reason: str) -> str | type[ModelError]:
    """`STOP`, `LENGTH` or `FILTERED`, or the class of failure that the reason stands for.

    Text after a colon is a detail: Gemini's bridges send `content_filter: PROHIBITED_CONTENT`.
    """
    for word in (reason, reason.partition(":")[0]):
        plain = _PREFIX.sub("", _WORD_BREAKS.sub("_", word.strip()).lower())
        for spelling in (plain, plain.replace("_", "")):
            if spelling in _MEANINGS:
                return _MEANINGS[spelling]
    return FILTERED if _FILTER_WORDS.search(reason.lower()) else ModelFailed
