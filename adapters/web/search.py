"""The search in the conversations that a user may read, for the page and for programs."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta, timezone
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from starlette.responses import JSONResponse, Response

from adapters.web import schemas
from adapters.web.auth import User
from adapters.web.openapi import add_route
from adapters.web.places import CHANNEL, Places, shared_name, user_scope
from adapters.web.serializers import timestamp
from bot.domain import http_texts
from bot.domain.records import RecordScope
from bot.domain.search import (
    CURSOR,
    MOST_CHARACTERS,
    SearchHit,
    SearchPage,
    Snippet,
    parse_query,
)
from bot.ports.search import Search

MOST_AT_ONCE = 4
"""A user's concurrent searches.

The page abandons an older one, but the database still answers it; each takes at most a quarter of a
second.
"""

_Text = Annotated[str, Query(max_length=MOST_CHARACTERS, description=http_texts.SEARCH_LANGUAGE)]
_After = Annotated[
    str | None, Query(pattern=f"^{CURSOR}$", description="the `next` of the results before")
]
_Limit = Annotated[int, Query(ge=1, le=100)]
_Offset = Annotated[
    int, Query(ge=-1_440, le=1_440, description="minutes by which your days begin before UTC's")
]


class SearchRoutes:
    """`GET /conversation/search` and `GET /app/search`."""

    def __init__(self, search: Search, places: Places) -> None:
        self._search, self._places = search, places
        self._running: Counter[str] = Counter()

    def router(self) -> APIRouter:
        """The routes. They come before those with a conversation's id in the same place."""
        router = APIRouter()
        tags = APIRouter(tags=["conversations"])
        add_route(tags, "GET", "/conversation/search", self.all, gives=schemas.SearchResults)
        router.include_router(tags)
        # Without this, "search" would be taken for a conversation's id.
        path = "/conversation/search"
        router.add_api_route(path, _only_get, methods=_OTHER_METHODS, include_in_schema=False)
        router.add_api_route("/app/search", self.page, methods=["GET"], include_in_schema=False)
        return router

    async def all(
        self,
        user: User,
        q: _Text,
        after: _After = None,
        limit: _Limit = 20,
        utc_offset: _Offset = 0,
    ) -> dict[str, Any]:
        """Search your conversations and those of shared channels: titles and messages."""
        found = await self._find(user, user_scope(user), q, after, limit, utc_offset)
        return _results(found)

    async def page(
        self,
        user: User,
        q: _Text,
        after: _After = None,
        limit: _Limit = 20,
        utc_offset: _Offset = 0,
    ) -> dict[str, Any]:
        """Search the page's threads.

        `anchor` is the message's id on the page, `author` who wrote it if that is another user.
        """
        found = await self._find(user, user_scope(user, CHANNEL), q, after, limit, utc_offset)
        results = _results(found)
        for shape, hit in zip(results["hits"], found.hits, strict=True):
            shape["anchor"] = f"turn-{hit.turn}" if hit.is_reply else hit.message
            shape["author"] = None if hit.author == user else hit.author
        return results

    async def _find(
        self,
        user: str,
        own: RecordScope,
        text: str,
        after: str | None,
        limit: int,
        utc_offset: int,
    ) -> SearchPage:
        zone = timezone(timedelta(minutes=max(-1_439, min(utc_offset, 1_439))))
        scopes = [own, *self._places.shared_scopes]
        with self._counted(user):
            return await self._search.search(
                scopes, parse_query(text, zone), after=after, limit=limit
            )

    @contextlib.contextmanager
    def _counted(self, user: str) -> Iterator[None]:
        if self._running[user] >= MOST_AT_ONCE:
            raise HTTPException(429, http_texts.TOO_MANY_SEARCHES, headers={"Retry-After": "1"})
        self._running[user] += 1
        try:
            yield
        finally:
            self._running[user] -= 1
            if not self._running[user]:
                del self._running[user]


_OTHER_METHODS = ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


async def _only_get() -> Response:
    return JSONResponse({"error": "Method Not Allowed"}, 405, {"Allow": "GET"})


def _results(found: SearchPage) -> dict[str, Any]:
    return {
        "hits": [_hit(hit) for hit in found.hits],
        "next": found.next,
        "partial": found.is_partial,
        "reached": None if found.reached is None else timestamp(found.reached),
        "indexing": found.is_indexing,
    }


def _hit(hit: SearchHit) -> dict[str, Any]:
    return {
        "conversation_id": hit.conversation,
        "channel": shared_name(hit.place),
        "title": _text(hit.title),
        "message_id": hit.message,
        "role": None if hit.role is None else hit.role.value,
        "index": hit.index,
        "model": hit.model,
        "created_at": timestamp(hit.created_at),
        "snippet": None if hit.message is None else _text(hit.snippet),
    }


def _text(snippet: Snippet) -> dict[str, Any]:
    return {"text": snippet.text, "marks": [list(mark) for mark in snippet.marks]}
