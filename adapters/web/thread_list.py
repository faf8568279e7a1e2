"""The page's list of a user's own threads, and the changes from its menus.

Invariant: a change is stored before any tab learns of it, and every tab of the user learns of it.
"""

from __future__ import annotations

import math
import uuid
from typing import Annotated, Any, Self

from fastapi import APIRouter, HTTPException, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, model_validator

from adapters.web.auth import User
from adapters.web.chat import ChatService
from adapters.web.openapi import field_error
from adapters.web.page_events import PageEvents
from adapters.web.page_serializers import page_entry, page_position
from adapters.web.places import CHANNEL, PLATFORM, user_scope
from adapters.web.schemas.fields import Name
from bot.domain import http_texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Command
from bot.domain.records import (
    UNCHANGED,
    ConversationRecord,
    EntryPosition,
    RecordScope,
)
from bot.inbox import commands
from bot.privacy.deletions import UNDO_SECONDS


class ThreadChange(BaseModel):
    """The fields to change; omitted ones stay."""

    name: Name | None = None
    pinned: bool | None = None
    archived: bool | None = None

    @model_validator(mode="after")
    def _has_words(self) -> Self:
        if self.name is not None and not self.name.strip():
            raise ValueError(http_texts.NAME_WITHOUT_WORDS)
        return self


class ReadMark(BaseModel):
    """The user has seen the answers up to `until`, an `answered_at` of the list."""

    until: float = Field(ge=0, allow_inf_nan=False)


class ThreadListRoutes:
    """The routes under /app that list and arrange a user's threads."""

    def __init__(self, chat: ChatService, events: PageEvents) -> None:
        self._chat, self._library, self._hub = chat, chat.library, chat.hub
        self._events = events

    def router(self) -> APIRouter:
        """The routes, which belong to the page and not to the API description."""
        router = APIRouter(include_in_schema=False)
        one = "/threads/{thread}"
        router.add_api_route("/list", self.entries, methods=["GET"])
        router.add_api_route(one, self.change, methods=["PATCH"])
        router.add_api_route(one, self.delete, methods=["DELETE"])
        router.add_api_route(f"{one}/hold", self.hold, methods=["POST"])
        router.add_api_route(f"{one}/restore", self.restore, methods=["POST"])
        router.add_api_route(f"{one}/read", self.mark_read, methods=["POST"])
        return router

    # ── reading ───────────────────────────────────────────────────────────────────────────────
    async def entries(
        self,
        user: User,
        archived: bool = False,
        after: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
    ) -> dict[str, Any]:
        """One page of the list; `after` is the `next` of the page before."""
        newest = self._hub.newest(user)  # taken before reading: the data is at least as new
        position = None if after is None else _position(after)
        found = await self._library.entries(
            _scope(user), archived=archived, after=position, limit=limit
        )
        return {
            "entries": [page_entry(entry) for entry in found],
            "next": page_position(found[-1]) if len(found) == limit else None,
            "event": newest,
        }

    # ── changing ──────────────────────────────────────────────────────────────────────────────
    async def change(self, user: User, thread: uuid.UUID, change: ThreadChange) -> dict[str, Any]:
        """Rename, pin or archive a thread; returns its new entry."""
        found = await self._library.update(
            str(thread),
            _scope(user),
            name=UNCHANGED if change.name is None else change.name,
            pinned=UNCHANGED if change.pinned is None else change.pinned,
            archived=UNCHANGED if change.archived is None else change.archived,
        )
        push = self._events.push_entry if change.name is None else self._events.push_thread
        changed = None if found is None else await push(found.conversation.key)
        if changed is None:
            raise HTTPException(404, http_texts.NO_SUCH_THREAD)
        self._tell_others(user, changed.record)
        return page_entry(changed.entry)

    async def mark_read(self, user: User, thread: uuid.UUID, mark: ReadMark) -> dict[str, Any]:
        """Mark a thread's answers as read, also in the user's other tabs and devices."""
        if await self._library.mark_read(str(thread), _scope(user), mark.until):
            found = await self._events.push_entry(_key(user, thread))
            if found is not None:
                self._tell_others(user, found.record)
        return {}

    async def delete(self, user: User, thread: uuid.UUID) -> dict[str, Any]:
        """Delete a thread; it can be restored for a few seconds. A running answer stops."""
        record = await self._library.find(str(thread), _scope(user))
        if record is None or not await self._library.hide(record.uid, _scope(user)):
            raise HTTPException(404, http_texts.NO_SUCH_THREAD)
        await self._events.push_gone(record.conversation.key)
        self._tell_others(user, record)
        await self._stop(user, record)
        return {"undo_seconds": UNDO_SECONDS}

    async def hold(self, user: User, thread: uuid.UUID) -> dict[str, Any]:
        """Restart the time limit for "Undo" while the user still looks at it. Raises
        HTTPException 404 if it is too late."""
        if not await self._library.hold(str(thread), _scope(user)):
            raise HTTPException(404, http_texts.TOO_LATE_TO_UNDO)
        return {"undo_seconds": UNDO_SECONDS}

    async def restore(self, user: User, thread: uuid.UUID) -> dict[str, Any]:
        """Undo a deletion. Raises HTTPException 404 if it is too late.

        Returns the entry, and the newest event before the undo: the tab may not have read the
        event of the deletion yet.
        """
        newest = self._hub.newest(user)
        await self._library.unhide(str(thread), _scope(user))
        # Also if a lost response made the tab ask again.
        found = await self._events.push_thread(_key(user, thread))
        if found is None:
            raise HTTPException(404, http_texts.TOO_LATE_TO_UNDO)
        self._tell_others(user, found.record)
        return {"entry": page_entry(found.entry), "event": newest}

    def _tell_others(self, user: str, record: ConversationRecord) -> None:
        """Make tabs at other processes read the list again."""
        self._chat.tell_others(user, record.conversation.id)

    async def _stop(self, user: str, record: ConversationRecord) -> None:
        """Stop the running answer. The deletion is already stored, so nothing here may make it
        fail."""
        key, inbox = record.conversation.key, self._chat.inbox
        if inbox is None or not record.busy:
            return
        stop = Command(name=commands.STOP, argument="", key=key, author=Author(id=user, name=user))
        try:
            stopped = not (await inbox.command(stop)).refused
        except StoreUnavailable:
            stopped = False
        if not stopped:
            await inbox.gone(key)


# ── places ────────────────────────────────────────────────────────────────────────────────────
def _scope(user: str) -> RecordScope:
    return user_scope(user, CHANNEL)


def _key(user: str, thread: uuid.UUID) -> ConversationKey:
    return ConversationKey(PLATFORM, user, CHANNEL, str(thread))


def _position(cursor: str) -> EntryPosition:
    """The place that `page_position` wrote. Raises RequestValidationError."""
    pinned, _, rest = cursor.partition("~")
    active_at, _, uid = rest.partition("~")
    try:
        at = float(active_at)
        identity = str(uuid.UUID(uid))
    except ValueError as error:
        raise _no_position() from error
    if pinned not in ("0", "1") or not math.isfinite(at):
        raise _no_position()
    return EntryPosition(pinned=pinned == "1", active_at=at, uid=identity)


def _no_position() -> RequestValidationError:
    return field_error(("query", "after"), http_texts.NO_SUCH_PLACE)
