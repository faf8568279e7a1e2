"""What a finish reason means; pure. One that is not known is a failure, never an answer.

Compatible servers pass on the reasons of what runs behind them, so each provider's own words come.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bot.domain.errors import ModelError, ModelFailed, Overloaded

STOP, LENGTH, FILTERED = "stop", "length", "content_filter"

# A whole answer. Tools are never offered, so a call of one is a slip at the end of a text.
_NORMAL = """
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
# Azure, Gemini, Anthropic, Bedrock, Cohere, Zhipu, and what bridges make of them.
_FILTERED = """
    content_filter content_filtered contentfilter safety recitation blocklist prohibited_content
    spii language image_safety refusal refused sensitive guardrail_intervened guardrails guardrail
    error_toxic moderation flagged blocked censored violation model_armor
"""
# The server gave up: it may well answer the next time, or another may now.
_GAVE_UP = """
    error network_error insufficient_system_resource insufficient_system_resources abort aborted
    cancelled canceled timeout timed_out overloaded server_error internal_error disconnect
    user_cancel model_error eviction preempted
"""
_MEANINGS: Mapping[str, str | type[ModelError]] = {
    word: what
    for words, what in (
        (_NORMAL, STOP),
        (_LENGTH, LENGTH),
        (_FILTERED, FILTERED),
        (_GAVE_UP, Overloaded),
    )
    for word in words.split()
}
_NOT_YET = frozenset(
    {"", "null", "none", "nil", "undefined", "false", "not_finished", "in_progress"}
)
_PREFIX = re.compile(r"^(finish_?reason[._]|stop_?reason[._])")
_GAPS = re.compile(r"[\s-]+|(?<=[a-z])(?=[A-Z])")
_FILTER = re.compile(r"safety|filter|moderat|prohibited|guardrail|recitation")


def named(reason: object) -> str | None:
    """A finish reason as a chunk has it; None for one that means "not yet"."""
    text = reason if isinstance(reason, str) else "" if reason is None else str(reason)
    return None if text.strip().lower() in _NOT_YET else text


def meaning(reason: str) -> str | type[ModelError]:
    """`STOP`, `LENGTH` or `FILTERED`, or the failure that it is.

    What follows a colon is detail: Gemini's bridges say `content_filter: PROHIBITED_CONTENT`.
    """
    for word in (reason, reason.partition(":")[0]):
        plain = _PREFIX.sub("", _GAPS.sub("_", word.strip()).lower())
        for form in (plain, plain.replace("_", "")):
            if form in _MEANINGS:
                return _MEANINGS[form]
    return FILTERED if _FILTER.search(reason.lower()) else ModelFailed
