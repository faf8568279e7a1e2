"""Facts about a model, the request of one call, and the deltas of the streamed answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from bot.domain.conversations import Effort, Message
from bot.domain.policy import Redaction

DEMO = "demo"
"""The model that answers a few questions with scripted text, for trying out Threadline."""

ECHO = "echo"
"""The model that repeats the question."""

BUILT_IN = (DEMO, ECHO)
"""The models without a server; their names have no provider. They cannot summarize."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one model call, as counted by the provider.

    `input_tokens` counts the whole request. It includes the tokens read from the provider's prompt
    cache (`cached_tokens`) and written to it (`cache_write_tokens`), even if the provider reports
    them separately. `output_tokens` includes `reasoning_tokens`. `reports_cache` is set if the
    provider counts cached tokens, so that 0 means a cache miss.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    reports_cache: bool = field(default=False, compare=False)

    @property
    def total_tokens(self) -> int:
        """The sum of input and output."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in US dollars per million tokens. If `cached` or `cache_write` is None, the price of
    `input` applies."""

    input: float
    output: float
    cached: float | None = None
    cache_write: float | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts about a model; None if unknown.

    `window` is the number of tokens that input and answer share; `max_output` limits the answer.
    `context_tokens` is the largest input that the operator wants to send. `is_configured` is set if
    the operator configured the window, so that all of it may be used.
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
    """A model as people choose it. A price is None if unknown.

    `takes_temperature` is False once its server has refused one, None if unknown. After failures,
    the model is not asked for `rests_for` seconds; `failure` describes the last failure in a
    sentence.
    """

    name: str
    facts: ModelFacts
    prices: Prices | None = None
    takes_temperature: bool | None = None
    rests_for: float = 0.0
    failure: str = ""


class ReasoningDisplay(StrEnum):
    """How much of a model's reasoning people see. Later requests never contain any of it."""

    HIDDEN = "hidden"  # only a note that the model is thinking
    SHOWN = "shown"  # the last lines, quoted above the answer


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One model call. `max_tokens`, `temperature`, `effort`: None means the provider's default.

    All requests of a conversation have the same `cache_key`, so that a provider with several
    servers can route them to the one with their beginning in its prompt cache. The key must not
    identify a person: it is a digest, never an id. "" sends none. `redact` lists what to replace by
    placeholders before sending, in addition to keys, which are always replaced.
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
    """One piece of a streamed answer; the last pieces carry the finish reason and the usage.

    `reasoning` precedes the answer's text and is not part of it. `loading` precedes both while the
    server loads the model.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None  # set in the first delta; a fallback model may have answered
    loading: bool = False
