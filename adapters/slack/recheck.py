"""Reads a question again, because Slack gives up events of edits and deletions after a while."""

from __future__ import annotations

from typing import Any

from adapters.slack import events, payloads
from adapters.slack.edits import CHANGED, DELETED, SlackEditListener
from adapters.slack.workspace import Workspace
from bot.domain.errors import Gone
from bot.domain.inbox import Asked
from bot.domain.replies import Priority

# Slack's error for a deleted message that had no replies.
# https://docs.slack.dev/reference/methods/conversations.replies#errors
NOT_FOUND = "thread_not_found"


async def report_changes(workspace: Workspace, edits: SlackEditListener, question: Asked) -> None:
    """`bot.ports.history.ReportChanges` for Slack."""
    message = await _read(workspace, question)
    event: dict[str, Any] = {"type": "message", "channel": question.channel}
    if message is None:
        event |= {"subtype": DELETED, "deleted_ts": question.message_id}
    else:
        event |= {"subtype": CHANGED, "message": message}
    await edits.handle({"event": event})


async def _read(workspace: Workspace, question: Asked) -> dict[str, Any] | None:
    """The message of a question, in a thread or not; None if it was deleted."""
    try:
        answer = await workspace.api.paced_read(
            "conversations.replies",
            priority=Priority.BACKGROUND,
            channel=question.channel,
            ts=question.key.thread,
            oldest=question.message_id,
            latest=question.message_id,
            inclusive="true",
            limit=2,  # the thread's root comes with it
        )
    except Gone as error:
        if error.code != NOT_FOUND:
            raise
        return None
    found = payloads.items(answer.data, "messages")
    return next((dict(m) for m in found if events.message_ts(m) == question.message_id), None)
