"""Rechecks the last questions of conversations for missed edits and deletions.

No platform reliably redelivers edits and deletions, and each check costs a request. So the recheck
covers only the last questions of a few recent conversations, after everything else is read, and
skips those that a read has already returned in their current form.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bot.catchup.backfill_queue import LAST, BackfillQueue
from bot.domain.inbox import Asked
from bot.ports.history import ReportChanges
from bot.ports.inbox import CatchUpInbox


class EditRecheck:
    """Rechecks the last questions of one platform's conversations."""

    def __init__(
        self, *, platform: str, inbox: CatchUpInbox, report_changes: ReportChanges
    ) -> None:
        self._platform, self._inbox, self._report_changes = platform, inbox, report_changes
        self._unread: set[str] = set()

    async def load_questions(self, workspace: str, queue: BackfillQueue) -> list[Asked]:
        """Load the last questions of a workspace; call this before its missed messages are read."""
        found = [q for q in await self._load(queue) if q.key.workspace == workspace]
        self._unread.update(question.source for question in found)
        return found

    def mark_read(self, source: str) -> None:
        """Exclude a message that a read returned in its current form."""
        self._unread.discard(source)

    async def schedule(self, questions: Sequence[Asked], queue: BackfillQueue) -> None:
        """Queue a recheck of questions that are unread and still the last ones."""
        unread = [question for question in questions if question.source in self._unread]
        self._unread.difference_update(question.source for question in questions)
        if not unread:
            return
        last = set(await self._load(queue))
        for question in unread:
            if question in last:
                queue.add(f"question {question.source}", LAST, partial(self._check, question))

    async def _load(self, queue: BackfillQueue) -> Sequence[Asked]:
        request = partial(self._inbox.last_questions, self._platform)
        return await queue.fetch("last questions", request)

    async def _check(self, question: Asked) -> bool:
        await self._report_changes(question)
        return False
