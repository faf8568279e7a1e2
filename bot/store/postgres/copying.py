"""Copies a database into another, of the same kind or the other, and compares them row by row.

Invariant: all or nothing. Before the target's one transaction is committed, its rows are read again
and compared with the source's rows: their number, and a digest of all values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import ProgrammingError

from bot.domain.errors import SettingsError, StoreError
from bot.store.postgres.copy_ends import SINGLE_ROWS, Source, Target
from bot.store.postgres.copy_postgres import PostgresEnd, open_postgres
from bot.store.postgres.copy_sqlite import SqliteEnd, open_file
from bot.store.postgres.server import Server

_DIGEST_BYTES = 16
_MODULUS = 1 << (8 * _DIGEST_BYTES)


@dataclass(slots=True)
class Sum:
    """The number of rows, and the sum of their digests, which does not depend on the order."""

    rows: int = 0
    digest: int = 0

    def passing(self, rows: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        """Yield the rows as the target stores them, and count them."""
        for row in rows:
            stored = [_stored(value) for value in row]
            self.rows += 1
            self.digest = (self.digest + _digest(stored)) % _MODULUS
            yield stored


def _stored(value: Any) -> Any:
    """The value as both databases store it. PostgreSQL's text cannot contain NUL; releases before
    0014 stored it in SQLite."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def _digest(row: Sequence[Any]) -> int:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for value in row:
        data = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(f"{type(value).__name__}{len(data)}:".encode())
        digest.update(data)
    return int.from_bytes(digest.digest())


def copy_database(
    source: str, target: str, *, tell: Callable[[str, int], None] = lambda _table, _rows: None
) -> Mapping[str, int]:
    """Copy all rows from one URL to another, and return the number of rows of each table.

    `tell` is called after each table. The bot must not run on either database. Raises SettingsError
    for a wrong URL, StoreError if the target is not empty or differs afterwards, and the errors of
    opening a database.
    """
    if source == target:
        raise StoreError("The source and the target are the same database: name another target.")
    if source.startswith("sqlite:") and not _path(source).is_file():
        raise StoreError(f"There is no database {_path(source)}.")
    with _open(source) as reading, _open(target) as writing:
        return _copy(reading, writing, tell)


def _open(url: str) -> AbstractContextManager[SqliteEnd | PostgresEnd]:
    if url.startswith("sqlite:///"):
        return open_file(_path(url))
    if not url.startswith(("postgresql://", "postgres://")):
        raise SettingsError("copy", "write sqlite:///FILE or postgresql://user@host/database")
    try:
        return open_postgres(Server.parse(url))
    except ProgrammingError:
        raise SettingsError("copy", "this is not a URL of PostgreSQL") from None


def _path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _copy(source: Source, target: Target, tell: Callable[[str, int], None]) -> Mapping[str, int]:
    tables = target.columns()
    _require_same(source, target)
    _require_empty(target)
    target.suspend_triggers(list(tables))
    sums = {table: Sum() for table in tables}
    for table, columns in tables.items():
        target.insert(table, columns, sums[table].passing(source.rows(table, columns)))
        tell(table, sums[table].rows)
    target.set_last_ids(source.last_ids())
    target.set_erased(*source.erased())
    for table, columns in tables.items():
        _verify(target, table, columns, sums[table])
    target.finish(list(tables))
    return {table: each.rows for table, each in sums.items()}


def _require_same(source: Source, target: Target) -> None:
    ours, theirs = source.columns(), target.columns()
    if source.newest() != target.newest() or {t: set(c) for t, c in ours.items()} != {
        t: set(c) for t, c in theirs.items()
    }:
        raise StoreError("The two databases have different schemas: use one version of Threadline.")


def _require_empty(target: Target) -> None:
    for table in target.columns():
        if table not in SINGLE_ROWS and not target.is_empty(table):
            raise StoreError(f"The target has rows in {table}: name an empty database.")


def _verify(target: Target, table: str, columns: Sequence[str], expected: Sum) -> None:
    found = Sum()
    for _ in found.passing(target.rows(table, columns)):
        pass
    if found != expected:
        raise StoreError(
            f"The copy of {table} differs from the original ({found.rows} rows instead of "
            f"{expected.rows}, or other values): nothing was changed."
        )
