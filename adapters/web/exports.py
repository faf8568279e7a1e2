"""Whole conversations as files, and page by page for printing.

Invariant: an export is complete however long the conversation is, and is read in small pages to
save memory. If the database fails midway, the response breaks off.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, HTTPException, Query

from adapters.web import serializers
from adapters.web.auth import User
from adapters.web.chat import ChatService
from adapters.web.export_markdown import MarkdownWriter
from adapters.web.feedback import Readable
from adapters.web.held_stream import HeldStream
from adapters.web.limits import StreamLimit
from adapters.web.models import PlacedModels
from adapters.web.openapi import add_route, field_error
from adapters.web.page_serializers import page_message
from adapters.web.places import CHANNEL
from adapters.web.size_limit import message_size, take_first
from bot.domain import http_texts
from bot.domain.names import one_line
from bot.domain.records import ConversationRecord, MessageRecord

SCHEMA, VERSION = "threadline.conversation", 1
"""The JSON file's schema and version; the version changes when a field changes its meaning or
disappears."""

PAGE = 200
MOST_NAME = 60  # characters of a file's name before the date
_FORBIDDEN = str.maketrans(dict.fromkeys('<>:"/\\|?*', "-"))  # on Windows; others allow more

Format = Annotated[Literal["markdown", "json"], Query(description="of the file")]
Zone = Annotated[str, Query(max_length=64, description="of times, such as Europe/Berlin")]

_CONTENT = {
    "text/markdown": {"schema": {"type": "string"}},
    "application/json": {"schema": {"$ref": "#/components/schemas/ConversationExport"}},
}


class ExportRoutes:
    """The route for exports, and the page's route for all messages in a thread."""

    def __init__(
        self, *, chat: ChatService, readable: Readable, models: PlacedModels, streams: StreamLimit
    ) -> None:
        self._chat, self._readable, self._models, self._streams = chat, readable, models, streams
        self._library, self._html_pool = chat.library, chat.html_pool

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        programs = APIRouter(tags=["conversations"])
        path = "/conversation/{conversation_id}/export"
        add_route(programs, "GET", path, self.export, gives_bytes=_CONTENT, refuses=(404,))
        page = APIRouter(prefix="/app", include_in_schema=False)
        page.add_api_route("/threads/{thread}/messages", self.messages, methods=["GET"])
        router.include_router(programs)
        router.include_router(page)
        return router

    async def export(
        self,
        user: User,
        conversation_id: UUID,
        format: Format = "markdown",
        zone: Zone = "UTC",
    ) -> HeldStream:
        """Return the whole conversation as a file: Markdown for people, JSON for programs."""
        place = find_zone(zone)
        with ExitStack() as held:
            held.enter_context(self._streams.hold(user))
            record = await self._readable(user, conversation_id)
            write = self._markdown if format == "markdown" else self._json
            now = datetime.fromtimestamp(self._chat.clock.time(), place)
            ending = "md" if format == "markdown" else "json"
            name = export_name(record.conversation.name, now, ending)
            kind = "text/markdown; charset=utf-8" if format == "markdown" else "application/json"
            headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, '')}"}
            parts = write(record, place)
            return HeldStream(parts, held.pop_all(), media_type=kind, headers=headers)

    async def messages(
        self,
        user: User,
        thread: uuid.UUID,
        after: Annotated[int, Query(ge=-1, le=2**31)] = -1,
        limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    ) -> dict[str, Any]:
        """A thread's messages by index, starting after `after`, as the page shows them."""
        record = await self._chat.places.find(str(thread), user, CHANNEL)
        if record is None:
            raise HTTPException(404, http_texts.NO_SUCH_THREAD)
        found = await self._library.messages(record.conversation.id, after=after, limit=limit)
        shown = take_first(found, message_size)
        more = len(found) == limit or len(shown) < len(found)
        shapes = await self._html_pool.run(self._entries, shown)
        return {"messages": shapes, "next": shown[-1].index if more and shown else None}

    def _entries(self, messages: list[MessageRecord]) -> list[dict[str, Any]]:
        highlight = self._html_pool.highlight
        return [{**page_message(each, highlight), "model": each.model} for each in messages]

    # ── files ─────────────────────────────────────────────────────────────────────────────────
    async def _pages(self, record: ConversationRecord) -> AsyncIterator[list[MessageRecord]]:
        """All messages by index; those still waiting for an answer come last."""
        after = -1
        while True:
            found = await self._library.messages(record.conversation.id, after=after, limit=PAGE)
            if found:
                yield list(found)
            if len(found) < PAGE or found[-1].index is None:
                return
            after = found[-1].index

    async def _markdown(self, record: ConversationRecord, zone: tzinfo) -> AsyncIterator[str]:
        conversation, now = record.conversation, self._chat.clock.time()
        writer = MarkdownWriter(zone)
        answering = self._models.answering(conversation).name
        yield writer.head(record.uid, conversation, answering, exported_at=now)
        async for page in self._pages(record):
            yield await self._html_pool.run(_joined, writer.message, page)

    async def _json(self, record: ConversationRecord, zone: tzinfo) -> AsyncIterator[str]:
        at: Callable[[float], str] = lambda seconds: iso(seconds, zone)  # noqa: E731
        conversation, currency = record.conversation, self._chat.currency()
        head = {
            "schema": SCHEMA,
            "version": VERSION,
            "exported_at": at(self._chat.clock.time()),
            "conversation": {
                "id": record.uid,
                "name": conversation.name,
                "model": conversation.model,
                "answering_model": self._models.answering(conversation).name,
                "effort": conversation.effort,
                "instructions": conversation.instructions,
                "temperature": conversation.temperature,
                "created_at": at(conversation.created_at),
                "updated_at": at(conversation.updated_at),
            },
        }
        yield json.dumps(head, ensure_ascii=False)[:-1] + ', "messages": ['

        def write(message: MessageRecord) -> str:
            shape = {
                **serializers.api_record(message, record.uid, currency),
                "author": message.author.name if message.author else None,
                "epoch": message.epoch,
                "created_at": at(message.created_at),
            }
            return ",\n" + json.dumps(shape, ensure_ascii=False)

        before = len(",")  # the first message has none before it
        async for page in self._pages(record):
            yield (await self._html_pool.run(_joined, write, page))[before:]
            before = 0
        yield "\n]}\n"


def _joined(write: Callable[[MessageRecord], str], page: list[MessageRecord]) -> str:
    """A page of messages as text, joined on a thread: long ones would hold up the event loop."""
    return "".join(map(write, page))


def find_zone(name: str) -> tzinfo:
    """The time zone. Raises HTTPException 422."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise field_error(("query", "zone"), http_texts.NO_SUCH_ZONE, "zone") from error


def iso(seconds: float, zone: tzinfo) -> str:
    """Unix seconds as `2026-11-30T22:10:05+01:00`."""
    return datetime.fromtimestamp(seconds, zone).isoformat(timespec="seconds")


def export_name(name: str, now: datetime, ending: str) -> str:
    """The file's name, valid on every system: `Race conditions 2026-11-30.md`."""
    words = one_line(name, otherwise="Conversation").translate(_FORBIDDEN)
    stem = words.strip(" .-")[:MOST_NAME].rstrip(" .") or "Conversation"
    return f"{stem} {now:%Y-%m-%d}.{ending}"
