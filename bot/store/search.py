"""Searches the conversations of the given scopes: titles first, then messages, newest first.

The index names texts that may match; each is read and compared before it is shown. So a hit
reflects the stored text and lies within the scope, and both kinds of database find the same hits.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from bot.domain.records import RecordScope
from bot.domain.search import CURSOR, SearchHit, SearchPage, SearchQuery
from bot.store.database import Database
from bot.store.health import Runner
from bot.store.search_documents import TITLE_LIMIT, model_token
from bot.store.search_index import Index, Match, OutOfTime
from bot.store.search_scopes import tokens_of
from bot.store.search_texts import Text, TextReader

SECONDS = 0.25
"""The time limit of one search; most take a few milliseconds. A search that reaches it returns what
it has found so far."""

TITLES = 4
"""The most titles before the messages; by default a conversation is named after its first
question."""

WAITING = 200
"""The most unindexed texts that each search reads directly: those of the last seconds."""

_BATCH, _LARGEST_BATCH = 40, 640
_CLOCK_SECONDS = 3_600.0
"""How far the machine's clock may have been set back; ids otherwise follow the time."""


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
    """Return a page's `next` as a kind and a number; an invalid one starts at the first title."""
    if after is None or not re.fullmatch(CURSOR, after):
        return "t", None
    return after[0], int(after[1:]) if len(after) > 1 else None


@dataclass(slots=True)
class _Found:
    """Collects the hits of a page, and the last text that was read."""

    limit: int
    hits: list[SearchHit] = field(default_factory=list)
    last: Text | None = None

    def take(self, text: Text) -> bool:
        """Add a text. Returns whether the page is full and another hit follows."""
        if text.hit is not None and len(self.hits) == self.limit:
            return True
        self.last = text
        if text.hit is not None:
            self.hits.append(text.hit)
        return False


@dataclass(frozen=True, slots=True)
class _Range:
    """Numbers of texts strictly between `low` and `high`, and the order in which to read them."""

    low: int
    high: int
    newest_first: bool


class _Search:
    """A running search. `until` is in monotonic seconds."""

    def __init__(
        self,
        db: Database,
        index: Index,
        scopes: Sequence[RecordScope],
        query: SearchQuery,
        until: float,
    ) -> None:
        self._db, self._index, self._query = db, index, query
        self._until = until
        self._texts = TextReader(db, scopes, query, lambda: time.monotonic() >= until)
        self._match = _match(scopes, query)

    def titles(self, after: int | None, limit: int) -> SearchPage:
        """The titles after the one of the conversation with this row id."""
        low = -TITLE_LIMIT if after is None else -after
        return self._page("t", _Range(low, 0, newest_first=False), self._texts.titles, limit)

    def messages(self, after: int | None, limit: int) -> SearchPage:
        """The messages after the one with this row id."""
        high = TITLE_LIMIT if after is None else after
        before, since = self._query.before, self._query.after
        if before is not None:
            high = min(high, self._first_since(before + _CLOCK_SECONDS))
        low = 0 if since is None else self._first_since(since - _CLOCK_SECONDS) - 1
        return self._page("m", _Range(low, high, newest_first=True), self._texts.messages, limit)

    def _first_since(self, at: float) -> int:
        """The lowest message id since then, found by binary search, because ids follow the time."""
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
        read: Callable[[Sequence[int]], Iterator[Text]],
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
        """The numbers of texts that may match, in order, in growing batches."""
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
        """The remaining seconds. Raises OutOfTime."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return left


def _match(scopes: Sequence[RecordScope], query: SearchQuery) -> Match:
    """Build the index query: every hit matches it, and most texts that match it are hits."""
    required = [token for term in query.terms for token in term.tokens()]
    models = [model_token(token) for term in query.models for token in term.tokens()]
    excluded = [token for term in query.excluded if term.is_exact for token in term.tokens()]
    return Match(tokens_of(scopes), (*required, *models), tuple(excluded))


class SqlSearch:
    """Implements `bot.ports.search.Search`. Runs one search at a time, so that other reads find a
    free reader."""

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
