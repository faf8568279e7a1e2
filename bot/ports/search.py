"""The search port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.records import RecordScope
from bot.domain.search import SearchPage, SearchQuery


class Search(Protocol):
    """Finds titles and messages of conversations in the given scopes, and of no others."""

    async def search(
        self,
        scopes: Sequence[RecordScope],
        query: SearchQuery,
        *,
        after: str | None = None,
        limit: int = 20,
    ) -> SearchPage:
        """Search titles of the newest conversations first, then messages, newest first.

        `after` is the `next` of a page. Answers within a fraction of a second, if necessary with a
        partial result: see `SearchPage`. Raises StoreUnavailable.
        """
        ...
