"""The part of the store that keeps the position of each conversation's window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.context import ContextReport, ContextState, Summary, TokenCount
from bot.domain.conversations import ConversationKey


class ContextStore(Protocol):
    """Windows and summaries. All methods raise StoreUnavailable if the database fails."""

    async def read_state(self, conversation: int, *, epoch: int, model: str) -> ContextState:
        """The position of the epoch's window; the last token count is for `model`."""
        ...

    async def move_window(
        self, conversation: int, *, epoch: int, start: int, stubs_before: int
    ) -> None:
        """Move the window forward; positions below the stored ones change nothing."""
        ...

    async def save_summary(
        self, conversation: int, *, epoch: int, revision: int, summary: Summary
    ) -> bool:
        """Replace the summary, and move the start of the window behind the messages that it covers.

        Returns False and changes nothing if the conversation has moved to another epoch, or if a
        message was edited or erased since `revision` was read.
        """
        ...

    async def read_cached_tokens(self, conversation: int, *, epoch: int) -> int | None:
        """The cached tokens of the epoch's newest counted request; None if there is none."""
        ...

    async def count_messages(
        self, conversation: int, *, epoch: int, start: int, before: int
    ) -> int:
        """Count the messages of the epoch with indexes from `start` up to, but not including,
        `before`.

        Ignores erased messages; counts at most the last 100,000 indexes.
        """
        ...

    async def token_counts(self, model: str, *, limit: int) -> Sequence[TokenCount]:
        """The counts of the newest `limit` requests to `model`, newest first."""
        ...


class ContextReporter(Protocol):
    """Describes what the model will get."""

    async def report(self, key: ConversationKey) -> ContextReport | None:
        """The context of the conversation's next question; None if there is no such
        conversation."""
        ...
