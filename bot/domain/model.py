"""A model: facts about it, a call's request, and the deltas of the streamed answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from bot.domain.conversations import Effort, Message
from bot.domain.policy import Redaction

DEMO = "demo"
"""The model that answers a few questions with scripted text, to try everything else with."""

ECHO = "echo"
"""The model that repeats the question."""

BUILT_IN = (DEMO, ECHO)
"""The models without a server, whose names have no provider. They cannot summarize."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call, as counted by the provider.

    `input_tokens` is the whole request, also for providers that report cached tokens apart: the
    tokens read from the provider's prompt cache (`cached_tokens`) and those written to it
    (`cache_write_tokens`) are part of it. `reasoning_tokens` are part of `output_tokens`.
    `reports_cache`: the provider counts cached tokens, so that 0 of them means a miss.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    reports_cache: bool = field(default=False, compare=False)

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars for a million tokens; `cached` and `cache_write`: None is input's price."""

    input: float
    output: float
    cached: float | None = None
    cache_write: float | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts about a model; None where they are unknown.

    `window` is the number of tokens that its input and its answer share, `max_output` the longest
    answer. `context_tokens` is the largest input that the operator wants to send; `is_configured`:
    the operator wrote the window down, so that all of it may be used.
    """

    window: int | None = None
    max_output: int | None = None
    sees: bool | None = None
    tools: bool | None = None
    effort: bool | None = None
    prices: Prices | None = None
    context_tokens: int | None = None
    is_configured: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """A model as people choose it. `prices` are None where they are not known.

    `takes_temperature` is False once its server has refused one; None: it is not known.
    `rests_for`: seconds until it is asked again after failures; `failure` is the sentence about the
    last one.
    """

    name: str
    facts: ModelFacts
    prices: Prices | None = None
    takes_temperature: bool | None = None
    rests_for: float = 0.0
    failure: str = ""


class ReasoningDisplay(StrEnum):
    """How much of a model's reasoning people see; no later request contains any of it."""

    HIDDEN = "hidden"  # only a note that the model is thinking
    SHOWN = "shown"  # the last lines, in a quote above the answer


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One model call. `max_tokens`, `temperature`, `effort`: None is the provider's default.

    `cache_key` is the same for all requests of a conversation, so that a provider with several
    servers sends them to the one whose prompt cache has their beginning. It must not tell who
    speaks: a digest, never an id. "" sends none. `redact` is what is replaced by placeholders
    before the request is sent, beside keys, which always are.
    """

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    effort: Effort | None = None
    cache_key: str = ""
    redact: frozenset[Redaction] = frozenset()

    @property
    def has_images(self) -> bool:
        """Whether a message carries an image."""
        return any(message.parts for message in self.messages)


@dataclass(frozen=True, slots=True)
class Delta:
    """One piece of a streamed answer; the last pieces have the finish reason and the usage.

    `reasoning` comes before the answer's text and is not a part of it. `loading` comes before both
    while the server loads the model.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None  # in a model's first delta: a fallback may have answered
    loading: bool = False
