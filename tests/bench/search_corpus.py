"""The database of the search's bench: its rows, and its index in a tenth of the indexer's time.

One person has 90 % of the messages, 1,000 people share the others; words are as frequent as in a
language (Zipf), and one message in ten is Japanese. The texts are random: only their number, their
lengths and the frequencies matter.
"""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bot.store import migrate as files
from bot.store import search_documents
from bot.store.database import Database
from bot.store.migrate import MIGRATIONS
from bot.store.postgres import migrations as postgres_migrations
from bot.store.postgres.server import Server
from bot.store.search_index import Index
from tests.support.store_kit import Place, PostgresPlace, connected, look

PER_CONVERSATION = 20
VOCABULARY = 40_000
KANJI = "日本語東京都天気今天会社員新聞時間料理旅行電車学校先生友達家族仕事"
BEFORE = "0018"
BATCH = 20_000
"""Texts whose words are made together."""

SYLLABLES = (
    "ta",
    "re",
    "con",
    "in",
    "de",
    "pro",
    "ter",
    "ment",
    "lo",
    "si",
    "str",
    "eam",
    "qu",
    "ery",
    "time",
    "out",
    "ab",
    "le",
    "fi",
    "x",
)

_CONVERSATION = (
    "INSERT INTO conversations (id, uid, platform, workspace, channel, thread, name, next_index,"
    " visibility, created_at, updated_at) VALUES"
    " (?, ?, 'web', ?, 'general', ?, ?, ?, 'private', ?, ?)"
)
_TURN = (
    "INSERT INTO turns (id, conversation_id, epoch, state, attempt, reply_idx, outcome, model,"
    " created_at) VALUES (?, ?, 1, 'done', 1, ?, 'answered', ?, ?)"
)
_MESSAGE = (
    "INSERT INTO messages (id, uid, conversation_id, turn_id, epoch, idx, role, kind, content,"
    " position, created_at) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)"
)


# ── texts ─────────────────────────────────────────────────────────────────────────────────────
def vocabulary() -> list[str]:
    chance = random.Random(7)
    found: dict[str, None] = {}
    while len(found) < VOCABULARY:
        found["".join(chance.choices(SYLLABLES, k=chance.randint(1, 4)))] = None
    return list(found)


class Texts:
    """Random texts."""

    def __init__(self, vocabulary: list[str]) -> None:
        self._chance = random.Random(11)
        weights = itertools.accumulate(1 / (rank + 1) for rank in range(len(vocabulary)))
        self._words = self._chance.choices(vocabulary, cum_weights=list(weights), k=2_000_000)

    def english(self, count: int) -> str:
        """Words."""
        at = self._chance.randrange(len(self._words) - count)
        return " ".join(self._words[at : at + count])

    def japanese(self, count: int) -> str:
        """Characters."""
        return "".join(self._chance.choices(KANJI, k=count))


