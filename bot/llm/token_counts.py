"""The numbers in a refusal: the model's window, what was asked, the longest answer; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bot.llm.report import Report

SMALLEST_WINDOW, LARGEST_WINDOW = 128, 100_000_000
"""Tokens: what is outside was no window, but another number of the sentence."""

_N = r"(?P<{}>\d(?:[\d_]|,(?=\d)){{0,15}}+)"
_W, _A, _O = _N.format("window"), _N.format("asked"), _N.format("output")

# Each with who says it. The first that gives a name counts, so the precise ones stand first.
_PATTERNS = [
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        rf"context limit: {_A} \+ \d+ > {_W}",  # Anthropic
        rf"tokens \({_A}\) exceeded .{{0,40}}limit \({_W}\)",  # Cloudflare
        rf"token count of {_A} exceeds the limit of {_W}",  # GitHub
        rf"size: {_W} tokens",  # Azure's model catalog
        rf"token count \({_A}\) exceeds .{{0,60}}\({_W}\)",  # Gemini
        rf"prompt is too long: {_A} tokens > {_W}",  # Anthropic
        rf"prompt is too long: {_A}, model maximum context length: {_W}",  # Fireworks
        rf"input \({_A} tokens\) is longer than .{{0,40}}\({_W}",  # SGLang
        rf"request \({_A} tokens\) exceeds .{{0,40}}\({_W}",  # llama.cpp
        rf"requested tokens \({_A}\) exceed context window of {_W}",  # llama-cpp-python
        rf"contains {_A} tokens.{{0,60}}too large for model with {_W}",  # Mistral
        rf"prompt length is {_W} but the request contains {_A}",  # xAI
        rf"cannot exceed {_W} - received {_A}",  # Cohere
        rf"must be <= {_W}\. Given: {_A} `inputs` tokens",  # TGI
        rf"token limit: {_W} \(requested: {_A}\)",  # Moonshot
        rf"limit {_W}, requested {_A}",  # OpenAI's and Groq's rates
        rf"current length is {_A} while limit is {_W}",  # Cerebras
        rf"keep the first {_A} tokens .{{0,80}}context length of (only )?{_W}",  # LM Studio
        rf"{_A} (tokens )?in the messages",  # OpenAI, vLLM
        rf"(has|contains)( at least)? {_A} input tokens",  # vLLM
        rf"messages resulted in {_A} tokens",  # OpenAI
        rf"you requested a total of {_A} tokens",  # SGLang
        rf"range of input length should be \[\s*\d+\s*,\s*{_W}\s*\]",  # Alibaba
        rf"exceeded model token limit:? {_W}",  # Moonshot
        rf"input.{{0,20}} must be <= {_W}|must be <= {_N.format('window2')}",  # TGI
        rf"maximum (context|prompt|input|sequence) length (is|of|for this model is) {_W}",
        rf"tokens allowed \(?{_W}",  # Gemini
        rf"limit for this model is {_W}",  # Cohere
        rf"context (length|size|window|limit)( limit)?( of| is|:)?( only)? \(?{_W}",
        rf"{_W} maximum context length",
        rf"model maximum context length: {_W}",
        rf"\b(prompt|input|sequence|total|length|tokens)\b[^<>\d]{{0,40}}{_A} ?>=? ?"
        rf"[^<>\d]{{0,20}}{_W}",
        rf"has {_A} tokens, but the maximum is {_W}",
        # the longest answer
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

_ABOUT_THE_ANSWER = re.compile(
    r"max_(completion_|output_|new_)?tokens|maxoutputtokens|(in|for) the completion|output tokens|"
    r"completion tokens|maximum tokens (value|you requested)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Counts:
    """In the provider's own tokens; None where it does not say.

    `asked` may include the answer that was asked for; `output` is the longest answer that it gives;
    `about_the_answer` tells whether the words speak of the answer's length at all.
    """

    window: int | None = None
    asked: int | None = None
    output: int | None = None
    about_the_answer: bool = False


def counts(report: Report) -> Counts:
    """What the words of a report say, and the fields that are numbers."""
    found = dict(_found(report.words))
    fields = report.numbers or {}
    window = fields.get("n_ctx") or found.get("window") or found.get("window2")  # llama.cpp
    above = found.get("above")
    return Counts(
        window=_plausible(window),
        asked=fields.get("n_prompt_tokens") or found.get("asked"),
        output=found.get("output") or (above - 1 if above else None),
        about_the_answer=_ABOUT_THE_ANSWER.search(f"{report.param} {report.words}") is not None,
    )


def _found(words: str) -> Iterator[tuple[str, int]]:
    found: dict[str, int] = {}
    for pattern in _PATTERNS:
        match = pattern.search(words)
        if match is not None:
            for name, text in _numbers(match.groupdict()).items():
                found.setdefault(name, text)
    yield from found.items()


def _numbers(groups: Mapping[str, str | None]) -> dict[str, int]:
    texts = {name: re.sub(r"[,_]", "", text) for name, text in groups.items() if text}
    return {name: int(text) for name, text in texts.items() if len(text) < 10}


def _plausible(window: int | None) -> int | None:
    return window if window and SMALLEST_WINDOW <= window <= LARGEST_WINDOW else None
