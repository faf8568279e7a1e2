"""Collects the streamed answer to a request for a summary, up to its limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import structlog

from bot.context.segments import Segment
from bot.domain.model import ChatRequest, Delta, Usage

log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class SummaryAnswer:
    """What the model wrote, and why it ended. `is_endless`: the answer was cut off here."""

    pieces: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    is_endless: bool = False

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def is_complete(self) -> bool:
        """Whether the model finished without hitting a limit or a content filter."""
        return not self.is_endless and self.finish_reason not in ("length", "content_filter")

    def add(self, delta: Delta) -> None:
        """Add a piece of the stream."""
        if delta.model:  # a new attempt, after a model failed
            self.model = delta.model
            self.finish_reason = self.usage = None
            self.pieces.clear()
        self.pieces.append(delta.text)
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.usage = delta.usage or self.usage

    def describe(self, notes: str) -> str:
        """Explain for the log why the answer is not a summary, without quoting it."""
        return (
            f"{len(self.text)} characters, {len(notes)} of notes,"
            f" finish reason {self.finish_reason}{', endless' if self.is_endless else ''}"
        )

    def log_usage(self, conversation: int, segment: Segment) -> None:
        """Log the cost of the summary."""
        log.info(
            "old messages summarized",
            conversation=conversation,
            messages=len(segment.messages),
            before=segment.before,
            model=self.model,
            input_tokens=self.usage.input_tokens if self.usage is not None else None,
            output_tokens=self.usage.output_tokens if self.usage is not None else None,
        )


MAX_CHARACTERS_PER_TOKEN = 8
"""With more characters than this per token of its limit, an answer ignores the limit."""


async def read_answer(deltas: AsyncIterator[Delta], request: ChatRequest) -> SummaryAnswer:
    """Read the answer to `request`, stopping at its limit even if the server ignores that."""
    answer, left = SummaryAnswer(), MAX_CHARACTERS_PER_TOKEN * (request.max_tokens or 1)
    async for delta in deltas:
        answer.add(delta)
        left -= len(delta.text) + len(delta.reasoning)
        if left < 0:
            answer.is_endless = True
            break
    return answer
