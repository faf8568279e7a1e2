"""The last questions of conversations, looked at after a gap: were they edited, or deleted?

What is edited or deleted while nothing arrives comes as events that Slack gives up, too. One look
costs a request of a small budget, so it is taken at few conversations, when all else is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from adapters.slack.changes import CHANGED, DELETED, Changes
from adapters.slack.events import PLATFORM
from adapters.slack.workspace import Workspace
from bot.domain import Asked
from bot.errors import Gone
from bot.frames import Priority
from bot.marks import Marks, Spot
from bot.ports import Inbox
from bot.recovery import Reads

LAST = (3.0,)  # the rank of what is looked at when all is read
NOT_THERE = "thread_not_found"  # Slack's word for a message without replies that was deleted


class LastQuestions:
    """Brings what became of them to `changes`, as the events that were missed would have."""

    def __init__(
        self, *, workspace: Workspace, inbox: Inbox, marks: Marks, changes: Changes
    ) -> None:
        self._workspace, self._inbox, self._marks = workspace, inbox, marks
        self._changes = changes

    async def questions(self, reads: Reads) -> list[Asked]:
        """Those that were asked before the gap."""
        team = self._workspace.me.team
        found = await reads.get("questions", (-1,), lambda: self._inbox.last_questions(PLATFORM))
        return [
            asked
            for asked in found or ()
            if asked.position <= self._marks.of(Spot(team, asked.channel))
        ]

    async def look_at(self, before: Sequence[Asked], reads: Reads) -> None:
        """Look at those that are the last still: the others were followed by what was missed."""
        if not before:
            return
        found = await reads.get("questions", (-1,), lambda: self._inbox.last_questions(PLATFORM))
        still = set(found or ())
        for asked in before:
            if asked in still:
                reads.add(f"question {asked.source}", LAST, partial(self._look_at, asked))

    async def _look_at(self, asked: Asked) -> bool:
        message = await self._message(asked)
        event: dict[str, Any] = {"type": "message", "channel": asked.channel}
        if message is None:
            event |= {"subtype": DELETED, "deleted_ts": asked.message_id}
        else:
            event |= {"subtype": CHANGED, "message": message}
        await self._changes.take_in({"event": event})
        return False

    async def _message(self, asked: Asked) -> dict[str, Any] | None:
        """The question as it is now, in a thread or not; None when it is not there any more."""
        try:
            answer = await self._workspace.api.paced_read(
                "conversations.replies",
                priority=Priority.BACKGROUND,
                channel=asked.channel,
                ts=asked.key.thread,
                oldest=asked.message_id,
                latest=asked.message_id,
                inclusive="true",
                limit=2,  # the root comes with it
            )
        except Gone as error:
            if str(error) != NOT_THERE:
                raise
            return None
        found = answer.data.get("messages", ())
        return next((m for m in found if m["ts"] == asked.message_id), None)
