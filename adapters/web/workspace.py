"""The page's endpoints: a channel, its threads, and the events that keep tabs in sync.

Invariant: every event's content can also be read again. After any loss the page reloads its
threads and has lost nothing.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Header, HTTPException, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, model_validator

from adapters.web.auth import StillAllowed, User, require_still_allowed
from adapters.web.branches import BranchRoutes
from adapters.web.channel_news import ChannelNews
from adapters.web.connect import may_connect
from adapters.web.limits import MESSAGE_CHARACTERS, MODEL_CHARACTERS
from adapters.web.openapi import field_error
from adapters.web.page_serializers import page_message
from adapters.web.places import CHANNEL, shared_channel, visibility_of
from adapters.web.ports import WebParts
from adapters.web.sse import EventStream
from adapters.web.tabs import tab_events
from adapters.web.thread_list import ThreadListRoutes
from adapters.web.threads import ThreadReader
from adapters.web.uploads import Received, reads
from bot import __version__
from bot.domain import http_texts, texts
from bot.domain.attachments import IncomingAttachment
from bot.domain.conversations import Author, Conversation, ConversationKey
from bot.domain.inbox import Address, Command, CommandReply, Incoming, Receipt
from bot.domain.records import (
    ConversationRecord,
    NewConversation,
    thread_id,
)
from bot.inbox import commands

_MENTION = re.compile(r"(?<![\w@])@threadline\b[,:]?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{0,18}")  # the range of the database column


ChannelName = Annotated[str, Field(max_length=80)]
"""A shared channel; without one, the user's own."""


class NewMessage(BaseModel):
    """A person's message. The same `client_id` again changes nothing.

    Files come in a form with the same fields. `begins`: it starts a conversation without a mention.
    """

    text: str = Field(default="", max_length=MESSAGE_CHARACTERS)
    thread: uuid.UUID | None = None
    channel: ChannelName | None = None
    client_id: uuid.UUID
    begins: bool = False


