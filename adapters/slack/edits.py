"""What people change afterwards, from Slack's events into the core's inbox.

Slack sends message_changed for previews, languages it detects, and every edit of our own too: an
edit is one of a person's message with the time of another edit; whether its text is another one,
the database knows. A deleted message that has replies is "changed" into a tombstone.
"""

from __future__ import annotations

from adapters.slack import events, payloads
from adapters.slack.events import edited_ts
from adapters.slack.payloads import Payload, table
from adapters.slack.workspace import Workspace, is_gone
from bot.domain.inbox import Address
from bot.ports.inbox import Inbox

CHANGED, DELETED = "message_changed", "message_deleted"


class EditListener:
    """Takes changes of one workspace to `inbox`; what raises is delivered again."""

    def __init__(self, *, workspace: Workspace, inbox: Inbox) -> None:
        self._workspace, self._inbox = workspace, inbox

    async def take_in(self, body: Payload) -> bool:
        """Whether the event was a change, and not a message."""
        event = table(body, "event")
        kind = events.subtype(event)
        if kind == DELETED:
            await self._deleted(event, payloads.ts(event, "deleted_ts"))
        elif kind == CHANGED:
            await self._changed(body, event, table(event, "message"))
        return kind in (CHANGED, DELETED)

    async def _changed(self, body: Payload, event: Payload, message: Payload) -> None:
        ts, edited_at = events.ts_of(message), edited_ts(message)
        if is_gone(message):
            return await self._deleted(event, ts)
        if not ts or not edited_at or edited_at == edited_ts(table(event, "previous_message")):
            return None
        inner = {
            **message,
            "type": "message",
            "channel": event.get("channel"),
            "channel_type": event.get("channel_type"),
        }
        known = await self._inbox.conversation_of(self._source(event, ts))
        incoming = await self._workspace.incoming(
            {**body, "event": inner},
            otherwise=None if known is None else Address.FOLLOW_UP,  # the mention may be edited out
        )
        if incoming is not None:
            await self._inbox.edited(incoming, float(edited_at))
        return None

    async def _deleted(self, event: Payload, ts: str) -> None:
        channel = payloads.ident(event, "channel")
        if channel and ts and f"{channel}/{ts}" not in self._workspace.api.own_deletions:
            await self._inbox.deleted(self._source(event, ts))

    def _source(self, event: Payload, ts: str) -> str:
        key = self._workspace.key(payloads.ident(event, "channel"))
        return f"{key.platform}/{key.workspace}/{key.channel}/{ts}"
