"""The history port, for reading messages that a platform did not deliver as events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bot.domain.conversations import Conversation
from bot.domain.inbox import Asked, Incoming

PageReader: TypeAlias = "Callable[[], Awaitable[HistoryPage]]"
ReportChanges = Callable[[Asked], Awaitable[None]]
"""Reads a question again, and reports to the inbox if it was edited or deleted, as a live event
would.

The core calls it again after a PlatformError or StoreUnavailable.
"""


@dataclass(frozen=True, slots=True)
class ChannelRef:
    """A channel, or a thread with a watermark, by the platform's ids.

    An empty `channel` stands for the whole workspace.
    """

    workspace: str
    channel: str


@dataclass(frozen=True, slots=True)
class History:
    """A channel or thread that may contain unread messages.

    Histories with the lowest `rank` are read first; its first number is between 0 and 2.
    `read_after` requests the first page behind a position. Everything up to `after` has been read,
    even if the stored watermark is lower. The core calls `read_to` with the position up to which
    all messages are stored.
    """

    ref: ChannelRef
    rank: tuple[float, ...]
    read_after: Callable[[int], Awaitable[HistoryPage]]
    after: int = 0
    read_to: Callable[[int], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """The result of one request: translated messages, oldest first.

    Once these messages are accepted and `threads` are read, the history is complete up to position
    `reached`; 0 if unknown. `next` requests the following page; None after the last.
    """

    messages: Sequence[Incoming] = ()
    reached: int = 0
    threads: Sequence[History] = ()
    next: PageReader | None = None


class HistoryReader(Protocol):
    """Finds the channels of one workspace in which messages may have been missed."""

    @property
    def workspace(self) -> str:
        """The platform's id of the workspace."""
        ...

    @property
    def newest(self) -> int:
        """The initial watermark of a workspace without one; older messages are ignored."""
        ...

    async def find_histories(self, conversations: Sequence[Conversation]) -> Sequence[History]:
        """The histories to read; `conversations` are the most recent ones of the whole platform.

        Raises a PlatformError, after which the core calls it again.
        """
        ...
