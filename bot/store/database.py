"""The interface of a database that the store's operations use, common to SQLite and PostgreSQL.

Each operation is written once, in SQL that both SQLite 3.40 and PostgreSQL 15 accept
(docs/decisions/2026-11-30-postgresql.md has the rules). `sqlite3.Connection` already implements
Database; `bot.store.postgres.session.Session` implements it for PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, Protocol, Self, TypeAlias, TypeVar, runtime_checkable

T = TypeVar("T")

_MOST_PARAMETERS = 500  # SQLite and PostgreSQL allow more than 30,000

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
"""Values for `?` in order, or for `:name`."""


class Row(Protocol):
    """A row, by column name or position; `*row` unpacks its values."""

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
        """The names of the columns, so that `dict(row)` works."""
        ...


class Cursor(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """The number of rows that an INSERT, UPDATE or DELETE without RETURNING changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None. It is a Row, but typed as Any because callers unpack it."""
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
        """Run one statement once for each set of parameters."""
        ...


@runtime_checkable
class Locking(Protocol):
    """A database with several writers."""

    def lock(self, *names: str) -> None:
        """Wait until no other transaction holds any of these locks; keep them until the transaction
        ends."""
        ...


def marks(values: Sized) -> str:
    """A `?` for each of `values`, which must not be empty: PostgreSQL rejects `IN ()`."""
    return ", ".join("?" * len(values))


def batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split `values` into parts that fit the parameters of one statement."""
    for start in range(0, len(values), _MOST_PARAMETERS):
        yield values[start : start + _MOST_PARAMETERS]


def take_locks(db: Database, *names: str) -> None:
    """Take named locks if the database has several concurrent writers; SQLite has only one."""
    if names and isinstance(db, Locking):
        db.lock(*names)
