"""A model call: the request, and the deltas of the streamed answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bot.domain.conversations import Message


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call, as counted by the provider."""

    input_tokens: int
    output_tokens: int


class ReasoningDisplay(StrEnum):
    """How much of a model's reasoning people see; no later request contains any of it."""

    HIDDEN = "hidden"  # only a note that the model is thinking
    SHOWN = "shown"  # the last lines, in a quote above the answer


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One model call. None for `max_tokens` or `temperature` is the provider's default."""

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None

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
