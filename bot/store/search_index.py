"""The part of the search that differs between the two kinds of database: the index of words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from bot.domain.search_text import Token
from bot.store.database import Database


class OutOfTime(Exception):
    """A search has used up its time."""


@dataclass(frozen=True, slots=True)
class Match:
    """Matches a text that belongs to one of `places`, has all of `required`, and none of
    `excluded`."""

    places: tuple[Token, ...]
    required: tuple[Token, ...] = ()
    excluded: tuple[Token, ...] = ()


class Index(Protocol):
    """The index. The schema's triggers keep it in sync with the table `search_documents`."""

    def documents(
        self,
        db: Database,
        match: Match,
        *,
        low: int,
        high: int,
        newest_first: bool,
        limit: int,
        seconds: float,
    ) -> list[int]:
        """The first numbers of matching texts between `low` and `high`, in descending order if
        `newest_first`. Raises OutOfTime after `seconds`."""
        ...

    def claim(self, db: Database, versions: Mapping[tuple[int, int], object]) -> list[int]:
        """Given texts by number and version, return the numbers of those that still wait in this
        version and that no other process is indexing."""
        ...

    def overwrite_step(self, db: Database, *, is_first: bool) -> bool:
        """Overwrite a part of the deleted words, and return whether there is more."""
        ...
