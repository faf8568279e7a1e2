"""Reads a question again, because Slack eventually stops redelivering edits and deletions."""

from __future__ import annotations

from typing import Any

from adapters.slack.edits import CHANGED, DELETED, SlackEditListener
from adapters.slack.workspace import Workspace
from bot.domain.inbox import Asked
from bot.domain.replies import Priority


async def report_changes(workspace: Workspace, edits: SlackEditListener, question: Asked) -> None:
    """`bot.ports.history.ReportChanges` for Slack."""
    message = await workspace.read_message(
        question.channel, question.key.thread, question.message_id, Priority.BACKGROUND
    )
    event: dict[str, Any] = {"type": "message", "channel": question.channel}
    if message is None:
        event |= {"subtype": DELETED, "deleted_ts": question.message_id}
    else:
        event |= {"subtype": CHANGED, "message": message}
    await edits.handle({"event": event})
