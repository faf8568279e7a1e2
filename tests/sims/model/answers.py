"""What the model will answer: scripted answers, their tokens and the moments they are due.

An answer's schedule is absolute: token k is due at a time that depends on k alone, so that a late
token never makes the following ones late.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

# About the length of real tokens (4 characters of English); whitespace leads the next word.
_TOKEN = re.compile(r"\s?\S{1,6}|\s+")

BREAKS = ("stall", "cut", "fin", "end", "error", "bad_json", "garbage")


@dataclass(slots=True)
class Answer:
    """One scripted answer or failure; the first that matches a request is taken.

    `match` is a substring of the last user message and `model` a model's id; empty ones match
    all. The answer is left out of the first `skip` matching requests and used `times` times
    (None: always). Times are in seconds, `rate` in tokens per second (0: all at once).

    `hold` delays even the status line. `fault` refuses the request (see `refusals`). `breaks`
    goes wrong at token `at`: "stall" (nothing more comes), "cut" (the connection is reset), "fin"
    (it is closed without the end of the body), "end" (a clean end, no finish reason, no `[DONE]`),
    "error" (an error object, then a clean end), "bad_json" and "garbage" (one broken event).
    `wait_at` stops before that token until `release` is called.
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
    usage: dict[str, int] | None = None
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

    def takes(self, text: str, model: str) -> bool:
        """Whether this answer is for a request whose last user message is `text`; uses it up."""
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
    """How fast answers come that do not say it themselves."""

    rate: float = 200.0
    first_delay: float = 0.02


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer made concrete for one request: its tokens, how they are paced, how it ends."""

    tokens: tuple[str, ...]
    thoughts: tuple[str, ...]
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
        """Seconds from the start at which each token is due; thoughts come first."""
        dice = random.Random(self.seed)
        gap = 1.0 / self.rate if self.rate else 0.0
        for k in range(len(self.thoughts) + len(self.tokens)):
            shake = self.jitter * dice.random() if self.jitter else 0.0
            yield self.first_delay + (k + shake) * gap

    @property
    def duration(self) -> float:
        """Seconds until the whole answer is there."""
        return max(self.offsets(), default=self.first_delay)

    @property
    def text(self) -> str:
        """The whole text, without the reasoning."""
        return "".join(self.tokens)


def tokenize(text: str) -> tuple[str, ...]:
    """Cut a text into pieces like a model's tokens; together they are the text."""
    return tuple(_TOKEN.findall(text))


def plain(content: Any) -> str:
    """The text of a message's content, which may be a string, parts or nothing."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [])


def count_tokens(messages: Sequence[dict[str, Any]]) -> int:
    """What the simulator says a request costs: 4 bytes a token, 4 tokens a message and 3 more."""
    sizes = (len(plain(message.get("content")).encode()) for message in messages)
    return 3 + sum(4 + math.ceil(size / 4) for size in sizes)


def last_user_text(messages: Sequence[dict[str, Any]]) -> str:
    """The last user message, which scripts are matched against."""
    said = [plain(message.get("content")) for message in messages if message["role"] == "user"]
    return said[-1] if said else ""


def echo(messages: Sequence[dict[str, Any]]) -> str:
    """The answer when no script matches."""
    return f"I received {len(messages)} messages; the last one says: {last_user_text(messages)}"


def concrete(answer: Answer, body: dict[str, Any], pace: Pace) -> Reply:
    """What `answer` means for the request `body`: `max_tokens` may end it early."""
    messages = body["messages"]
    tokens = tuple(answer.chunks or ()) if answer.chunks is not None else None
    if tokens is None:
        tokens = tokenize(echo(messages) if answer.text is None else answer.text)
    thoughts, finish = tokenize(answer.reasoning), answer.finish_reason
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    if most is not None and most < len(thoughts) + len(tokens):
        thoughts, finish = thoughts[:most], "length"
        tokens = tokens[: most - len(thoughts)]
    return Reply(
        tokens=tokens,
        thoughts=thoughts,
        rate=pace.rate if answer.rate is None else answer.rate,
        first_delay=pace.first_delay if answer.first_delay is None else answer.first_delay,
        jitter=answer.jitter,
        seed=answer.seed,
        finish_reason=finish,
        usage=answer.usage or _usage(count_tokens(messages), len(tokens), len(thoughts)),
        breaks=answer.breaks,
        at=answer.at,
        wait_at=answer.wait_at,
        refusal=answer.refusal,
    )


def aloud(reply: Reply, opening: Sequence[str]) -> Reply:
    """`reply` with its thoughts in the text, as servers without a parser for them send it."""
    if not reply.thoughts:
        return reply
    tokens = (*opening, *reply.thoughts, "\n", "</think>", "\n\n", *reply.tokens)
    return replace(reply, thoughts=(), tokens=tokens)


def _usage(asked: int, said: int, thought: int) -> dict[str, Any]:
    return {
        "prompt_tokens": asked,
        "completion_tokens": said + thought,
        "total_tokens": asked + said + thought,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": thought, "audio_tokens": 0},
    }
