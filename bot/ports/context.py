"""The part of the store that keeps where each conversation's window stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.context import ContextReport, ContextState, Summary, TokenCount
from bot.domain.conversations import ConversationKey


class ContextStore(Protocol):
    """Windows and summaries. All methods raise StoreUnavailable if the database fails."""

    async def read_state(self, conversation: int, *, epoch: int, model: str) -> ContextState:
        """Where the window of the epoch stands; `model` is the one whose last count is wanted."""
        ...

    async def move_window(
        self, conversation: int, *, epoch: int, start: int, stubs_before: int
    ) -> None:
        """Move the window forward; lower positions than the stored ones change nothing."""
        ...

    async def save_summary(
        self, conversation: int, *, epoch: int, revision: int, summary: Summary
    ) -> bool:
        """Replace the summary, and begin the window behind the messages that it covers.

        False, without an effect, if the conversation has another epoch by now, or if a message was
        edited or erased since `revision` was read.
        """
        ...

    async def read_cached_tokens(self, conversation: int, *, epoch: int) -> int | None:
        """The cached part of the epoch's newest counted request; None without one."""
        ...

    async def count_messages(
        self, conversation: int, *, epoch: int, start: int, before: int
    ) -> int:
        """How many messages of the epoch have indexes from `start` to below `before`.

        Erased messages are left out; only the last 100,000 indexes are counted.
        """
        ...

    async def token_counts(self, model: str, *, limit: int) -> Sequence[TokenCount]:
        """The counts of the newest `limit` requests to `model`, newest first."""
        ...


class ContextReporter(Protocol):
    """Describes what the model will get."""

    async def report(self, key: ConversationKey) -> ContextReport | None:
        """The context of the conversation's next question; None without a conversation."""
        ...
