"""Searches the conversations of some scopes: titles first, then messages, the newest first.

The index names texts that may match; each is read and compared before it is shown. So a hit is what
is stored at this moment, within the scope, and both kinds of database find the same.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from bot.domain.conversations import Role
from bot.domain.records import RecordScope
from bot.domain.search import (
    CURSOR,
    SearchHit,
    SearchPage,
    SearchQuery,
    Snippet,
    snippet_of,
    snippet_of_markdown,
)
from bot.store.database import Database, Row
from bot.store.health import Runner
from bot.store.search_documents import (
    TITLE_LIMIT,
    file_names,
    model_token,
)
from bot.store.search_index import Index, Match, OutOfTime
from bot.store.search_scopes import in_scopes, place_of, tokens_of

SECONDS = 0.25
"""For one search; most take a few milliseconds. Then it returns what it has found so far."""

TITLES = 4
"""Titles before the messages: by default a conversation is named after its first question."""

WAITING = 200
"""Texts that are not in the index yet and are read by each search: those of the last seconds."""

_BATCH, _LARGEST_BATCH = 40, 640
_CLOCK_SECONDS = 3_600.0
"""Ids follow the time; by so much the machine's clock may have been set back."""


def find(
    db: Database,
    index: Index,
    scopes: Sequence[RecordScope],
    query: SearchQuery,
    after: str | None,
    limit: int,
    *,
    seconds: float,
) -> SearchPage:
    """See `Search.search`."""
    if query.is_empty or not scopes:
        return SearchPage()
    search = _Search(db, index, scopes, query, time.monotonic() + seconds)
    kind, number = _cursor(after)
    if query.in_title:
        return search.titles(number if kind == "t" else None, limit)
    if kind == "m":
        return search.messages(number, limit)
    titles = search.titles(number, min(TITLES, limit))
    if titles.is_partial:  # the messages have no time left; without progress they come next
        return replace(titles, next=titles.next or "m")
    if len(titles.hits) >= limit:
        return replace(titles, next="m")
    page = search.messages(None, limit - len(titles.hits))
    return replace(
        page,
        hits=[*titles.hits, *page.hits],
        next=page.next or ("m" if page.is_partial else None),  # the titles took the time
        is_indexing=titles.is_indexing or page.is_indexing,
    )


