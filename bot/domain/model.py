"""A model call: the request, and the deltas of its streamed answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bot.domain.conversations import Message


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one model call took, as the provider counted them."""

    input_tokens: int
    output_tokens: int


class Reasoning(StrEnum):
    """What people see of the thoughts that a model streams; no later request contains them."""

    HIDDEN = "hidden"  # that it thinks
    SHOWN = "shown"  # the last of them, small, above the answer


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One model call. `max_tokens` and `temperature` are left to the provider when None."""

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """One piece of a streamed answer. The last ones carry the finish reason and the usage.

    `reasoning` is no part of the answer: it comes before the text, and is not kept with it.
    `loading` comes before both, where the server still reads the model into memory.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None  # who answers, in its first delta: a chain may have fallen over
    loading: bool = False
