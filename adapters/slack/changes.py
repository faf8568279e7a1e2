"""What people change afterwards, from Slack's events into the core's inbox.

Slack sends message_changed for previews, languages it detects, and every edit of our own too: an
edit is one of a person's message with the time of another edit; whether its text is another one,
the database knows. A deleted message that has replies is "changed" into a tombstone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.slack.events import edited_ts
from adapters.slack.workspace import Workspace
from bot.domain import Address
from bot.ports import Inbox

CHANGED, DELETED = "message_changed", "message_deleted"
TOMBSTONE = "tombstone"

Payload = Mapping[str, Any]


class Changes:
    """Takes changes of one workspace to `inbox`; what raises is delivered again."""

    def __init__(self, *, workspace: Workspace, inbox: Inbox) -> None:
        self._workspace, self._inbox = workspace, inbox

    async def take_in(self, body: Payload) -> bool:
        """Whether the event was a change, and not a message."""
        event = body["event"]
        kind = event.get("subtype")
        if kind == DELETED:
            await self._deleted(event, str(event["deleted_ts"]))
        elif kind == CHANGED:
            await self._changed(body, event, event.get("message") or {})
        return kind in (CHANGED, DELETED)

    async def _changed(self, body: Payload, event: Payload, message: Payload) -> None:
        if message.get("subtype") == TOMBSTONE:
            return await self._deleted(event, str(message["ts"]))
        edited_at = edited_ts(message)
        if not edited_at or edited_at == edited_ts(event.get("previous_message") or {}):
            return None
        inner = {
            **message,
            "type": "message",
            "channel": event["channel"],
            "channel_type": event.get("channel_type"),
        }
        known = await self._inbox.conversation_of(self._source(event, str(message["ts"])))
        incoming = await self._workspace.incoming(
            {**body, "event": inner},
            otherwise=None if known is None else Address.FOLLOW_UP,  # the mention may be edited out
        )
        if incoming is not None:
            await self._inbox.edited(incoming, float(edited_at))
        return None

    async def _deleted(self, event: Payload, ts: str) -> None:
        if f"{event['channel']}/{ts}" not in self._workspace.api.own_deletions:
            await self._inbox.deleted(self._source(event, ts))

    def _source(self, event: Payload, ts: str) -> str:
        key = self._workspace.key(str(event["channel"]))
        return f"{key.platform}/{key.workspace}/{key.channel}/{ts}"
