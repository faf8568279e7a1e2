"""What the model gets of a conversation: the position of the window, the summary, and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary of a conversation's oldest messages, written by `model`. It covers the messages
    of the epoch with an index below `before`."""

    text: str
    before: int
    model: str


@dataclass(frozen=True, slots=True)
class TokenCount:
    """The tokens of a request: `counted` by the provider, `estimated` by `bot.domain.tokens`."""

    counted: int
    estimated: int


@dataclass(frozen=True, slots=True)
class RequestTokens:
    """The tokens of a request: `estimated` by `bot.domain.tokens`, and the range of plausible
    counts.

    A count below `least` means that the server silently cut its input, or did not count what it had
    cached.
    """

    estimated: int
    least: int
    most: int

    def measured_by(self, counted: int) -> bool:
        """Whether the provider's count is plausible for the whole request."""
        return self.least <= counted <= self.most


@dataclass(frozen=True, slots=True)
class ContextState:
    """The position of a conversation's window, which moves only when the window is full.

    Requests contain the messages of the epoch with an index of at least `start`. Attachments of
    messages below `stubs_before` appear as stubs. `revision` changes whenever a message that a
    request may have contained is edited or erased. `summary` is None if none was written, or if one
    of the messages that it covers has changed. `last` holds the token count of the newest counted
    request to the same model. `told` is set once a reply said that older messages are summarized.
    """

    start: int = 0
    stubs_before: int = 0
    revision: int = 0
    summary: Summary | None = None
    last: TokenCount | None = None
    told: bool = False


class ContextPartKind(StrEnum):
    """The kinds of text that make up a request."""

    PROMPT = "prompt"
    INSTRUCTIONS = "instructions"
    SUMMARY = "summary"
    MESSAGES = "messages"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class ContextPart:
    """One kind of text in the next request; `count` is the number of messages or files."""

    kind: ContextPartKind
    tokens: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class ContextReport:
    """What the model will get with the conversation's next question, in estimated tokens.

    `budget` is the largest allowed request; `window` is the model's context window, None if
    unknown. Of the last request, `cached_tokens` came from the provider's cache; None if the
    provider did not say. `left_out` messages of the epoch are neither sent nor summarized; the
    summary covers `summarized` messages. `summary` is its text.
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
        """The sum over all parts."""
        return sum(part.tokens for part in self.parts)
