"""Asks questions and follows their answers, for the page and the API.

Invariant: every question goes through the inbox, as on every platform. A client that
disconnects cancels nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import uuid
from collections.abc import AsyncIterator, Callable

from fastapi import HTTPException

from adapters.web.html_pool import HtmlPool
from adapters.web.hub import Hub
from adapters.web.page_serializers import page_message
from adapters.web.places import API_CHANNEL, PLATFORM, Places, is_on_page
from adapters.web.size_limit import message_size
from bot.common.clock import rising_microseconds
from bot.domain import access_texts, http_texts
from bot.domain.attachments import IncomingAttachment
from bot.domain.conversations import Author, ConversationKey, Effort
from bot.domain.errors import RecordHeld
from bot.domain.inbox import Address, CommandReply, Incoming, Receipt
from bot.domain.money import USD, Currency
from bot.domain.records import (
    ConversationRecord,
    MessageRecord,
    NewConversation,
    ReplyRecord,
)
from bot.domain.templates import Said
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox
from bot.ports.library import Library
from bot.turns.display import strip_reasoning

ANSWER_SECONDS = 10.0
"""Seconds to wait for a command's reply, which depends on the database and never on a model."""

ELSEWHERE_SECONDS = 2.0
"""Seconds between checks whether a reply written by another process has ended: its signal may be
lost."""


