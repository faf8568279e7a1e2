"""Gives catch-up access to its records in the store: watermarks, gaps, thread reads, questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.domain.conversations import Conversation, ConversationKey
from bot.domain.inbox import Asked, Gap, ThreadRead, Watermark
from bot.domain.leftovers import Leftover
from bot.ports.clock import Clock
from bot.ports.store import Store

MAX_ACTIVE = 1_000
"""The most conversations to read individually after missed events, on platforms that do not report
where messages were sent."""

MAX_RECHECKS, RECHECK_SECONDS = 20, 3_600.0
"""The most conversations whose last question is checked for missed edits and deletions, and the
maximum age of that question in seconds: each check costs a request."""


class CatchUpRecords:
    """The part of `bot.ports.inbox.CatchUpInbox` that accepts no messages."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        """The stored watermarks of a platform."""
        return await self._store.watermarks(platform)

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        """Store watermarks; none moves backwards."""
        await self._store.move_watermarks(marks)

    async def gaps(self, reader: str) -> Sequence[Gap]:
        """The gaps of processes that `reader` has not finished."""
        return await self._store.gaps(reader)

    async def finish_gaps(self, reader: str, gaps: Sequence[Gap]) -> None:
        """Record that `reader` has read everything since these gaps."""
        await self._store.finish_gaps(reader, [gap.id for gap in gaps])

    async def thread_reads(self, platform: str, workspace: str) -> Sequence[ThreadRead]:
        """The recorded rereads of the workspace's threads."""
        return await self._store.thread_reads(platform, workspace)

    async def count_known_replies(self, place: ConversationKey) -> Mapping[str, int]:
        """The number of messages in each thread of a channel, as far as the database knows."""
        return await self._store.count_known_replies(place)

    async def record_thread_read(self, platform: str, read: ThreadRead) -> None:
        """Record that a thread was reread."""
        await self._store.record_thread_read(platform, read)

    async def add_leftover(self, leftover: Leftover) -> None:
        """Record a leftover."""
        await self._store.add_leftover(leftover)

    async def leftovers(self, platform: str) -> Sequence[Leftover]:
        """The leftovers on a platform."""
        return await self._store.leftovers(platform)

    async def leftovers_of(self, conversation: int) -> Sequence[Leftover]:
        """The leftovers of one conversation."""
        return await self._store.leftovers_of(conversation)

    async def remove_leftover(self, leftover: Leftover) -> None:
        """Delete the record of a leftover that was removed or never can be."""
        await self._store.remove_leftover(leftover)

    async def is_busy(self, conversation: int) -> bool:
        """Whether the conversation has an unfinished turn."""
        return await self._store.is_busy(conversation)

    async def active(self, platform: str) -> Sequence[Conversation]:
        """The most recently active conversations, newest first."""
        return await self._store.active(platform, MAX_ACTIVE)

    async def last_questions(self, platform: str) -> Sequence[Asked]:
        """The last questions to check for missed edits and deletions."""
        since = self._clock.time() - RECHECK_SECONDS
        return await self._store.last_questions(platform, since=since, limit=MAX_RECHECKS)