class NewCommand(BaseModel):
    """A button's command."""

    thread: uuid.UUID | None = None
    channel: ChannelName | None = None
    name: str = Field(pattern=f"^({'|'.join(commands.NAMES)})$")
    argument: str = Field(default="", max_length=MODEL_CHARACTERS)
    client_id: uuid.UUID | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Only models and efforts have names; numbers identify everything else."""
        has_name = self.name in (commands.MODEL, commands.EFFORT)
        if not has_name and not _NUMBER.fullmatch(self.argument.strip()):
            raise ValueError("argument: write the number of a turn or of an epoch, or nothing")
        return self


class Workspace:
    """The page's channels, threads and events."""

    def __init__(self, parts: WebParts) -> None:
        chat, self._options, self._ports = parts.chat, parts.options, parts.ports
        self._chat, self._library, self._hub = chat, chat.library, chat.hub
        self._html_pool, self._highlight = chat.html_pool, chat.html_pool.highlight
        self._streams, self._models, self._places = parts.streams, parts.models, chat.places
        self._events = parts.events
        self._threads = ThreadReader(chat, parts.models, parts.ports.feedback)
        self._list = ThreadListRoutes(chat, parts.events)
        self._news = ChannelNews(chat)
        self._branches = BranchRoutes(
            chat=chat,
            events=parts.events,
            threads=self._threads,
            models=parts.models,
        )

    def router(self) -> APIRouter:
        """The routes, which belong to the page and not to the API description."""
        router = APIRouter(prefix="/app", include_in_schema=False)
        router.add_api_route("/session", self.session, methods=["GET"])
        router.add_api_route("/threads", self._threads.threads, methods=["GET"])
        router.add_api_route("/threads/{thread}", self._threads.thread, methods=["GET"])
        router.add_api_route("/messages", self.send, methods=["POST"])
        router.add_api_route("/commands", self.command, methods=["POST"])
        router.add_api_route("/events", self.events, methods=["GET"], response_model=None)
        router.include_router(self._list.router())
        router.include_router(self._news.router())
        self._branches.add_to(router)
        return router

    # ── reading ───────────────────────────────────────────────────────────────────────────────
    async def session(self, user: User) -> dict[str, Any]:
        """The user and the available choices."""
        access, uploads = self._options.access, self._options.uploads
        return {
            "user": user,
            "needs_token": access.needs_token,
            "may_connect": self._ports.connector is not None and may_connect(access, user),
            "channels": list(self._places.shared),
            "news": await self._news.of(user),
            "models": list(self._models.names),
            "default_model": self._models.usual(self._places.key(user, None)),
            "commands": [
                {"name": name, "description": texts.PAGE_COMMANDS[name]} for name in commands.NAMES
            ],
            "version": __version__,
            "sharing": access.needs_token,
            "files": {
                "most": uploads.files,
                "bytes": uploads.file_bytes,
                "total": uploads.total_bytes,
            },
        }

    # ── writing ───────────────────────────────────────────────────────────────────────────────
    async def send(
        self,
        user: User,
        received: Annotated[Received[NewMessage], Depends(reads("text", NewMessage, NewMessage))],
    ) -> dict[str, Any]:
        """Post a message: a question, perhaps with files, or a command word."""
        with received.attachments() as attachments:
            incoming = await self._prepare(user, received.body, attachments)
            receipt, answer = await self._chat.command(incoming)
            if receipt is Receipt.REFUSED:  # a command: questions were refused before
                await self._chat.require_may_ask(incoming.key, user)
                raise HTTPException(403, http_texts.MAY_NOT_ASK)
            if receipt is Receipt.TOO_EARLY:
                raise await self._chat.too_early(incoming.key, user)
            return await self._tell(user, incoming, receipt, answer)

    async def _prepare(
        self, user: str, message: NewMessage, attachments: tuple[IncomingAttachment, ...]
    ) -> Incoming:
        """The message for the inbox; begins its thread. Raises for a missing mention."""
        text, mentioned = _without_mention(message.text)
        mentioned = mentioned or message.begins
        if message.thread is not None:
            record = await self._threads.record(user, message.thread)
            address = Address.DIRECT
        elif mentioned or text.startswith("/"):
            uid = thread_id(user, message.client_id)
            key = self._places.key(user, message.channel, uid)
            record = _thread_to_be(key, self._chat.clock.time())
            address = Address.MENTION
        else:
            raise _needs_mention(message.text)
        incoming = self._chat.incoming(
            record, user, text, str(message.client_id), address, attachments
        )
        without_files = replace(incoming, attachments=())
        is_command = commands.parse(without_files, self._models.names) is not None
        if is_command and attachments:
            raise field_error(("body", "text"), http_texts.COMMAND_WITH_FILES, "command")
        if is_command:
            return incoming
        await self._chat.require_may_ask(incoming.key, user)
        if message.thread is None:
            if not mentioned:
                raise _needs_mention(message.text)
            await self._begin(incoming)
        return incoming

    async def _begin(self, incoming: Incoming) -> None:
        await self._library.create(
            NewConversation(
                key=incoming.key,
                uid=incoming.key.thread,
                name=incoming.text or next((one.name for one in incoming.attachments), ""),
                began_by=incoming.author,
                visibility=incoming.visibility,
                model=await self._default_model(incoming),
                opening=self._options.opening,
            )
        )

    async def _default_model(self, incoming: Incoming) -> str | None:
        """The user's own default model in their own channel, if it is offered now."""
        if shared_channel(incoming.key) is not None:
            return None
        return await self._ports.choices.default_model(incoming.author.id, self._models.names)

    async def _tell(
        self, user: str, incoming: Incoming, receipt: Receipt, answer: CommandReply | None
    ) -> dict[str, Any]:
        """Push a message's effects to every tab, and return them for the sending one."""
        key, asked = incoming.key, None
        if receipt in (Receipt.QUESTION, Receipt.KNOWN):  # it may have been stored, and not told
            source, client_id = incoming.source, incoming.message_id
            asked, thread = await self._events.push_question(key, source, client_id)
        else:
            thread = await self._events.push_thread(key)
        if answer is not None and answer.text:
            self._events.push_notice(user, thread, answer.whole, incoming.message_id)
        if receipt is Receipt.COMMAND and thread is not None:
            self._branches.changed(thread.record, since=None)
        elif receipt is Receipt.COMMAND:  # it may have erased everything that the user's tabs show
            self._hub.refresh(user)
            self._chat.tell_others(user, 0)
        message = None
        if asked is not None:
            message = await self._html_pool.run(page_message, asked, self._highlight)
        return {
            "thread": thread.record.uid if thread else None,
            "message": message,
            "answer": (answer.whole or None) if answer else None,
            "receipt": receipt.value,
        }

    async def command(self, user: User, command: NewCommand) -> dict[str, Any]:
        """Press a button."""
        key = await self._place_of(user, command)
        answer = await self._chat.require_inbox().command(
            Command(
                name=command.name,
                argument=command.argument.strip(),
                key=key,
                author=Author(id=user, name=user),
            )
        )
        found = await self._events.push_thread(key)
        client_id = str(command.client_id) if command.client_id else None
        # The reply itself shows the effect of a stop.
        if answer.text and (answer.refused or command.name != commands.STOP):
            self._events.push_notice(user, found, answer.whole, client_id)
        if command.name != commands.STOP and not answer.refused and found is not None:
            self._branches.changed(found.record, since=None)
        return {"answer": answer.whole, "refused": answer.refused}

    async def _place_of(self, user: str, command: NewCommand) -> ConversationKey:
        """Where a button was pressed."""
        if command.thread is None:
            return self._places.key(user, command.channel)
        found = await self._places.find(str(command.thread), user, CHANNEL)
        if found is not None:
            return found.conversation.key
        return self._places.key(user, None, str(command.thread))

    # ── events ────────────────────────────────────────────────────────────────────────────────
    async def events(
        self,
        user: User,
        still_allowed: Annotated[StillAllowed, Depends(require_still_allowed)],
        last_event_id: Annotated[str | None, Header(max_length=64)] = None,
        after: Annotated[str | None, Query(max_length=64)] = None,
        protocol: Annotated[int, Query(ge=1, le=99)] = 1,
    ) -> EventStream:
        """The events from now on, or after the event with that id.

        `protocol` 2 has changes of growing replies; see `EventEncoder`.
        """
        return EventStream(
            tab_events(
                self._hub, user, last_event_id or after, self._html_pool, protocol, still_allowed
            ),
            self._streams.hold(user),
        )


# ── texts and keys ────────────────────────────────────────────────────────────────────────────
def _without_mention(text: str) -> tuple[str, bool]:
    """The text for the model, and whether it mentioned the bot."""
    rest, count = _MENTION.subn("", text)
    return rest.strip(), count > 0


def _thread_to_be(key: ConversationKey, now: float) -> ConversationRecord:
    visibility = visibility_of(key)
    to_be = Conversation(0, key, "", None, 1, now, now, visibility=visibility)
    return ConversationRecord(key.thread, to_be)


def _needs_mention(text: str) -> RequestValidationError:
    where = {
        "loc": ("body", "text"),
        "msg": http_texts.NEEDS_MENTION,
        "type": "mention",
        "input": text,
    }
    return RequestValidationError([where])
