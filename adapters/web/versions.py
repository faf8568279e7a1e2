"""Versions of questions and answers, for programs: list them, make one, show one."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any
from uuid import UUID

from fastapi import APIRouter, HTTPException

from adapters.web import schemas, serializers
from adapters.web.answers import answer_or_raise
from adapters.web.auth import User
from adapters.web.chat import ChatService
from adapters.web.conversations import ConversationRoutes
from adapters.web.limits import StreamLimit
from adapters.web.models import PlacedModels, require_offered
from adapters.web.openapi import ASKING, add_route, field_error
from bot.domain import http_texts
from bot.domain.conversations import Author
from bot.domain.inbox import Command, CommandReply
from bot.domain.records import ConversationRecord, MessageRecord
from bot.inbox import commands


class VersionRoutes:
    """The routes of a message's versions."""

    def __init__(
        self,
        *,
        conversations: ConversationRoutes,
        chat: ChatService,
        streams: StreamLimit,
        models: PlacedModels,
    ) -> None:
        self._conversations, self._chat, self._library = conversations, chat, chat.library
        self._streams, self._models = streams, models

    def router(self) -> APIRouter:
        """The routes."""
        place = "/conversation/{conversation_id}/messages/{message_id}"
        router = APIRouter(prefix=place, tags=["messages"])
        many, path = list[schemas.Version], "/versions"
        add_route(router, "GET", path, self.all, gives=many, refuses=(404,))
        message = schemas.Message
        add_route(router, "POST", path, self.add, gives=message, status=201, refuses=ASKING)
        add_route(router, "PUT", "/shown", self.show, status=204, refuses=(404, 409))
        return router

    async def all(
        self, user: User, conversation_id: UUID, message_id: UUID
    ) -> list[dict[str, Any]]:
        """List the versions of a question or an answer, oldest first."""
        record = await self._conversations.readable(user, conversation_id)
        found = await self._library.versions_of(record.conversation.id, str(message_id))
        if not found:
            raise HTTPException(404, http_texts.NO_SUCH_MESSAGE)
        currency = self._chat.currency()
        return [
            {**serializers.api_record(one, record.uid, currency), "shown": one.is_shown}
            for one in found
        ]

    async def add(
        self, user: User, conversation_id: UUID, message_id: UUID, new: schemas.NewVersion
    ) -> dict[str, Any]:
        """Ask another version of a question, or for another answer, and get the answer.

        The earlier version is kept, with all that followed it.
        """
        with contextlib.ExitStack() as place:
            place.enter_context(self._streams.hold(user))
            record = await self._conversations.readable(user, conversation_id)
            message = await self._message(record, message_id)
            _check(message, new)
            turn = await (
                self._answer_again(user, record, message, new.model)
                if message.is_reply
                else self._revise(user, record, message, new.content or "")
            )
            self._chat.push_refresh(record)
            return answer_or_raise(await self._chat.outcome(turn))

    async def show(self, user: User, conversation_id: UUID, message_id: UUID) -> None:
        """Show a version, with all that followed it; the next question continues there."""
        record = await self._conversations.readable(user, conversation_id)
        message = await self._message(record, message_id)
        if not message.is_shown:
            await self._run(user, record, commands.SHOW, message.index)
            self._chat.push_refresh(record)

    async def _message(self, record: ConversationRecord, message_id: UUID) -> MessageRecord:
        message = await self._library.message(record.conversation.id, str(message_id))
        if message is None:
            raise HTTPException(404, http_texts.NO_SUCH_MESSAGE)
        return message

    async def _revise(
        self, user: str, record: ConversationRecord, message: MessageRecord, text: str
    ) -> int:
        asked = await self._chat.revise(record, user, message, text, str(uuid.uuid4()))
        return asked.turn or 0

    async def _answer_again(
        self, user: str, record: ConversationRecord, message: MessageRecord, model: str | None
    ) -> int:
        await require_offered(self._models, model)
        answer = await self._run(user, record, commands.RETRY, message.turn, model)
        return answer.turn or 0

    async def _run(
        self,
        user: str,
        record: ConversationRecord,
        name: str,
        number: int | None,
        model: str | None = None,
    ) -> CommandReply:
        """Execute a command. Raises HTTPException 403 or 409 with its sentence if it did not."""
        command = Command(
            name=name,
            argument="" if number is None else str(number),
            key=record.conversation.key,
            author=Author(id=user, name=user),
            model=model,
        )
        answer = await self._chat.require_inbox().command(command)
        if answer.text:
            raise HTTPException(403 if answer.refused else 409, answer.whole)
        return answer


def _check(message: MessageRecord, new: schemas.NewVersion) -> None:
    """Raises RequestValidationError for fields that do not apply to such a message."""
    if message.is_reply and new.content is not None:
        raise field_error(("body", "content"), http_texts.ANSWER_HAS_NO_CONTENT, "not_a_question")
    if not message.is_reply and not (new.content or "").strip():
        raise field_error(("body", "content"), http_texts.NOTHING_SAID, "nothing_said")
    if not message.is_reply and new.model is not None:
        raise field_error(("body", "model"), http_texts.QUESTION_HAS_NO_MODEL, "not_an_answer")
