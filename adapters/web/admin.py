"""Administrators' access to conversations in public channels, on every platform.

Invariant: administrators never see a private channel or a direct message, and each access is
recorded in the audit first.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, HTTPException, Query, Request

from adapters.web import schemas, serializers
from adapters.web.auth import Access, User
from adapters.web.conversations import MOST_MESSAGES, Before, Limit
from adapters.web.models import PlacedModels
from adapters.web.openapi import add_route
from adapters.web.size_limit import message_size, read_newest
from bot.domain import http_texts
from bot.domain.conversations import Conversation, ConversationKey
from bot.domain.privacy import AuditEntry
from bot.ports.audit import LISTED, READ, AuditLog
from bot.ports.library import Library

log = structlog.stdlib.get_logger(__name__)


class AdminRoutes:
    """The routes under /admin."""

    def __init__(
        self, *, library: Library, models: PlacedModels, audit: AuditLog | None = None
    ) -> None:
        self._library, self._models, self._audit = library, models, audit

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/admin/conversation", tags=["administration"])
        read = schemas.PublicConversation
        add_route(router, "GET", "", self.all, gives=list[schemas.PublicSummary])
        add_route(router, "GET", "/{conversation_id}", self.read, gives=read, refuses=(404,))
        return router

    async def all(
        self,
        request: Request,
        user: User,
        platform: Annotated[str, Query(pattern="^[a-z]{1,20}$")],
        before: Before = None,
        limit: Limit = 100,
    ) -> list[dict[str, Any]]:
        """List the conversations of a platform's public channels, newest first."""
        require_admin(request, user)
        log.info("an administrator lists public conversations", admin=user, platform=platform)
        await self._record(LISTED, user, ConversationKey(platform, "", "", ""), "")
        found = await self._library.public_conversations(
            platform, before=str(before) if before else None, limit=limit
        )
        return [
            {
                "id": record.uid,
                "name": record.conversation.name,
                "created_at": serializers.timestamp(record.conversation.created_at),
                **_place(record.conversation),
            }
            for record in found
        ]

    async def read(self, request: Request, user: User, conversation_id: UUID) -> dict[str, Any]:
        """Return one of these conversations with its messages."""
        require_admin(request, user)
        record = await self._library.public(str(conversation_id))
        if record is None:
            raise HTTPException(404, http_texts.NO_SUCH_CONVERSATION)
        conversation = record.conversation
        key, owner = conversation.key, conversation.began_by
        log.info("an administrator reads a conversation", admin=user, conversation=str(key))
        await self._record(READ, user, key, owner.id if owner is not None else "", record.uid)
        said = await read_newest(
            lambda limit: self._library.latest(record.conversation.id, limit=limit),
            message_size,
            most=MOST_MESSAGES,
        )
        return {
            **serializers.api_details(record, said, self._models),
            **_place(record.conversation),
        }

    async def _record(
        self, action: str, user: str, key: ConversationKey, subject: str, uid: str = ""
    ) -> None:
        """Record an access, before anything is returned."""
        if self._audit is not None:
            details = {"conversation": uid} if uid else {}
            await self._audit.record(AuditEntry(action, key, user, subject, details))


def _place(conversation: Conversation) -> dict[str, str]:
    key = conversation.key
    return {"platform": key.platform, "workspace": key.workspace, "channel": key.channel}


def require_admin(request: Request, user: str) -> None:
    """Raise HTTPException 403 unless the user administers the page."""
    access: Access = request.app.state.access
    if not access.is_admin(user):
        raise HTTPException(403, http_texts.ADMINS_ONLY)
