"""The port of the search in conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.records import RecordScope
from bot.domain.search import SearchPage, SearchQuery


class Search(Protocol):
    """Finds titles and messages of the conversations in some scopes, and of no others."""

    async def search(
        self,
        scopes: Sequence[RecordScope],
        query: SearchQuery,
        *,
        after: str | None = None,
        limit: int = 20,
    ) -> SearchPage:
        """Titles of the newest conversations first, then messages, the newest first.

        `after` is the `next` of a page. Answers in a fraction of a second, if need be with a part:
        see `SearchPage`. Raises StoreUnavailable.
        """
        ...
