"""Events that tell every tab of a user what changed in the page's threads.

Invariant: the last event about a thread contains its newest state. Reads of a database with several
connections may end in another order than they began, so what is read about a thread is pushed
before the next reading of that thread begins.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from adapters.web.chat import ChatService
from adapters.web.hub import LiveReply
from adapters.web.models import PlacedModels
from adapters.web.page_serializers import (
    page_choices,
    page_entry,
    page_reply,
    page_thread,
)
from adapters.web.places import scope_of, user_scope
from adapters.web.size_limit import message_size
from bot.domain.conversations import ConversationKey
from bot.domain.records import MessageRecord, ReplyRecord, ThreadRecord

NEWEST_QUESTIONS = 20
"""How many messages to search for a running turn's questions."""


class PageEvents:
    """Pushes events to the feeds of the hub."""

    def __init__(self, chat: ChatService, models: PlacedModels) -> None:
        self._chat, self._library, self._hub = chat, chat.library, chat.hub
        self._models = models
        self._highlight = chat.html_pool.highlight
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def _in_order(self, thread: str) -> asyncio.Lock:
        """The lock under which a thread is read and its news is pushed."""
        lock = self._locks.get(thread)
        if lock is None:
            self._locks[thread] = lock = asyncio.Lock()
        return lock

    # ── what is read from the database ────────────────────────────────────────────────────────
    async def push_reply(self, live: LiveReply) -> None:
        """Push a reply that started, or whose end is stored, and its thread."""
        if live.thread is None:
            return
        async with self._in_order(live.thread):
            reply = await self._library.reply(live.turn)
            await self._push_questions(live)
            thread = await self._library.thread(live.thread, user_scope(live.workspace))
            if reply is None or thread is None:
                return
            if reply.outcome is None:
                self.push_live_reply(live)
            else:
                self._push_ended(live, reply)
            self._push_thread(thread)

    async def _push_questions(self, live: LiveReply) -> None:
        """Push the turn's questions with files, whose states change when a reply begins or ends."""
        newest = await self._library.latest(live.conversation, limit=NEWEST_QUESTIONS)
        asked = [each for each in newest if each.turn == live.turn and each.attachments]
        for message in asked:
            if not message.is_reply and live.thread is not None:
                self._chat.push_message(live.workspace, live.thread, message, None)

    async def push_question(
        self, key: ConversationKey, source: str, client_id: str
    ) -> tuple[MessageRecord | None, ThreadRecord | None]:
        """Push a question and its thread, and return them; each is None if it is gone.

        `client_id` tells the sending tab which of its messages arrived, even if the event
        overtakes the response.
        """
        async with self._in_order(key.thread):
            asked = await self._library.find_message(source)
            thread = await self._read(key)
            if asked is not None and asked.is_shown:
                self._chat.push_message(key.workspace, key.thread, asked, client_id)
            if thread is not None:
                self._push_thread(thread)
            return asked, thread

    async def push_thread(self, key: ConversationKey) -> ThreadRecord | None:
        """Push the thread's line in the channel, and return the thread."""
        async with self._in_order(key.thread):
            thread = await self._read(key)
            if thread is not None:
                self._push_thread(thread)
            return thread

    async def push_entry(self, key: ConversationKey) -> ThreadRecord | None:
        """As `push_thread`, for a change that affects only the thread's row in its owner's list."""
        async with self._in_order(key.thread):
            thread = await self._read(key)
            if thread is not None:
                self._hub.feed(key.workspace).push(
                    "entry",
                    lambda: page_entry(thread.entry),
                    key=f"entry-{key.thread}",
                    size=len(thread.entry.last),
                )
            return thread

    async def _read(self, key: ConversationKey) -> ThreadRecord | None:
        return await self._library.thread(key.thread, scope_of(key))

    def _push_ended(self, live: LiveReply, reply: ReplyRecord) -> None:
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

    def _push_thread(self, thread: ThreadRecord) -> None:
        conversation = thread.record.conversation
        choices = page_choices(conversation, self._models)
        self._hub.push(
            conversation.key.workspace,
            "thread",
            lambda: page_thread(thread, choices, self._highlight),
            key=f"thread-{thread.record.uid}",
            size=thread_size(thread),
        )

    async def push_gone(self, key: ConversationKey) -> None:
        """Push a thread's deletion, which replaces an unread change to its line."""
        async with self._in_order(key.thread):  # after a reading of before the deletion
            gone = {"id": key.thread}
            self._hub.feed(key.workspace).push("gone", lambda: gone, key=f"thread-{key.thread}")

    # ── what needs no reading ─────────────────────────────────────────────────────────────────
    def push_live_reply(self, live: LiveReply) -> None:
        """Push a reply's new text, which is rendered when the event is sent."""
        if live.thread is not None:
            self._hub.push(live.workspace, "reply", dict, key=f"reply-{live.turn}", live=live)

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
