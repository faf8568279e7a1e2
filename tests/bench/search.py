"""Search in 1,000,000 messages, on SQLite and on PostgreSQL: times, sizes, and the migration.

One person has 90 % of the messages, and 1,000 people share the others. Words are as frequent as in
a natural language (Zipf), and one message in ten is Japanese. The texts are random: only their
number, lengths and word frequencies matter.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from bot.domain.records import RecordScope
from bot.domain.search import parse_query
from bot.store import migrate as files
from bot.store.migrate import MIGRATIONS, migrate
from bot.store.postgres import migrations as postgres_migrations
from bot.store.postgres.server import Server
from bot.store.store import SqlStore
from tests.bench.table import show
from tests.support.postgres_server import own_server
from tests.support.store_kit import Place, PostgresPlace, connected, look, opened

MESSAGES, QUICK_MESSAGES = 1_000_000, 50_000
PER_CONVERSATION = 20
VOCABULARY = 40_000
REPEATS = 40
STEPS, BIG_STEP = 200, 2_000  # steps of the usual size first; then larger ones save time
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
HEAVY, LIGHT = RecordScope("web", "heavy", "general"), RecordScope("web", "light7", "general")
BEFORE = "0018"

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


async def run(size: int = MESSAGES) -> None:
    """Print a table for each kind of database."""
    await on_sqlite(size)
    await on_postgres(size)


async def quick() -> None:
    """The same with fewer messages."""
    await run(QUICK_MESSAGES)


async def on_sqlite(size: int) -> None:
    """Print SQLite's table."""
    with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder:
        await _measure("SQLite", Path(folder) / "search.db", size, Path(folder))


async def on_postgres(size: int) -> None:
    """Print PostgreSQL's table."""
    with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder, own_server() as server:
        server.run("CREATE DATABASE search")
        await _measure("PostgreSQL", PostgresPlace(server.url("search")), size, Path(folder))


async def _measure(name: str, place: Place, size: int, folder: Path) -> None:
    vocabulary = _vocabulary()
    await asyncio.to_thread(_build, place, size, vocabulary, folder)
    before = _bytes(place)
    began = time.monotonic()
    await asyncio.to_thread(_migrate, place)
    migrated = time.monotonic() - began
    async with opened(place) as store:
        began = time.monotonic()
        cost = time.process_time()
        steps = 0
        while await store.search_indexer.step(*([BIG_STEP] if steps >= STEPS else [])):
            steps += 1
        cpu = time.process_time() - cost
        print(f"  indexed in {time.monotonic() - began:.0f} s, {cpu:.0f} s of CPU", flush=True)
        rows = [await _times(store, *query) for query in _queries(vocabulary)]
        if isinstance(place, PostgresPlace):
            with psycopg.connect(place.url, autocommit=True) as db:
                db.execute("VACUUM ANALYZE")
            rows = [await _times(store, *query) for query in _queries(vocabulary)]
        overwritten = await _overwrite(store, place)
    show(
        f"Search in {size:,} messages, {name} (ms)",
        ("query", "p50", "p99", "best", "CPU of the process", "hits on the page", "partial"),
        rows,
        f"migration {migrated:.1f} s; before {before / 1e6:,.0f} MB, with the index"
        f" {_bytes(place) / 1e6:,.0f} MB; overwriting what was deleted: {overwritten}",
    )


def _queries(words: list[str]) -> Iterator[tuple[str, str, RecordScope]]:
    for person, scope in (("90 %", HEAVY), ("0.01 %", LIGHT)):
        yield f"common word ({person})", words[0], scope
        yield f"two common words ({person})", f"{words[1]} {words[2]}", scope
        yield f"rare word ({person})", words[30_000], scope
        yield f"common and rare word ({person})", f"{words[1]} {words[30_000]}", scope
        yield f"no hit ({person})", "zzzz", scope
        yield f"beginning of three letters ({person})", "con", scope
        yield f"beginning of five letters ({person})", "contr", scope
        yield f"two Japanese characters ({person})", "京都", scope
        yield f"one Japanese character ({person})", "東", scope
        yield f"phrase ({person})", f'"{words[3]} {words[5]}"', scope
        yield f"phrase that is nowhere ({person})", f'"{words[20]} {words[1]} {words[20]}"', scope
        yield f"in:title ({person})", f"in:title {words[9]}", scope
        yield f"before: of the first month ({person})", f"{words[1]} before:2020-02", scope
        yield f"model: and a word ({person})", f"{words[40]} model:gpt-5", scope
        yield f"-common word ({person})", f"{words[1]} -{words[0]}", scope


