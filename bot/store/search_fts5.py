"""The search index on SQLite: FTS5.

FTS5 marks deleted words instead of removing them until it merges the segments of the index. So each
deletion is followed by a merge of all segments, in steps; with `secure_delete`, this overwrites the
words. (Since SQLite 3.42, FTS5 has an option `secure-delete`, but the SQLite 3.40 of Debian 12 and
of our image cannot open an index that used it.)
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

from bot.domain.search_text import Token
from bot.store.database import Database, batches, marks
from bot.store.search_index import Match, OutOfTime

_MERGE_PAGES = 32
"""Pages of 4 kB to merge in one step, which takes the writer 5 to 20 ms."""

_LONGEST_PREFIX = 8
"""Letters of the longest beginning of a word that the schema has in the index. FTS5 reads all texts
with a longer one before it names the first: 120 ms in 1,000,000 messages. So the index is asked for
its first eight letters, which name few texts in addition, and those are compared anyway."""

_INSTRUCTIONS = 2_000  # of SQLite's VM between two checks of the clock: well below 1 ms


class Fts5:
    """Implements `bot.store.search_index.Index`."""

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
        """See the protocol. Reads the index in numerical order, and stops at `limit`."""
        order = "DESC" if newest_first else "ASC"
        with _limited(cast(sqlite3.Connection, db), seconds):
            rows = db.execute(
                "SELECT rowid FROM search_index WHERE search_index MATCH ?"  # noqa: S608
                f" AND rowid > ? AND rowid < ? ORDER BY rowid {order} LIMIT ?",
                (_expression(match), low, high, limit),
            ).fetchall()
        return [row[0] for row in rows]

    def claim(self, db: Database, versions: Mapping[tuple[int, int], object]) -> list[int]:
        """See the protocol. There is only one process with one writer."""
        found: list[int] = []
        for some in batches(list(versions)):
            rows = db.execute(
                "SELECT document, version FROM search_queue"  # noqa: S608 - marks
                f" WHERE document IN ({marks(some)})",
                tuple(number for number, _ in some),
            )
            found += [number for number, version in rows if (number, version) in versions]
        return found

    def overwrite_step(self, db: Database, *, is_first: bool) -> bool:
        """See the protocol."""
        connection = cast(sqlite3.Connection, db)
        before = connection.total_changes
        connection.execute(
            "INSERT INTO search_index (search_index, rank) VALUES ('merge', ?)",
            (-_MERGE_PAGES if is_first else _MERGE_PAGES,),
        )
        # https://sqlite.org/fts5.html#the_merge_command: below two, there was nothing to do.
        return connection.total_changes - before >= 2


def overwrite(db: sqlite3.Connection) -> None:
    """Overwrite everything that was deleted, in a database that is not in use."""
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'search_index'").fetchone() is None:
        return
    index, is_first = Fts5(), True
    while index.overwrite_step(db, is_first=is_first):
        is_first = False


@contextmanager
def _limited(db: sqlite3.Connection, seconds: float) -> Iterator[None]:
    until = time.monotonic() + seconds
    db.set_progress_handler(lambda: time.monotonic() > until, _INSTRUCTIONS)
    try:
        yield
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        raise OutOfTime from exc
    finally:
        db.set_progress_handler(None, 0)


def _expression(match: Match) -> str:
    """Build the query in FTS5's language: https://sqlite.org/fts5.html#full_text_query_syntax."""
    places = " OR ".join(map(_quoted, match.places))
    required = [_quoted(_shortened(token)) for token in match.required]
    found = " AND ".join([f"({places})", *required])
    if not match.excluded:
        return found
    return f"({found}) NOT ({' OR '.join(map(_quoted, match.excluded))})"


def _shortened(token: Token) -> Token:
    return replace(token, text=token.text[:_LONGEST_PREFIX]) if token.is_prefix else token


def _quoted(token: Token) -> str:
    return f'"{token.text}"{" *" if token.is_prefix else ""}'
