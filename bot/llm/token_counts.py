"""Extracts token counts from an error: the model's window, the request's size, the output limit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bot.llm.error_report import ErrorReport
from bot.llm.windows import LARGEST_WINDOW, SMALLEST_WINDOW

_N = r"(?P<{}>\d(?:[\d_]|,(?=\d)){{0,15}}+)"
_W, _R, _O = _N.format("window"), _N.format("requested"), _N.format("max_output")

# The first match for a group wins, so precise patterns come first. Comments name the servers.
_PATTERNS = [
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        rf"context limit: {_N.format('prompt')} \+ \d+ > {_W}",  # Anthropic
        rf"tokens \({_R}\) exceeded .{{0,40}}limit \({_W}\)",  # Cloudflare
        rf"token count of {_R} exceeds the limit of {_W}",  # GitHub
        rf"size: {_W} tokens",  # Azure's model catalog
        rf"token count \({_R}\) exceeds .{{0,60}}\({_W}\)",  # Gemini
        rf"prompt is too long: {_R} tokens > {_W}",  # Anthropic
        rf"prompt is too long: {_R}, model maximum context length: {_W}",  # Fireworks
        rf"input \({_R} tokens\) is longer than .{{0,40}}\({_W}",  # SGLang
        rf"\(length {_R}\) is longer than .{{0,40}}length of {_W}",  # vLLM
        rf"request \({_R} tokens\) exceeds .{{0,40}}\({_W}",  # llama.cpp
        rf"requested tokens \({_R}\) exceed context window of {_W}",  # llama-cpp-python
        rf"contains {_R} tokens.{{0,60}}too large for model with {_W}",  # Mistral
        rf"prompt length is {_W} but the request contains {_R}",  # xAI
        rf"cannot exceed {_W} - received {_R}",  # Cohere
        rf"must be <= {_W}\. Given: {_R} `inputs` tokens",  # TGI
        rf"token limit: {_W} \(requested: {_R}\)",  # Moonshot
        rf"limit {_W}, requested {_R}",  # OpenAI's and Groq's rates
        rf"current length is {_R} while limit is {_W}",  # Cerebras
        rf"keep the first {_R} tokens .{{0,80}}context length of (only )?{_W}",  # LM Studio
        rf"{_R} (tokens )?in the messages",  # OpenAI, vLLM
        rf"(has|contains)( at least)? {_R} input tokens",  # vLLM
        rf"messages resulted in {_R} tokens",  # OpenAI
        rf"you requested a total of {_R} tokens",  # SGLang
        rf"you requested about {_R} tokens",  # OpenRouter
        rf"\({_N.format('prompt')} of text input",  # OpenRouter
        rf"range of input length should be \[\s*\d+\s*,\s*{_W}\s*\]",  # Alibaba
        rf"exceeded model token limit:? {_W}",  # Moonshot
        rf"input.{{0,20}} must be <= {_W}|must be <= {_N.format('window2')}",  # TGI
        rf"maximum (context|prompt|input|sequence) length (is|of|for this model is) {_W}",
        rf"tokens allowed \(?{_W}",  # Gemini
        rf"limit for this model is {_W}",  # Cohere
        rf"context (length|size|window|limit)( limit)?( of| is|:)?( only)? \(?{_W}",
        rf"{_W} maximum context length",
        rf"model maximum context length: {_W}",
        rf"\b(prompt|input|sequence|total|length|tokens)\b[^<>\d]{{0,40}}{_R} ?>=? ?"
        rf"[^<>\d]{{0,20}}{_W}",
        rf"has {_R} tokens, but the maximum is {_W}",
        # the output limit
        rf"at most {_O} (completion|output) tokens",  # OpenAI
        rf"max_(completion_|output_|new_)?tokens`? (must|should) be (less than|at most|<=)"
        rf"( or equal to)? `?{_O}",  # Groq, Cohere
        rf"max_(completion_|output_|new_)?tokens\b.{{0,80}}\[\s*\d+\s*,\s*{_O}\s*\]",  # DeepSeek
        rf"max_tokens: \d+ > {_O}",  # Anthropic
        rf"(requested )?exceeds? the model limit of {_O}",  # Bedrock
        rf"maximum (value|limit) (for|of) `?max_(completion_|output_|new_)?tokens`? is {_O}",
        rf"to {_N.format('above')} \(exclusive\)",  # Gemini, Vertex
    )
]

_ABOUT_OUTPUT = re.compile(
    r"max_(completion_|output_|new_)?tokens|maxoutputtokens|(in|for) the (completion|output)\b"
    r"|output tokens|completion tokens|maximum tokens (value|you requested)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Counts in the provider's own tokens; None where the error has none.

    `requested` may include the requested output; `prompt` does not. `max_output` is the longest
    possible answer.
    `about_output` is true if the error mentions the answer's length at all.
    """

    window: int | None = None
    requested: int | None = None
    prompt: int | None = None
    max_output: int | None = None
    about_output: bool = False


def parse_token_counts(report: ErrorReport) -> TokenCounts:
    """The counts in a report's text and numeric fields."""
    found = _search(report.text)
    fields = report.numbers or {}
    window = fields.get("n_ctx") or found.get("window") or found.get("window2")  # llama.cpp
    above = found.get("above")
    return TokenCounts(
        window=_plausible(window),
        requested=fields.get("n_prompt_tokens") or found.get("requested") or found.get("prompt"),
        prompt=found.get("prompt"),
        max_output=found.get("max_output") or (above - 1 if above else None),
        about_output=_ABOUT_OUTPUT.search(f"{report.param} {report.text}") is not None,
    )


def _search(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for pattern in _PATTERNS:
        match = pattern.search(text)
        if match is not None:
            found = _numbers(match.groupdict()) | found
    return found


def _numbers(groups: Mapping[str, str | None]) -> dict[str, int]:
    digits = {name: re.sub(r"[,_]", "", text) for name, text in groups.items() if text}
    return {name: int(text) for name, text in digits.items() if len(text) < 10}


def _plausible(window: int | None) -> int | None:
    return window if window and SMALLEST_WINDOW <= window <= LARGEST_WINDOW else None
