"""What a model gets of a conversation: the window's position, the summary, and a description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of a conversation's oldest messages: those of its epoch with an index below
    `before`. `model` wrote it."""

    text: str
    before: int
    model: str


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A request's tokens: `counted` by the provider, `estimated` by `bot.domain.tokens`."""

    counted: int
    estimated: int


@dataclass(frozen=True, slots=True)
class RequestTokens:
    """A request's tokens: `estimated` by `bot.domain.tokens`, and the range of credible counts.

    A server that silently cuts its input, or that leaves out what it had in its cache, counts fewer
    than `least`.
    """

    estimated: int
    least: int
    most: int

    def measured_by(self, counted: int) -> bool:
        """Whether a provider's count can be one of the whole request."""
        return self.least <= counted <= self.most


@dataclass(frozen=True, slots=True)
class ContextState:
    """Where a conversation's window stands; it only moves when the window is full.

    Requests contain the messages of the epoch with indexes from `start`, and only stubs of the
    attachments of messages below `stubs_before`. `revision` changes whenever a message that a
    request may have contained is edited or erased; `summary` is None if none was written, or if one
    of the messages that it covers changed. `last` is the count of the conversation's newest counted
    request to the same model. `told`: a reply has said that older messages are summarized.
    """

    start: int = 0
    stubs_before: int = 0
    revision: int = 0
    summary: Summary | None = None
    last: TokenCount | None = None
    told: bool = False


class ContextPartKind(StrEnum):
    """The kinds of text in a request."""

    PROMPT = "prompt"
    INSTRUCTIONS = "instructions"
    SUMMARY = "summary"
    MESSAGES = "messages"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class ContextPart:
    """One kind of text in the next request: `count` is the number of messages or files."""

    kind: ContextPartKind
    tokens: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class ContextReport:
    """What the model will get with the conversation's next question, in estimated tokens.

    `budget` is the largest request; `window` the model's window, None if it is unknown.
    `cached_tokens` of the last request came from the provider's cache, None if it did not say.
    `left_out` messages of the epoch are neither sent nor summarized; `summarized` ones are covered
    by the summary. `summary` is its text.
    """

    model: str
    budget: int
    window: int | None
    parts: Sequence[ContextPart]
    cached_tokens: int | None = None
    summarized: int = 0
    left_out: int = 0
    summary: str = ""

    @property
    def tokens(self) -> int:
        """All parts together."""
        return sum(part.tokens for part in self.parts)
