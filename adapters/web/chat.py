"""Asking and following the answer, for the page and for programs alike.

Invariant: a question goes through the inbox as on every platform; whoever waits for its answer may
leave at any moment, and nothing is cancelled by that.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from itertools import count
from typing import Any

from fastapi import HTTPException

from adapters.web.html_pool import Rendering
from adapters.web.hub import Hub
from adapters.web.serializers import page_message
from adapters.web.templates import Said
from bot.domain.conversations import Author, ConversationKey
from bot.domain.inbox import Address, CommandReply, Incoming, Receipt
from bot.domain.records import ConversationRecord, NewConversation, RecordScope, ReplyRecord
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox
from bot.ports.library import Library
from bot.turns.reasoning import unquoted

PLATFORM = "web"
CHANNEL = "general"
"""The page's channel."""

API_CHANNEL = "api"
"""Where conversations are that programs make."""

ANSWER_SECONDS = 10.0
"""How long a command may take: it waits for the database, never for a model."""

NOT_READY = "Threadline is starting or stopping: ask again in a moment."
GONE = "This conversation was deleted meanwhile."


def place_of(user: str, channel: str | None = None) -> RecordScope:
    """A user's own conversations."""
    return RecordScope(PLATFORM, user, channel)


class ChatService:
    """Questions of users, and what becomes of them. `inbox` is set while the adapter runs."""

    def __init__(self, *, library: Library, hub: Hub, clock: Clock, rendering: Rendering) -> None:
        self.library, self.hub, self.clock = library, hub, clock
        self.rendering = rendering
        self.inbox: Inbox | None = None
        self._answers: dict[str, asyncio.Future[CommandReply]] = {}
        # Two messages never share a position, not even across restarts.
        self._positions = count(int(clock.time() * 1_000_000))

    def require_inbox(self) -> Inbox:
        """The inbox; raises 503 before the adapter runs and after it has stopped."""
        if self.inbox is None:
            raise HTTPException(503, NOT_READY, headers={"Retry-After": "1"})
        return self.inbox

    # ── asking ────────────────────────────────────────────────────────────────────────────────
    def incoming(
        self, record: ConversationRecord, user: str, text: str, message_id: str, address: Address
    ) -> Incoming:
        """A user's message in a conversation that is there."""
        key = record.conversation.key
        return Incoming(
            key=key,
            channel=key.channel,
            message_id=message_id,
            position=next(self._positions),
            author=Author(id=user, name=user),
            text=text,
            address=address,
            sent_at=self.clock.time(),
        )

    async def ask(self, record: ConversationRecord, user: str, text: str) -> int:
        """Ask a question, whatever its words; the turn that answers it. Raises 404 when it is gone.

        As a follow-up it is never taken for a command: a program means what it says.
        """
        incoming = self.incoming(record, user, text, str(uuid.uuid4()), Address.FOLLOW_UP)
        await self.require_inbox().receive(incoming)
        asked = await self.library.asked(incoming.source)
        if asked is None or asked.turn is None:
            raise HTTPException(404, GONE)
        if record.conversation.key.channel == CHANNEL:
            message = await self.rendering.run(page_message, asked, self.rendering.colour)
            self.tell_message(user, record.uid, message, None)
        return asked.turn

    def tell_changed(self, user: str, record: ConversationRecord) -> None:
        """A program changed a conversation: where it is one of the page's, that reads it anew."""
        if record.conversation.key.channel == CHANNEL:
            self.hub.feed(user).push("refresh", dict)

    def tell_message(
        self, user: str, thread: str, message: Mapping[str, Any], client_id: str | None
    ) -> None:
        """Tell the page of a message in one of its threads, whoever sent it.

        `client_id` lets the tab that sent it know that it arrived, whatever is first.
        """
        shape = {"thread": thread, **message, "client_id": client_id}
        size = len(message["text"]) + len(message["html"])
        self.hub.feed(user).push("message", lambda: shape, size=size)

    async def complete(self, record: ConversationRecord, user: str, text: str) -> ReplyRecord:
        """Ask a question, and wait for the answer."""
        return await self.outcome(await self.ask(record, user, text))

    async def begin(
        self, user: str, *, name: str = "", model: str | None = None, opening: Said = ()
    ) -> ConversationRecord:
        """A new conversation of a program, with what is already said in it."""
        uid = str(uuid.uuid4())
        return await self.library.create(
            NewConversation(
                key=ConversationKey(PLATFORM, user, API_CHANNEL, uid),
                uid=uid,
                name=name,
                began_by=Author(id=user, name=user),
                model=model,
                opening=opening,
            )
        )

    async def command(self, incoming: Incoming) -> tuple[Receipt, CommandReply | None]:
        """Send a message that may be a command; its answer, if it was one and was new."""
        waiting: asyncio.Future[CommandReply] = asyncio.get_running_loop().create_future()
        self._answers[incoming.message_id] = waiting
        try:
            receipt = await self.require_inbox().receive(incoming)
            if receipt is not Receipt.COMMAND:
                return receipt, None
            async with asyncio.timeout(ANSWER_SECONDS):
                return receipt, await waiting
        finally:
            self._answers.pop(incoming.message_id, None)

    def answered(self, message_id: str, answer: CommandReply) -> None:
        """The command that came as this message has its answer."""
        waiting = self._answers.get(message_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    # ── following ─────────────────────────────────────────────────────────────────────────────
    async def follow(self, turn: int) -> AsyncIterator[str]:
        """The model's words as they come, and the rest of them when the reply was concluded."""
        seen = ""
        with self.hub.listening(turn) as woken:
            while not self.hub.closing:
                woken.clear()
                live = self.hub.live(turn)
                if live is not None:
                    text = unquoted(live.source).lstrip()
                    if len(text) > len(seen) and text.startswith(seen):
                        piece, seen = text[len(seen) :], text
                        yield piece
                elif (reply := await self.ended(turn)) is not None:
                    if reply.content.startswith(seen) and reply.content != seen:
                        yield reply.content[len(seen) :]
                    return
                await woken.wait()

    async def outcome(self, turn: int) -> ReplyRecord:
        """The reply, once it was concluded. Raises 404 when it never will be, 503 at a stop."""
        with self.hub.listening(turn) as woken:
            while not self.hub.closing:
                woken.clear()
                reply = await self.ended(turn) if self.hub.live(turn) is None else None
                if reply is not None:
                    return reply
                await woken.wait()
        raise HTTPException(503, NOT_READY, headers={"Retry-After": "1"})

    async def ended(self, turn: int) -> ReplyRecord | None:
        """The reply if it was concluded, None if not yet. Raises 404 when its turn is gone."""
        reply = await self.library.reply(turn)
        if reply is None:
            raise HTTPException(404, GONE)
        return reply if reply.outcome is not None else None
