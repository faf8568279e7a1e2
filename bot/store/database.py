"""What the store's operations use of a database: the common part of SQLite and PostgreSQL.

An operation is written once, in SQL that both SQLite 3.40 and PostgreSQL 15 accept
(docs/decisions/2026-11-30-postgresql.md has the rules). `sqlite3.Connection` is a Database as it
is; `bot.store.postgres.session.Session` is one for PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, Protocol, Self, TypeAlias, TypeVar, runtime_checkable

T = TypeVar("T")

_MOST_PARAMETERS = 500  # SQLite and PostgreSQL allow more than 30,000

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
"""For `?` in order, or for `:name`."""


class Row(Protocol):
    """A row, by column name or position; `*row` are its values."""

    def __getitem__(self, column: str | int, /) -> Any:
        """The value of a column."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The values in the order of the columns."""
        ...

    def __len__(self) -> int:
        """The number of columns."""
        ...

    def keys(self) -> Sequence[str]:
        """The names of the columns: makes `dict(row)` work."""
        ...


class Cursor(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows an INSERT, UPDATE or DELETE without RETURNING changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None. A Row: typed as Any because callers unpack it."""
        ...

    def fetchall(self) -> list[Any]:
        """The remaining rows."""
        ...

    def __iter__(self) -> Self:
        """The remaining rows, one by one."""
        ...

    def __next__(self) -> Any:
        """The next row."""
        ...


class Database(Protocol):
    """A connection inside a transaction."""

    def execute(self, sql: str, parameters: Parameters = ..., /) -> Cursor:
        """Run one statement."""
        ...

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> object:
        """Run one statement with each of the parameters."""
        ...


@runtime_checkable
class Locking(Protocol):
    """A database with other writers."""

    def lock(self, *names: str) -> None:
        """Wait until no other transaction has any of these locks; keep them until the end."""
        ...


def marks(values: Sized) -> str:
    """A `?` for each of `values`, of which there is at least one: PostgreSQL refuses `IN ()`."""
    return ", ".join("?" * len(values))


def batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """`values` in parts for which one statement has enough places for parameters."""
    for start in range(0, len(values), _MOST_PARAMETERS):
        yield values[start : start + _MOST_PARAMETERS]


def take_locks(db: Database, *names: str) -> None:
    """Take named locks where several transactions write at the same time; SQLite has one writer."""
    if names and isinstance(db, Locking):
        db.lock(*names)
