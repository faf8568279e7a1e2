"""Reports edits and deletions of people's messages to the inbox.

Slack also sends message_changed for link previews, detected languages and the bot's own edits. An
event counts as an edit if it concerns a person's message and `edited.ts` is new, or if the message
lost a file; the store decides whether anything differs. Slack turns a deleted message that has
replies into a tombstone.

A deleted file becomes a tombstone in its message. The app does not subscribe to `file_deleted`,
which names only the file: message_changed also names the message.
"""

from __future__ import annotations

from adapters.slack import events, payloads
from adapters.slack.attachments import TOMBSTONE, files_in, lost_files
from adapters.slack.events import edited_ts
from adapters.slack.payloads import Payload, items, mapping
from adapters.slack.workspace import Workspace, is_tombstone
from bot.domain.inbox import Address, Incoming
from bot.ports.inbox import MessageInbox

CHANGED, DELETED = "message_changed", "message_deleted"


class SlackEditListener:
    """Reports one workspace's changes to `inbox`; Slack redelivers an event that raises."""

    def __init__(self, *, workspace: Workspace, inbox: MessageInbox) -> None:
        self._workspace, self._inbox = workspace, inbox

    async def handle(self, body: Payload) -> bool:
        """Report an edit or deletion; returns False if the event is a new message."""
        event = mapping(body, "event")
        kind = events.subtype(event)
        if kind == DELETED:
            await self._report_deletion(event, payloads.ts(event, "deleted_ts"))
        elif kind == CHANGED:
            await self._report_edit(body, event, mapping(event, "message"))
        return kind in (CHANGED, DELETED)

    async def _report_edit(self, body: Payload, event: Payload, message: Payload) -> None:
        ts, edited_at = events.message_ts(message), edited_ts(message)
        if is_tombstone(message):
            return await self._report_deletion(event, ts)
        self._workspace.posts.changed(
            payloads.ident(event, "channel"), {**message, "type": "message"}
        )
        before = mapping(event, "previous_message")
        if not edited_at or edited_at == edited_ts(before):
            edited_at = _lost_a_file_at(event, before, message)
        if not ts or not edited_at:
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
            # The edit may have removed the mention.
            default_address=None if known is None else Address.FOLLOW_UP,
        )
        if incoming is None or (known is None and self._is_old_news(incoming, before)):
            return None
        await self._inbox.edited(incoming, float(edited_at))
        return None

    def _is_old_news(self, incoming: Incoming, before: Payload) -> bool:
        """Whether the message addressed no one before the edit either.

        It was then already reported when it was sent, or predates the setting to answer such
        messages: correcting an old message asks nothing.
        """
        if incoming.address is not Address.CHANNEL:
            return False
        return not before or events.addresses_no_one(before, self._workspace.me)

    async def _report_deletion(self, event: Payload, ts: str) -> None:
        channel = payloads.ident(event, "channel")
        self._workspace.posts.deleted(channel, ts)
        if channel and ts and f"{channel}/{ts}" not in self._workspace.api.own_deletions:
            await self._inbox.deleted(self._source(event, ts))

    def _source(self, event: Payload, ts: str) -> str:
        key = self._workspace.key(payloads.ident(event, "channel"))
        return f"{key.platform}/{key.workspace}/{key.channel}/{ts}"


def _lost_a_file_at(event: Payload, before: Payload, message: Payload) -> str:
    """When the message lost a file, as a ts; "" if it did not.

    Without `before`, the state of the message before the change, a tombstone shows the loss.
    """
    if before:
        lost = bool(lost_files(list(files_in(before)), list(files_in(message))))
    else:
        lost = any(payloads.text(one, "mode") == TOMBSTONE for one in items(message, "files"))
    return (payloads.ts(event) or payloads.ts(message)) if lost else ""
