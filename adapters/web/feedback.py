"""Votes on answers, for the page and for programs: everyone votes in their own conversations."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Path

from adapters.web import schemas
from adapters.web.auth import User
from adapters.web.openapi import add_route
from adapters.web.places import CHANNEL, Places
from bot.domain import feedback_texts, http_texts
from bot.domain.conversations import ConversationKey
from bot.domain.feedback import Vote
from bot.domain.records import ConversationRecord
from bot.ports.feedback import FeedbackStore
from bot.ports.policy import Policy

Readable = Callable[[str, UUID], Awaitable[ConversationRecord]]
"""Finds a conversation that a user may read; raises HTTPException 404."""

_Turn = Annotated[int, Path(ge=1, le=2**62)]


@dataclass(frozen=True, slots=True)
class FeedbackPorts:
    """The votes, and the rules about where they are allowed."""

    store: FeedbackStore
    policy: Policy

    async def are_on(self, key: ConversationKey) -> bool:
        """Whether answers in this conversation can be rated."""
        return (await self.policy.effective(key)).feedback.value

    async def votes(self, key: ConversationKey, user: str) -> dict[str, Any] | None:
        """The user's votes by the page's id of the reply; None if rating is off here."""
        if not await self.are_on(key):
            return None
        found = await self.store.votes(key, user)
        return {
            f"turn-{turn}": {"vote": vote.vote.value, "comment": vote.comment}
            for turn, vote in found.items()
        }

    async def set(
        self, key: ConversationKey, turn: int, user: str, feedback: schemas.Feedback
    ) -> dict[str, Any]:
        """Replace the user's vote. Raises HTTPException."""
        if not await self.are_on(key):
            raise HTTPException(409, feedback_texts.SWITCHED_OFF)
        vote = None if feedback.vote is None else Vote(feedback.vote)
        comment = feedback.comment.strip() if vote is Vote.DOWN else ""
        if not await self.store.set_vote(key, turn, user, vote, comment):
            raise HTTPException(404, http_texts.NO_SUCH_MESSAGE)
        return {"vote": feedback.vote, "comment": comment}


class FeedbackRoutes:
    """The routes for votes: one for programs, one for the page."""

    def __init__(self, *, ports: FeedbackPorts, places: Places, readable: Readable) -> None:
        self._ports, self._places, self._readable = ports, places, readable

    def router(self) -> APIRouter:
        """The routes."""
        router, path = APIRouter(), "/conversation/{conversation_id}/messages/{message_id}/feedback"
        feedback, tags = schemas.Feedback, ["messages"]
        programs = APIRouter(tags=list(tags))
        add_route(programs, "PUT", path, self.rate, gives=feedback, refuses=(404, 409))
        page = APIRouter(prefix="/app", include_in_schema=False)
        one = "/threads/{thread}/feedback/{turn}"
        page.add_api_route(one, self.rate_on_page, methods=["PUT"])
        router.include_router(programs)
        router.include_router(page)
        return router

    async def rate(
        self, user: User, conversation_id: UUID, message_id: UUID, feedback: schemas.Feedback
    ) -> dict[str, Any]:
        """Rate an answer, in place of your last vote; a `vote` of null takes it back."""
        key = (await self._readable(user, conversation_id)).conversation.key
        turn = await self._ports.store.turn_of(key, str(message_id))
        if turn is None:
            raise HTTPException(404, http_texts.NO_SUCH_MESSAGE)
        return await self._ports.set(key, turn, user, feedback)

    async def rate_on_page(
        self, user: User, thread: uuid.UUID, turn: _Turn, feedback: schemas.Feedback
    ) -> dict[str, Any]:
        """Rate a reply on the page, where its turn serves as its id."""
        record = await self._places.find(str(thread), user, CHANNEL)
        if record is None:
            raise HTTPException(404, http_texts.NO_SUCH_THREAD)
        return await self._ports.set(record.conversation.key, turn, user, feedback)