async def _times(store: SqlStore, name: str, text: str, scope: RecordScope) -> list[str]:
    times, page, cost = [], None, time.process_time()
    for _ in range(REPEATS):
        began = time.perf_counter()
        page = await store.search().search([scope], parse_query(text))
        times.append((time.perf_counter() - began) * 1e3)
    assert page is not None
    *_, p99 = statistics.quantiles(times, n=100)
    partial = "yes" if page.is_partial else ""
    cpu = (time.process_time() - cost) / REPEATS * 1e3
    figures = [f"{value:.1f}" for value in (statistics.median(times), p99, min(times), cpu)]
    return [name, *figures, str(len(page.hits)), partial]


async def _overwrite(store: SqlStore, place: Place) -> str:
    if isinstance(place, PostgresPlace):
        return "VACUUM"
    [(uid, workspace)] = look(place, "SELECT uid, workspace FROM conversations WHERE id = 7")
    await store.library().delete(uid, RecordScope("web", workspace))
    index = store.search_indexer.index
    steps: list[float] = []
    while True:
        began = time.perf_counter()
        more = await store._write(partial(index.overwrite_step, is_first=not steps))
        steps.append((time.perf_counter() - began) * 1e3)
        if not more:
            break
    return f"{sum(steps) / 1e3:.1f} s in {len(steps)} steps, the longest {max(steps):.0f} ms"


# ── texts ─────────────────────────────────────────────────────────────────────────────────────
def _vocabulary() -> list[str]:
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
        self._kanji = "日本語東京都天気今天会社員新聞時間料理旅行電車学校先生友達家族仕事".strip()

    def english(self, count: int) -> str:
        """Words."""
        at = self._chance.randrange(len(self._words) - count)
        return " ".join(self._words[at : at + count])

    def japanese(self, count: int) -> str:
        """Characters."""
        return "".join(self._chance.choices(self._kanji, k=count))


# ── rows ──────────────────────────────────────────────────────────────────────────────────────
def _build(place: Place, size: int, vocabulary: list[str], folder: Path) -> None:
    older = folder / f"older-{type(place).__name__}"
    source = MIGRATIONS / "postgres" if isinstance(place, PostgresPlace) else MIGRATIONS
    older.mkdir()
    for file in source.glob("*.sql"):
        if file.name < BEFORE:
            shutil.copy(file, older)
    if isinstance(place, PostgresPlace):
        usual, postgres_migrations.POSTGRES_MIGRATIONS = (
            postgres_migrations.POSTGRES_MIGRATIONS,
            older,
        )
        postgres_migrations.migrate(Server.parse(place.url))
        postgres_migrations.POSTGRES_MIGRATIONS = usual
    else:
        migrate(place, older)
    texts = Texts(vocabulary)
    for first in range(0, size // PER_CONVERSATION, 500):
        numbers = range(first + 1, min(first + 500, size // PER_CONVERSATION) + 1)
        with connected(place) as db:
            rows: dict[str, list[tuple[Any, ...]]] = {_CONVERSATION: [], _TURN: [], _MESSAGE: []}
            for number in numbers:
                _conversation(rows, number, texts)
            for statement, values in rows.items():
                db.executemany(statement, values)
    if isinstance(place, PostgresPlace):
        with psycopg.connect(place.url, autocommit=True) as vacuum:
            vacuum.execute("VACUUM ANALYZE")


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


def _migrate(place: Place) -> None:
    if isinstance(place, PostgresPlace):
        postgres_migrations.migrate(Server.parse(place.url))
    else:
        files.migrate(place)


def _bytes(place: Place) -> int:
    if isinstance(place, PostgresPlace):
        return int(look(place, "SELECT pg_database_size(current_database())")[0][0])
    with closing(sqlite3.connect(place)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return place.stat().st_size
