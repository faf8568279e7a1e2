"""A conversation's messages as records, for programs: list, add, change and delete them."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query

from adapters.web import schemas, serializers
from adapters.web.auth import User
from adapters.web.chat import ChatService
from adapters.web.conversations import ConversationRoutes, Limit
from adapters.web.openapi import add_route
from adapters.web.places import is_shared
from adapters.web.size_limit import message_size, take_first
from bot.domain import http_texts
from bot.domain.conversations import Author, Role
from bot.domain.records import ConversationRecord, MessageRecord


class RecordRoutes:
    """The routes of a conversation's messages as records."""

    def __init__(self, *, conversations: ConversationRoutes, chat: ChatService) -> None:
        self._conversations, self._chat, self._library = conversations, chat, chat.library

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/conversation/{conversation_id}/messages", tags=["messages"])
        record, one = schemas.Record, "/{message_id}"
        add_route(router, "GET", "", self.all, gives=list[schemas.Record], refuses=(404,))
        add_route(router, "POST", "", self.add, gives=record, status=201, refuses=(403, 404))
        add_route(router, "PATCH", one, self.change, gives=record, refuses=(403, 404, 409))
        add_route(router, "DELETE", one, self.delete, status=204, refuses=(403, 404, 409))
        return router

    async def all(
        self,
        user: User,
        conversation_id: UUID,
        after: Annotated[int, Query(ge=-1, le=2**31, description="the last index read")] = -1,
        limit: Limit = 200,
    ) -> list[dict[str, Any]]:
        """List the messages by index; questions that are still waiting come last."""
        record = await self._conversations.readable(user, conversation_id)
        found = await self._library.messages(record.conversation.id, after=after, limit=limit)
        currency = self._chat.currency()
        shown = take_first(found, message_size)
        return [serializers.api_record(one, record.uid, currency) for one in shown]

    async def add(
        self, user: User, conversation_id: UUID, message: schemas.NewMessage
    ) -> dict[str, Any]:
        """Append a message without asking; the next question includes it."""
        record = await self._private(user, conversation_id)
        await self._chat.require_may_ask(record.conversation.key, user)
        author = Author(id=user, name=user) if message.role == "user" else None
        added = await self._library.add(
            record.conversation.id, Role(message.role), message.content, author
        )
        return self._changed(added, record)

    async def change(
        self, user: User, conversation_id: UUID, message_id: UUID, change: schemas.RecordChange
    ) -> dict[str, Any]:
        """Change a message's content, or the role of a message added as a record."""
        record = await self._private(user, conversation_id)
        await self._chat.require_may_ask(record.conversation.key, user)
        changed = await self._library.change(
            record.conversation.id,
            str(message_id),
            role=Role(change.role) if change.role else None,
            content=change.content,
        )
        return self._changed(changed, record)

    async def delete(self, user: User, conversation_id: UUID, message_id: UUID) -> None:
        """Delete a message; its index is not reused."""
        record = await self._private(user, conversation_id)
        if not await self._library.erase(record.conversation.id, str(message_id)):
            raise HTTPException(404, http_texts.NO_SUCH_MESSAGE)
        self._chat.push_refresh(record)

    async def _private(self, user: str, conversation_id: UUID) -> ConversationRecord:
        """As `ConversationRoutes.own`. Raises HTTPException 403 in a shared channel, where others
        have read the messages."""
        record = await self._conversations.readable(user, conversation_id)
        if is_shared(record):
            raise HTTPException(403, http_texts.SHARED_RECORDS)
        return record

    def _changed(self, message: MessageRecord | None, record: ConversationRecord) -> dict[str, Any]:
        if message is None:
            raise HTTPException(404, http_texts.NO_SUCH_MESSAGE)
        self._chat.push_refresh(record)
        return serializers.api_record(message, record.uid, self._chat.currency())