def _cursor(after: str | None) -> tuple[str, int | None]:
    """The kind and the number of a page's `next`; what is none begins at the first title."""
    if after is None or not re.fullmatch(CURSOR, after):
        return "t", None
    return after[0], int(after[1:]) if len(after) > 1 else None


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that was read: its row id, its time in Unix seconds, and the hit if it is one."""

    number: int
    at: float
    hit: SearchHit | None


@dataclass(slots=True)
class _Found:
    """The hits of a page while they are collected, and the last text that was read."""

    limit: int
    hits: list[SearchHit] = field(default_factory=list)
    last: _Text | None = None

    def take(self, text: _Text) -> bool:
        """Add a text. Returns whether the page is full, and there is one more hit."""
        if text.hit is not None and len(self.hits) == self.limit:
            return True
        self.last = text
        if text.hit is not None:
            self.hits.append(text.hit)
        return False


@dataclass(frozen=True, slots=True)
class _Range:
    """Numbers of texts, from `low` to `high` without these, and in which order they are read."""

    low: int
    high: int
    newest_first: bool


class _Search:
    """One search. `until` is in monotonic seconds."""

    def __init__(
        self,
        db: Database,
        index: Index,
        scopes: Sequence[RecordScope],
        query: SearchQuery,
        until: float,
    ) -> None:
        self._db, self._index, self._scopes, self._query = db, index, scopes, query
        self._until = until
        self._match = _match(scopes, query)

    def titles(self, after: int | None, limit: int) -> SearchPage:
        """The titles after the one of the conversation with this row id."""
        low = -TITLE_LIMIT if after is None else -after
        return self._page("t", _Range(low, 0, newest_first=False), self._titles, limit)

    def messages(self, after: int | None, limit: int) -> SearchPage:
        """The messages after the one with this row id."""
        high = TITLE_LIMIT if after is None else after
        before, since = self._query.before, self._query.after
        if before is not None:
            high = min(high, self._first_since(before + _CLOCK_SECONDS))
        low = 0 if since is None else self._first_since(since - _CLOCK_SECONDS) - 1
        return self._page("m", _Range(low, high, newest_first=True), self._messages, limit)

    def _first_since(self, at: float) -> int:
        """The lowest id of the messages since then: a search by halves, as ids follow the time."""
        (highest,) = self._db.execute("SELECT coalesce(max(id), 0) FROM messages").fetchall()[0]
        low, high = 1, int(highest) + 1
        while low < high:
            middle = (low + high) // 2
            row = self._db.execute(
                "SELECT id, created_at FROM messages WHERE id >= ? ORDER BY id LIMIT 1", (middle,)
            ).fetchone()
            if row is None or row["created_at"] >= at:
                high = middle
            else:
                low = row["id"] + 1
        return low

    # ── a page ────────────────────────────────────────────────────────────────────────────────
    def _page(
        self,
        kind: str,
        numbers: _Range,
        read: Callable[[Sequence[int]], Iterator[_Text]],
        limit: int,
    ) -> SearchPage:
        found = _Found(limit)
        waiting, is_indexing = self._waiting(numbers)
        is_full = is_late = False
        try:
            for batch in self._candidates(numbers, waiting):
                for text in read(batch):
                    if text.hit is None and found.last is not None:
                        self._require_time()  # it may match: the next page compares it again
                    is_full = found.take(text)
                    if is_full:
                        break
                    self._require_time()
                if is_full:
                    break
        except OutOfTime:
            is_late = True
        last = found.last if is_full or is_late else None
        return SearchPage(
            found.hits,
            next=None if last is None else f"{kind}{last.number}",
            is_partial=is_late,
            reached=last.at if last and is_late and kind == "m" else None,
            is_indexing=is_indexing,
        )

    def _candidates(self, numbers: _Range, waiting: list[int]) -> Iterator[list[int]]:
        """The numbers of texts that may match, in order, in batches that grow."""
        size, edge = _BATCH, numbers
        while True:
            found = self._index.documents(
                self._db,
                self._match,
                low=edge.low,
                high=edge.high,
                newest_first=edge.newest_first,
                limit=size,
                seconds=self._require_time(),
            )
            is_last = len(found) < size
            newest = edge.newest_first
            here = [
                each
                for each in waiting
                if is_last or (each > found[-1] if newest else each < found[-1])
            ]
            waiting = waiting[len(here) :]
            yield sorted({*found, *here}, reverse=newest)
            if is_last:
                return
            edge = replace(edge, high=found[-1]) if newest else replace(edge, low=found[-1])
            size = min(size * 4, _LARGEST_BATCH)

    def _waiting(self, numbers: _Range) -> tuple[list[int], bool]:
        """The newest texts that are not in the index yet, and whether there are more of them."""
        order = "DESC" if numbers.newest_first else "ASC"
        rows = self._db.execute(
            "SELECT document FROM search_queue WHERE document > ? AND document < ?"  # noqa: S608
            f" ORDER BY document {order} LIMIT ?",
            (numbers.low, numbers.high, WAITING + 1),
        ).fetchall()
        return [row["document"] for row in rows[:WAITING]], len(rows) > WAITING

    def _require_time(self) -> float:
        """The seconds that are left. Raises OutOfTime."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return left

    def _is_late(self) -> bool:
        return time.monotonic() >= self._until

    # ── texts ─────────────────────────────────────────────────────────────────────────────────
    def _titles(self, documents: Sequence[int]) -> Iterator[_Text]:
        ids = [-each for each in documents]
        rows = self._read(
            "SELECT id, uid, name, updated_at, platform, workspace, channel"
            " FROM (SELECT id AS number FROM conversations) AS numbers CROSS JOIN conversations"
            " WHERE id = number AND number",
            ids,
        )
        for number in ids:
            row = rows.get(number)
            if row is not None:
                yield _Text(number, row["updated_at"], self._title_hit(row))

    def _title_hit(self, row: Row) -> SearchHit | None:
        query, name = self._query, row["name"]
        if query.models or not query.is_in_time(row["updated_at"]) or not query.matches(name):
            return None
        title = snippet_of(name, query.terms)
        return SearchHit(row["uid"], place_of(row), title, row["updated_at"])

    def _messages(self, documents: Sequence[int]) -> Iterator[_Text]:
        rows = self._read(
            "SELECT messages.id, messages.uid, idx, role, kind, messages.content,"
            " messages.created_at, author_id, turn_id, turns.model,"
            " conversations.uid AS conversation, name, platform, workspace, conversations.channel"
            " FROM messages CROSS JOIN conversations LEFT JOIN turns ON turns.id = turn_id"
            " WHERE conversations.id = messages.conversation_id AND erased_at IS NULL"
            " AND messages.parked IS NULL AND messages.id",
            documents,
        )
        names = file_names(self._db, list(rows))
        for number in documents:
            row = rows.get(number)
            if row is not None:
                hit = self._message_hit(row, names.get(number, ()))
                yield _Text(number, row["created_at"], hit)

    def _message_hit(self, row: Row, names: Sequence[str]) -> SearchHit | None:
        query, is_reply = self._query, row["kind"] == "reply"
        text = "\n".join([row["content"], *names])
        model = row["model"] if is_reply else None
        if not (query.is_in_time(row["created_at"]) and query.is_of_model(model)):
            return None
        if not query.matches(text, self._is_late):
            return None
        role = Role(row["role"])
        # The page shows what people wrote verbatim.
        snippet = snippet_of_markdown if role is Role.ASSISTANT else snippet_of
        return SearchHit(
            conversation=row["conversation"],
            place=place_of(row),
            title=Snippet(row["name"]),
            created_at=row["created_at"],
            message=row["uid"],
            index=row["idx"],
            role=role,
            author=row["author_id"],
            turn=row["turn_id"],
            is_reply=is_reply,
            model=model,
            snippet=snippet(text, query.terms),
        )

    def _read(self, sql: str, ids: Sequence[int]) -> dict[int, Row]:
        """The rows with these ids in the scopes, by id.

        In the statements, CROSS JOIN tells SQLite to look the ids up and then to check the scopes,
        instead of reading all conversations of the person: it takes them for ten.
        """
        if not ids:
            return {}
        condition, values = in_scopes(self._scopes)
        named = {f"id{at}": number for at, number in enumerate(ids)}
        rows = self._db.execute(
            f"{sql} IN ({', '.join(f':{name}' for name in named)}) AND {condition}",
            {**named, **values},
        )
        return {row["id"]: row for row in rows}


def _match(scopes: Sequence[RecordScope], query: SearchQuery) -> Match:
    """What the index is asked for: every hit has it, and most texts that have it are hits."""
    required = [token for term in query.terms for token in term.tokens()]
    models = [model_token(token) for term in query.models for token in term.tokens()]
    excluded = [token for term in query.excluded if term.is_exact for token in term.tokens()]
    return Match(tokens_of(scopes), (*required, *models), tuple(excluded))


class SqlSearch:
    """Implements `bot.ports.search.Search`. One search at a time: others find a free reader."""

    def __init__(self, *, readers: Runner, index: Index) -> None:
        self._read, self._index = readers.run, index
        self.seconds = SECONDS
        self._turn = asyncio.Semaphore(1)

    async def search(
        self,
        scopes: Sequence[RecordScope],
        query: SearchQuery,
        *,
        after: str | None = None,
        limit: int = 20,
    ) -> SearchPage:
        """See the port."""
        async with self._turn:
            return await self._read(
                lambda db: find(db, self._index, scopes, query, after, limit, seconds=self.seconds)
            )
