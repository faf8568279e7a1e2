"""Events that tell every tab of a user what changed in the page's threads."""

from __future__ import annotations

from adapters.web.chat import ChatService
from adapters.web.hub import LiveReply
from adapters.web.models import PlacedModels
from adapters.web.page_serializers import (
    page_choices,
    page_entry,
    page_message,
    page_reply,
    page_thread,
)
from adapters.web.places import PLATFORM
from adapters.web.size_limit import message_size
from bot.domain.records import RecordScope, ReplyRecord, ThreadEntry, ThreadRecord

NEWEST_QUESTIONS = 20
"""How many messages to search for a running turn's questions."""


class PageEvents:
    """Pushes events to the feeds of the hub."""

    def __init__(self, chat: ChatService, models: PlacedModels) -> None:
        self._chat, self._library, self._hub = chat, chat.library, chat.hub
        self._models = models
        self._html_pool, self._highlight = chat.html_pool, chat.html_pool.highlight

    async def push_reply(self, live: LiveReply) -> None:
        """Push a reply that started, or whose end is stored."""
        if live.thread is None:
            return
        reply = await self._library.reply(live.turn)
        await self._push_questions(live)
        thread = await self._library.thread(live.thread, RecordScope(PLATFORM, live.workspace))
        if reply is None or thread is None:
            return
        if reply.outcome is None:
            self.push_live_reply(live)
        else:
            self._hub.push(
                live.workspace,
                "reply",
                lambda: {
                    "thread": live.thread,
                    **page_reply(reply, None, self._highlight, self._chat.currency()),
                },
                key=f"reply-{live.turn}",
                size=reply_size(reply),
            )
        self.push_thread(thread)

    async def _push_questions(self, live: LiveReply) -> None:
        """Push the turn's questions with files, whose states change when a reply begins or ends."""
        newest = await self._library.latest(live.conversation, limit=NEWEST_QUESTIONS)
        asked = [each for each in newest if each.turn == live.turn and each.attachments]
        for message in asked:
            if not message.is_reply and live.thread is not None:
                shape = await self._html_pool.run(page_message, message, self._highlight)
                self._chat.push_message(live.workspace, live.thread, shape, None)

    def push_live_reply(self, live: LiveReply) -> None:
        """Push a reply's new text, which is rendered when the event is sent."""
        if live.thread is not None:
            self._hub.push(live.workspace, "reply", dict, key=f"reply-{live.turn}", live=live)

    def push_thread(self, thread: ThreadRecord | None) -> None:
        """Push a change to the thread's line in the channel."""
        if thread is not None:
            conversation = thread.record.conversation
            choices = page_choices(conversation, self._models)
            self._hub.push(
                conversation.key.workspace,
                "thread",
                lambda: page_thread(thread, choices, self._highlight),
                key=f"thread-{thread.record.uid}",
                size=thread_size(thread),
            )

    def push_entry(self, user: str, entry: ThreadEntry) -> None:
        """Push a change that affects only the thread's row in its owner's list."""
        uid = entry.record.uid
        self._hub.feed(user).push(
            "entry",
            lambda: page_entry(entry),
            key=f"entry-{uid}",
            size=len(entry.last),
        )

    def push_gone(self, user: str, thread: str) -> None:
        """Push a thread's deletion, which replaces an unread change to its line."""
        self._hub.feed(user).push("gone", lambda: {"id": thread}, key=f"thread-{thread}")

    def push_branch(self, workspace: str, thread: str, since: int | None) -> None:
        """Push that another branch of the thread is shown: see `BranchRoutes.changed`."""
        shape = {"thread": thread, "since": since}
        self._hub.push(workspace, "branch", lambda: shape)

    def push_notice(
        self, user: str, thread: ThreadRecord | None, text: str, client_id: str | None
    ) -> None:
        """Push a command's answer; the tab that sent `client_id` already has it in its response."""
        uid = thread.record.uid if thread else None
        shape = {"thread": uid, "text": text, "client_id": client_id}
        self._hub.push(user, "notice", lambda: shape, size=len(text))


# ── sizes ─────────────────────────────────────────────────────────────────────────────────────
def thread_size(thread: ThreadRecord) -> int:
    """Characters of the thread's line in the channel."""
    return message_size(thread.root)


def reply_size(reply: ReplyRecord) -> int:
    """Characters of a reply, both as text and as displayed."""
    return len(reply.content) + len(reply.display)
