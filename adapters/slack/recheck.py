"""A question as it is now: what is edited or deleted while nothing arrives comes as events that
Slack gives up, too.
"""

from __future__ import annotations

from typing import Any

from adapters.slack import events, payloads
from adapters.slack.edits import CHANGED, DELETED, EditListener
from adapters.slack.workspace import Workspace
from bot.domain.errors import Gone
from bot.domain.inbox import Asked
from bot.domain.replies import Priority

NOT_THERE = "thread_not_found"  # Slack's word for a message without replies that was deleted


class Look:
    """Brings what became of a question to `changes`, as the event that was missed would have."""

    def __init__(self, *, workspace: Workspace, changes: EditListener) -> None:
        self._workspace, self._changes = workspace, changes

    async def __call__(self, asked: Asked) -> None:
        """Bring it as it is now, or that it is not there any more."""
        message = await self._message(asked)
        event: dict[str, Any] = {"type": "message", "channel": asked.channel}
        if message is None:
            event |= {"subtype": DELETED, "deleted_ts": asked.message_id}
        else:
            event |= {"subtype": CHANGED, "message": message}
        await self._changes.take_in({"event": event})

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
        found = payloads.items(answer.data, "messages")
        return next((dict(m) for m in found if events.ts_of(m) == asked.message_id), None)
