"""Versions of questions and answers: the page's endpoints, and the events for its tabs.

Invariant: the shown branch is stored before any tab learns of it, so all tabs agree.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from adapters.web.auth import User
from adapters.web.chat import ChatService
from adapters.web.limits import MESSAGE_CHARACTERS, MODEL_CHARACTERS
from adapters.web.models import PlacedModels, require_offered
from adapters.web.openapi import field_error
from adapters.web.page_events import PageEvents
from adapters.web.page_serializers import page_message
from adapters.web.threads import ThreadReader
from bot.domain import http_texts
from bot.domain.conversations import Author
from bot.domain.inbox import Command
from bot.domain.records import ConversationRecord
from bot.inbox import commands


class EditedQuestion(BaseModel):
    """Another version of the question with the id `message`. Repeating a `client_id` changes
    nothing."""

    message: uuid.UUID
    text: str = Field(max_length=MESSAGE_CHARACTERS)
    client_id: uuid.UUID


class AnotherAnswer(BaseModel):
    """A request for another answer in place of `turn`'s reply. A null `model` is the thread's."""

    turn: int = Field(ge=1, le=2**53)
    model: str | None = Field(default=None, max_length=MODEL_CHARACTERS)


class ShownVersion(BaseModel):
    """The version to show, by its index."""

    version: int = Field(ge=0, le=2**53)


class BranchRoutes:
    """The page's routes about versions."""

    def __init__(
        self,
        *,
        chat: ChatService,
        events: PageEvents,
        threads: ThreadReader,
        models: PlacedModels,
    ) -> None:
        self._chat, self._library, self._events = chat, chat.library, events
        self._threads, self._models = threads, models

    def add_to(self, router: APIRouter) -> None:
        """Add the routes to the page's."""
        place = "/threads/{thread}"
        router.add_api_route(f"{place}/edits", self.edit, methods=["POST"])
        router.add_api_route(f"{place}/again", self.again, methods=["POST"])
        router.add_api_route(f"{place}/shown", self.show, methods=["PUT"])

    async def edit(self, user: User, thread: uuid.UUID, edited: EditedQuestion) -> dict[str, Any]:
        """Ask another version of one's own question; keep everything that followed it."""
        record = await self._threads.record(user, thread)
        known = await self._library.message(record.conversation.id, str(edited.message))
        if known is None:
            raise HTTPException(404, http_texts.NO_SUCH_MESSAGE)
        if not edited.text.strip() and not known.attachments:
            raise field_error(("body", "text"), http_texts.NOTHING_SAID, "nothing_said")
        asked = await self._chat.revise(record, user, known, edited.text, str(edited.client_id))
        if known.is_shown:  # else this is a second delivery
            self.changed(record, since=known.index)
        key = record.conversation.key
        await self._events.push_question(key, asked.source, str(edited.client_id))
        message = await self._chat.html_pool.run(
            page_message, asked, self._chat.html_pool.highlight
        )
        return {"message": message}

    async def again(self, user: User, thread: uuid.UUID, wanted: AnotherAnswer) -> dict[str, Any]:
        """Answer once more; keep the answer so far."""
        record = await self._threads.record(user, thread)
        reply = await self._library.reply(wanted.turn)
        if reply is None or reply.conversation != record.conversation.id:
            raise HTTPException(404, http_texts.NO_SUCH_MESSAGE)
        await require_offered(self._models, wanted.model)
        command = _command(record, user, commands.RETRY, wanted.turn)
        await self._run(replace(command, model=wanted.model))
        self.changed(record, since=reply.index)
        return {}

    async def show(self, user: User, thread: uuid.UUID, wanted: ShownVersion) -> dict[str, Any]:
        """Show another version, in all tabs."""
        record = await self._threads.record(user, thread)
        await self._run(_command(record, user, commands.SHOW, wanted.version))
        self.changed(record, since=None)
        # Its title and its newest text may be others now, also in tabs that show another thread.
        await self._events.push_thread(record.conversation.key)
        return {}

    async def _run(self, command: Command) -> None:
        """Execute a command. On failure, raises HTTPException 409 or 403 with the command's
        sentence."""
        answer = await self._chat.require_inbox().command(command)
        if answer.text:
            raise HTTPException(403 if answer.refused else 409, answer.whole)

    def changed(self, record: ConversationRecord, *, since: int | None) -> None:
        """Tell every tab that another branch is shown.

        `since` is the first index no longer shown, None if the tabs must find it out.
        """
        workspace = record.conversation.key.workspace
        self._events.push_branch(workspace, record.uid, since)
        self._chat.tell_others(workspace, record.conversation.id)


def _command(record: ConversationRecord, user: str, name: str, number: int) -> Command:
    return Command(
        name=name,
        argument=str(number),
        key=record.conversation.key,
        author=Author(id=user, name=user),
    )