class ChatService:
    """Users' questions and their answers.

    `inbox` is set while the adapter runs. Costs are shown in `currency`; `shared` has the names of
    the page's shared channels.
    """

    def __init__(
        self,
        *,
        library: Library,
        hub: Hub,
        clock: Clock,
        html_pool: HtmlPool,
        currency: Callable[[], Currency] = lambda: USD,
        shared: tuple[str, ...] = (),
        tell_others: Callable[[str, int], None] = lambda _workspace, _conversation: None,
    ) -> None:
        self.library, self.hub, self.clock = library, hub, clock
        self.tell_others = tell_others
        self.places = Places(library, shared)
        self.html_pool, self.currency = html_pool, currency
        self.inbox: Inbox | None = None
        self._answers: dict[str, asyncio.Future[CommandReply]] = {}
        # A user's next question may reach another process; a turn answers both in this order.
        self._positions = rising_microseconds(clock.time)

    def require_inbox(self) -> Inbox:
        """The inbox. Raises HTTPException 503 while the adapter is not running."""
        if self.inbox is None:
            raise HTTPException(503, http_texts.NOT_READY, headers={"Retry-After": "1"})
        return self.inbox

    # ── access ────────────────────────────────────────────────────────────────────────────────
    async def require_may_ask(self, key: ConversationKey, user: str) -> None:
        """Raises HTTPException 403 with the reason if the user may not ask here."""
        refusal = await self.require_inbox().refusal(key, Author(id=user, name=user))
        if refusal:
            raise HTTPException(403, refusal)

    async def too_early(self, key: ConversationKey, user: str) -> HTTPException:
        """The error for a question that the rules' rate limit does not allow yet."""
        author = Author(id=user, name=user)
        seconds = max(1, math.ceil(await self.require_inbox().wait_seconds(key, author)))
        sentence = access_texts.too_early(seconds, own=True)
        return HTTPException(429, sentence, headers={"Retry-After": str(seconds)})

    # ── asking ────────────────────────────────────────────────────────────────────────────────
    def incoming(
        self,
        record: ConversationRecord,
        user: str,
        text: str,
        message_id: str,
        address: Address,
        attachments: tuple[IncomingAttachment, ...] = (),
        revises: str = "",
    ) -> Incoming:
        """A user's message in an existing conversation; `revises`: see `Incoming`."""
        key = record.conversation.key
        return Incoming(
            key=key,
            channel=key.channel,
            message_id=message_id,
            position=next(self._positions),
            author=Author(id=user, name=user),
            text=text,
            address=address,
            visibility=record.conversation.visibility,
            sent_at=self.clock.time(),
            attachments=attachments,
            revises=revises,
        )

    async def revise(
        self,
        record: ConversationRecord,
        user: str,
        known: MessageRecord,
        text: str,
        message_id: str,
    ) -> MessageRecord:
        """Ask another version of the question `known`, and return it; never a command.

        Raises RecordHeld if that is not possible, and HTTPException as `ask` does.
        """
        if not known.source:
            raise RecordHeld(http_texts.NOT_A_QUESTION)
        await self.require_may_ask(record.conversation.key, user)
        incoming = self.incoming(
            record, user, text, message_id, Address.REQUEST, revises=known.source
        )
        return await self._receive(record, user, incoming)

    async def ask(
        self,
        record: ConversationRecord,
        user: str,
        text: str,
        attachments: tuple[IncomingAttachment, ...] = (),
    ) -> int:
        """Ask a question and return the id of the turn that answers it.

        The text is never parsed as a command, because programs send questions only. Raises
        HTTPException 403 if the user may not ask, 429 if not yet, and 404 if the conversation is
        gone.
        """
        await self.require_may_ask(record.conversation.key, user)
        incoming = self.incoming(
            record, user, text, str(uuid.uuid4()), Address.REQUEST, attachments
        )
        asked = await self._receive(record, user, incoming)
        if is_on_page(record.conversation.key):
            self.push_message(record.conversation.key.workspace, record.uid, asked, None)
        return asked.turn or 0

    async def _receive(
        self, record: ConversationRecord, user: str, incoming: Incoming
    ) -> MessageRecord:
        """Store a question and return it."""
        receipt = await self.require_inbox().receive(incoming)
        if receipt is Receipt.REFUSED:
            raise HTTPException(403, http_texts.MAY_NOT_ASK)
        if receipt is Receipt.TOO_EARLY:
            raise await self.too_early(record.conversation.key, user)
        asked = await self.library.find_message(incoming.source)
        if asked is None or asked.turn is None:
            raise HTTPException(404, http_texts.CONVERSATION_DELETED)
        return asked

    def push_refresh(self, record: ConversationRecord) -> None:
        """Refresh the page after a program changed one of its conversations."""
        workspace = record.conversation.key.workspace
        if is_on_page(record.conversation.key):
            self.hub.refresh(workspace)
            self.tell_others(workspace, record.conversation.id)

    def push_message(
        self, workspace: str, thread: str, message: MessageRecord, client_id: str | None
    ) -> None:
        """Push a message from the page or a program to the page's threads.

        `client_id`: see `PageEvents.push_question`.
        """
        self.hub.push(
            workspace,
            "message",
            lambda: {
                "thread": thread,
                **page_message(message, self.html_pool.highlight),
                "client_id": client_id,
            },
            size=message_size(message),
        )

    async def complete(self, record: ConversationRecord, user: str, text: str) -> ReplyRecord:
        """Ask a question and wait for the answer."""
        return await self.outcome(await self.ask(record, user, text))

    async def begin(
        self,
        user: str,
        *,
        name: str = "",
        model: str | None = None,
        effort: Effort | None = None,
        opening: Said = (),
    ) -> ConversationRecord:
        """Create a conversation for a program, with the messages of `opening`."""
        uid = str(uuid.uuid4())
        return await self.library.create(
            NewConversation(
                key=ConversationKey(PLATFORM, user, API_CHANNEL, uid),
                uid=uid,
                name=name,
                began_by=Author(id=user, name=user),
                model=model,
                effort=effort,
                opening=opening,
            )
        )

    async def command(self, incoming: Incoming) -> tuple[Receipt, CommandReply | None]:
        """Send a message that may be a command. Returns the command's reply if it was a new
        command."""
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

    def resolve_command(self, message_id: str, answer: CommandReply) -> None:
        """Deliver the reply to the command sent as `message_id`."""
        waiting = self._answers.get(message_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    # ── following ─────────────────────────────────────────────────────────────────────────────
    async def follow(self, turn: int) -> AsyncIterator[str]:
        """Yields the model's text as it streams, and the rest once the reply is concluded."""
        seen = ""
        with self.hub.listening(turn) as woken:
            while True:
                woken.clear()
                live = self.hub.live(turn)
                if live is not None:
                    text = strip_reasoning(live.source).lstrip()
                    if len(text) > len(seen) and text.startswith(seen):
                        piece, seen = text[len(seen) :], text
                        yield piece
                elif (reply := await self._find_concluded(turn)) is not None:
                    if reply.content.startswith(seen) and reply.content != seen:
                        yield reply.content[len(seen) :]
                    return
                if self.hub.closing:  # after the look at the reply, which may just have ended
                    return
                await self._wait(turn, woken)

    async def outcome(self, turn: int) -> ReplyRecord:
        """The concluded reply. Raises HTTPException 404 if it was deleted, 503 while stopping."""
        with self.hub.listening(turn) as woken:
            while True:
                woken.clear()
                reply = await self._find_concluded(turn) if self.hub.live(turn) is None else None
                if reply is not None:
                    return reply
                if self.hub.closing:  # after the look at the reply, which may just have ended
                    raise HTTPException(503, http_texts.NOT_READY, headers={"Retry-After": "1"})
                await self._wait(turn, woken)

    async def _wait(self, turn: int, woken: asyncio.Event) -> None:
        """Wait for a change, but not forever: another process may change its reply without a
        signal."""
        elsewhere = self.hub.live(turn) is None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ELSEWHERE_SECONDS if elsewhere else None):
                await woken.wait()

    async def _find_concluded(self, turn: int) -> ReplyRecord | None:
        """The concluded reply, or None while it runs. Raises HTTPException 404 if its turn is
        gone."""
        reply = await self.library.reply(turn)
        if reply is None:
            raise HTTPException(404, http_texts.CONVERSATION_DELETED)
        return reply if reply.outcome is not None else None
