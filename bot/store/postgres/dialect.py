"""Translates the operations' SQL and values into the form that psycopg and PostgreSQL expect.

The statements are literals of this package, so each is translated only once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from psycopg import Cursor
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper
from psycopg.rows import no_result
from psycopg.types.string import StrDumperUnknown

# A string, quoted name or comment, which stay unchanged; a cast; a placeholder; a percent sign,
# which psycopg needs doubled.
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|--[^\n]*|::|\?|:([a-zA-Z_]\w*)|%""")

_BIGINT = 20  # PostgreSQL's type number of bigint


@lru_cache(maxsize=2_048)
def translate(sql: str) -> str:
    """Translate the placeholders of a statement to psycopg's: `%s` for `?`, `%(name)s` for
    `:name`."""
    return _TOKEN.sub(_token, sql)


def _token(match: re.Match[str]) -> str:
    found = match[0]
    if match[1]:
        return f"%({match[1]})s"
    return "%s" if found == "?" else found.replace("%", "%%")


# ── values ────────────────────────────────────────────────────────────────────────────────────
class _FlagDumper(Dumper):
    """Writes True and False as 1 and 0, as SQLite does; the schema has no booleans."""

    oid = _BIGINT

    def dump(self, obj: bool) -> Buffer:
        return b"1" if obj else b"0"


class _TextDumper(StrDumperUnknown):
    """Replaces NUL, which PostgreSQL's text cannot contain, with the replacement character."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in obj else obj)


def register(context: AdaptContext) -> None:
    """Register these adapters for the values of a connection."""
    context.adapters.register_dumper(bool, _FlagDumper)
    context.adapters.register_dumper(str, _TextDumper)


# ── rows ──────────────────────────────────────────────────────────────────────────────────────
class NamedRow(tuple[Any, ...]):
    """A row that also has its columns by name, like `sqlite3.Row`."""

    __slots__ = ()
    columns: dict[str, int]

    def __getitem__(self, column: Any) -> Any:
        return tuple.__getitem__(self, self.columns[column] if type(column) is str else column)

    def keys(self) -> Sequence[str]:
        """The names of the columns."""
        return list(self.columns)


@lru_cache(maxsize=1_024)
def _row_class(names: tuple[bytes, ...]) -> type[NamedRow]:
    columns: dict[str, int] = {}
    for number, name in enumerate(names):
        columns.setdefault(name.decode(), number)  # the first one wins, as in sqlite3
    return type("NamedRow", (NamedRow,), {"__slots__": (), "columns": columns})


def named_rows(cursor: Cursor[Any]) -> Callable[[Sequence[Any]], Any]:
    """psycopg's row factory for NamedRow."""
    result = cursor.pgresult  # `cursor.description` would cost as much as a short statement
    if result is None or not result.nfields:
        return no_result
    return _row_class(tuple(result.fname(number) or b"" for number in range(result.nfields)))