# ── rows ──────────────────────────────────────────────────────────────────────────────────────
def build(place: Place, size: int, words: list[str], folder: Path) -> None:
    """A database of before the search, with all rows, in one transaction."""
    older = folder / "older"
    is_postgres = isinstance(place, PostgresPlace)
    older.mkdir(exist_ok=True)
    for file in (MIGRATIONS / "postgres" if is_postgres else MIGRATIONS).glob("*.sql"):
        if file.name < BEFORE:
            shutil.copy(file, older)
    _migrate_to(place, older)
    texts = Texts(words)
    with connected(place) as db:
        for first in range(0, size // PER_CONVERSATION, 500):
            rows: dict[str, list[tuple[Any, ...]]] = {_CONVERSATION: [], _TURN: [], _MESSAGE: []}
            for number in range(first, min(first + 500, size // PER_CONVERSATION)):
                _conversation(rows, number + 1, texts)
            for statement, values in rows.items():
                db.executemany(statement, values)
    vacuum(place)


def vacuum(place: Place) -> None:
    """What PostgreSQL does in the background."""
    if isinstance(place, PostgresPlace):
        with psycopg.connect(place.url, autocommit=True) as db:
            db.execute("VACUUM ANALYZE")


def _migrate_to(place: Place, older: Path) -> None:
    if not isinstance(place, PostgresPlace):
        files.migrate(place, older)
        return
    usual = postgres_migrations.POSTGRES_MIGRATIONS
    postgres_migrations.POSTGRES_MIGRATIONS = older
    try:
        postgres_migrations.migrate(Server.parse(place.url))
    finally:
        postgres_migrations.POSTGRES_MIGRATIONS = usual


def _conversation(rows: dict[str, list[tuple[Any, ...]]], number: int, texts: Texts) -> None:
    owner = f"light{number // 10 % 1_000}" if number % 10 == 0 else "heavy"
    at = 1_577_836_800.0 + 3_600.0 * number
    uid = f"00000000-0000-4000-8000-{number:012d}"
    name = texts.english(8)
    rows[_CONVERSATION].append((number, uid, owner, uid, name, PER_CONVERSATION, at, at))
    for index in range(PER_CONVERSATION):
        message = (number - 1) * PER_CONVERSATION + index + 1
        turn = (message + 1) // 2
        is_reply = index % 2 == 1
        text = texts.english(110 if is_reply else 15)
        if number % 10 == 5:
            text = texts.japanese(200 if is_reply else 30)
        if is_reply:
            model = "openai/gpt-5" if number % 3 else "anthropic/claude"
            rows[_TURN].append((turn, number, index, model, at))
        rows[_MESSAGE].append(
            (
                message,
                f"00000000-0000-4000-9000-{message:012d}",
                number,
                turn if is_reply else None,
                index,
                "assistant" if is_reply else "user",
                "reply" if is_reply else "history",
                text,
                message,
                at,
            )
        )


# ── the index ─────────────────────────────────────────────────────────────────────────────────
def index_in_bulk(place: Place, index: Index, *, leave: int = 0) -> None:
    """What the indexer does, in bulk; the `leave` newest texts are left to it.

    The words are made and stored by the indexer's functions, in one transaction; only the index
    is built from all of them afterwards, and not row by row. `same_index` compares the two.
    """
    with connected(place) as db, ProcessPoolExecutor(2) as makers:
        db.execute(
            "CREATE TEMPORARY TABLE newest AS SELECT document, version FROM search_queue"
            f" ORDER BY document DESC LIMIT {leave}"
        )
        db.execute("DELETE FROM search_queue WHERE document IN (SELECT document FROM newest)")
        with _index_afterwards(db):
            while found := search_documents.waiting(db, BATCH):
                made = makers.map(search_documents.document_of, found, chunksize=500)
                keys = [(each.document, each.version) for each in found]
                search_documents.put(db, index, dict(zip(keys, made, strict=True)))
        db.execute("INSERT INTO search_queue SELECT document, version FROM newest")


@contextmanager
def _index_afterwards(db: Database) -> Iterator[None]:
    """Build the index from its table at the end."""
    if not isinstance(db, sqlite3.Connection):
        name = "search_documents_tokens"
        sql = db.execute("SELECT indexdef FROM pg_indexes WHERE indexname = ?", (name,))
        [(statement,)] = sql.fetchall()
        db.execute(f"DROP INDEX {name}")
        yield
        db.execute("SET LOCAL maintenance_work_mem = '256MB'")
        db.execute(statement)
        return
    name = "search_documents_add"
    [(statement,)] = db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchall()
    db.execute(f"DROP TRIGGER {name}")
    yield
    db.execute("INSERT INTO search_index (search_index) VALUES ('rebuild')")
    db.execute(statement)


def same_index(one: Path, other: Path) -> bool:
    """Whether two SQLite databases have the same words of the same texts, in the table, in the
    index and in its beginnings of words."""
    everything = []
    for place in (one, other):
        with closing(sqlite3.connect(place)) as db:
            # It fails if the index, with all its prefixes, does not fit to the table.
            db.execute(
                "INSERT INTO search_index (search_index, rank) VALUES ('integrity-check', 1)"
            )
            db.execute("CREATE VIRTUAL TABLE temp.v USING fts5vocab (main, search_index, instance)")
            words = db.execute("SELECT term, doc FROM temp.v ORDER BY term, doc").fetchall()
            rows = db.execute("SELECT document, tokens FROM search_documents ORDER BY document")
            everything.append((words, rows.fetchall()))
    return everything[0] == everything[1]


def size_of(place: Place) -> int:
    """Bytes of the database."""
    if isinstance(place, PostgresPlace):
        return int(look(place, "SELECT pg_database_size(current_database())")[0][0])
    with closing(sqlite3.connect(place)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return place.stat().st_size
