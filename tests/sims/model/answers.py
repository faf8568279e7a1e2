"""Scripted answers: their tokens, and when each token is due.

Schedules are absolute: the time of token k depends on k alone, so a late token does not delay the
following ones.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

# About as long as real tokens (4 characters of English); whitespace belongs to the next word.
_TOKEN = re.compile(r"\s?\S{1,6}|\s+")

BREAKS = ("stall", "cut", "fin", "end", "error", "bad_json", "garbage")


@dataclass(slots=True)
class Answer:
    """One scripted answer or failure; the first one that matches a request is used.

    `match` is a substring of the last user message and `model` a model's id; empty ones match
    everything. The first `skip` matching requests do not use the answer, the next `times` do (None:
    all). Times are in seconds, `rate` in tokens per second (0: all together).

    `hold` delays everything, including the status line. `fault` names an error response (see
    `error_responses`). `breaks` is a failure at token `at`: "stall" (nothing more comes), "cut"
    (the connection is reset), "fin" (it is closed before the end of the body), "end" (a clean end
    without a finish reason and `[DONE]`), "error" (an error object, then a clean end), "bad_json"
    and "garbage" (one broken event). `wait_at` pauses before that token until `release` is called.
    """

    match: str = ""
    model: str = ""
    times: int | None = None
    skip: int = 0
    text: str | None = None
    chunks: list[str] | None = None
    reasoning: str = ""
    refusal: str = ""
    rate: float | None = None
    first_delay: float | None = None
    jitter: float = 0.0
    seed: int = 0
    hold: float = 0.0
    finish_reason: str = "stop"
    usage: dict[str, Any] | None = None
    breaks: str | None = None
    at: int = 1
    wait_at: int | None = None
    fault: str | None = None
    retry_after: float | str | None = None
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.breaks is not None and self.breaks not in BREAKS:
            raise ValueError(f"breaks is one of {BREAKS}, not {self.breaks!r}")

    def claim(self, text: str, model: str) -> bool:
        """Whether to answer a request with the last user message `text`; counts the use."""
        if self.times == 0 or self.match not in text or self.model not in ("", model):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True, slots=True)
class Pace:
    """The default speed of answers."""

    rate: float = 200.0
    first_delay: float = 0.02


@dataclass(frozen=True, slots=True)
class ResolvedAnswer:
    """An answer resolved for one request: its tokens, their pace, and how it ends."""

    tokens: tuple[str, ...]
    reasoning: tuple[str, ...]
    rate: float
    first_delay: float
    jitter: float
    seed: int
    finish_reason: str
    usage: dict[str, Any]
    breaks: str | None
    at: int
    wait_at: int | None
    refusal: str = ""

    def offsets(self) -> Iterator[float]:
        """Seconds from the start at which each token is due; reasoning comes first."""
        rng = random.Random(self.seed)
        gap = 1.0 / self.rate if self.rate else 0.0
        for k in range(len(self.reasoning) + len(self.tokens)):
            jitter = self.jitter * rng.random() if self.jitter else 0.0
            yield self.first_delay + (k + jitter) * gap

    @property
    def duration(self) -> float:
        """Seconds until the answer is complete."""
        return max(self.offsets(), default=self.first_delay)

    @property
    def text(self) -> str:
        """The text without the reasoning."""
        return "".join(self.tokens)


def tokenize(text: str) -> tuple[str, ...]:
    """Split a text into token-like pieces that join to the same text."""
    return tuple(_TOKEN.findall(text))


def plain_text(content: Any) -> str:
    """The text of a message's content: a string, a list of parts, or None."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [])


def count_tokens(messages: Sequence[dict[str, Any]]) -> int:
    """The simulator's token count: 3, plus 4 per message, plus one per 4 bytes of content."""
    sizes = (len(plain_text(message.get("content")).encode()) for message in messages)
    return 3 + sum(4 + math.ceil(size / 4) for size in sizes)


def last_user_text(messages: Sequence[dict[str, Any]]) -> str:
    """The last user message; scripts are matched against it."""
    user = [message for message in messages if message["role"] == "user"]
    return plain_text(user[-1].get("content")) if user else ""


def echo(messages: Sequence[dict[str, Any]]) -> str:
    """The answer if no script matches."""
    return f"I received {len(messages)} messages; the last one says: {last_user_text(messages)}"


def resolve(answer: Answer, body: dict[str, Any], pace: Pace) -> ResolvedAnswer:
    """Resolve `answer` for the request `body`; its `max_tokens` may end the answer early."""
    messages = body["messages"]
    tokens = tuple(answer.chunks or ()) if answer.chunks is not None else None
    if tokens is None:
        tokens = tokenize(echo(messages) if answer.text is None else answer.text)
    reasoning, finish = tokenize(answer.reasoning), answer.finish_reason
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is not None and limit < len(reasoning) + len(tokens):
        reasoning, finish = reasoning[:limit], "length"
        tokens = tokens[: limit - len(reasoning)]
    return ResolvedAnswer(
        tokens=tokens,
        reasoning=reasoning,
        rate=pace.rate if answer.rate is None else answer.rate,
        first_delay=pace.first_delay if answer.first_delay is None else answer.first_delay,
        jitter=answer.jitter,
        seed=answer.seed,
        finish_reason=finish,
        usage=answer.usage or make_usage(count_tokens(messages), len(tokens), len(reasoning)),
        breaks=answer.breaks,
        at=answer.at,
        wait_at=answer.wait_at,
        refusal=answer.refusal,
    )


def inline_reasoning(answer: ResolvedAnswer, opening: Sequence[str]) -> ResolvedAnswer:
    """Move the reasoning into the text, as servers without a reasoning parser send it."""
    if not answer.reasoning:
        return answer
    tokens = (*opening, *answer.reasoning, "\n", "</think>", "\n\n", *answer.tokens)
    return replace(answer, reasoning=(), tokens=tokens)


def make_usage(prompt: int, text: int, reasoning: int, cached: int = 0) -> dict[str, Any]:
    """The counts of a chat completion."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": text + reasoning,
        "total_tokens": prompt + text + reasoning,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }
