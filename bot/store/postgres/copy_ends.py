"""The two ends of a copy between databases, `copy_sqlite` and `copy_postgres`: their ports.

Invariant: a target's transaction ends with all rows or with none. The target's triggers do not run,
because the rows already contain their effects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from bot.domain.privacy import Erasure

BATCH = 64
"""Rows in memory at the same time: up to 16 MB, because a chunk of a file has 256 KB."""

NOT_COPIED = frozenset(
    {"migrations", "members", "leases", "gaps", "gap_reads", "thread_reads"}
    | {"search_documents", "search_queue"}
)
"""Each database has a separate ledger; leases end with their process; the search index is
rebuilt."""

SINGLE_ROWS = frozenset({"process"})  # the schema creates their one row

Columns = Mapping[str, Sequence[str]]
"""The columns of each table, in an order in which no row refers to a later table."""


class Source(Protocol):
    """The source of the rows. All reads see the database at one moment."""

    def newest(self) -> int:
        """The number of the newest migration."""
        ...

    def columns(self) -> Columns:
        """The tables with their columns."""
        ...

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """All rows of a table, in batches of bounded size."""
        ...

    def last_ids(self) -> Mapping[str, int]:
        """The highest id that each table has assigned, for tables that never reuse one."""
        ...

    def erased(self) -> tuple[str, Sequence[Erasure]]:
        """The salt and the entries of the list of erasures."""
        ...


class Target(Source, Protocol):
    """The destination of the rows. All changes are one transaction."""

    def is_empty(self, table: str) -> bool:
        """Whether a table has no rows."""
        ...

    def suspend_triggers(self, tables: Sequence[str]) -> None:
        """Insert the following rows without running triggers."""
        ...

    def insert(self, table: str, columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
        """Insert the rows."""
        ...

    def set_last_ids(self, last: Mapping[str, int]) -> None:
        """Make sure that no id is assigned twice."""
        ...

    def finish(self, tables: Sequence[str]) -> None:
        """End `suspend_triggers`, have the bot index all texts for the search, and update the query
        planner's statistics."""
        ...

    def set_erased(self, salt: str, entries: Sequence[Erasure]) -> None:
        """Replace the list of erasures."""
        ...


def sorted_by_parents(parents: Mapping[str, set[str]]) -> Sequence[str]:
    """Sort the tables so that each follows the ones its rows refer to."""
    done: dict[str, None] = {}
    while len(done) < len(parents):
        ready = [each for each in sorted(parents) if parents[each] - {each} <= done.keys()]
        done |= dict.fromkeys(ready)
    return list(done)
