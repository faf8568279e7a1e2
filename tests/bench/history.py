"""History reads in conversations of growing size, compared with the bare query in the same run.

The time must not grow with the history (invariant 9). On top of the query, the store switches
threads twice and converts rows to values. A second table measures writes: how long concurrent
messages wait for their group commit.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bot.common.clock import SystemClock
from bot.domain.conversations import Author, ConversationKey
from bot.domain.inbox import Address, Incoming
from bot.store.migrate import migrate
from bot.store.sqlite import SqliteStore
from tests.bench.table import show

SIZES = (1_000, 10_000, 100_000, 1_000_000)
READS = 2_000
ROWS = 20
BATCHES = (1, 10, 100)
ROUNDS = 20
TEXT = "A message of the usual length, as people write it in a thread that continues for a while. "
QUERY = (
    "SELECT role, content, author_id, author_name, idx, id, created_at FROM messages"
    " WHERE conversation_id = 1 AND epoch = 1 AND idx < ? AND erased_at IS NULL"
    " ORDER BY idx DESC LIMIT ?"
)


async def run() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder:
        rows = [await _measure(Path(folder) / f"{size}.db", size) for size in SIZES]
        show(
            f"History: {ROWS} rows (µs)",
            ("messages", "store p50", "p99", "bare query p50", "p99", "ratio p50"),
            [[f"{size:,}", *figures] for size, figures in zip(SIZES, rows, strict=True)],
            f"ratio of {SIZES[-1]:,} to {SIZES[0]:,} messages: "
            f"{float(rows[-1][0]) / float(rows[0][0]):.2f} (store p50)",
        )
        await _accepts(Path(folder) / "accepts.db")


# ── reading ───────────────────────────────────────────────────────────────────────────────────
async def _measure(path: Path, size: int) -> list[str]:
    await asyncio.to_thread(_build, path, size)
    step = max(1, size // READS)
    befores = [size - (n * step) % (size - ROWS) for n in range(READS)]
    bare, through = [], []
    async with SqliteStore.open(path, clock=SystemClock()) as store:
        with closing(sqlite3.connect(path)) as db:
            for (
                before
            ) in befores:  # alternating, so that both get the same caches and the same load
                bare.append(_bare(db, before))
                through.append(await _through(store, before))
    figures = (*_quantiles(through), *_quantiles(bare))
    return [*(f"{value:.0f}" for value in figures), f"{figures[0] / figures[2]:.1f}"]


def _bare(db: sqlite3.Connection, before: int) -> float:
    began = time.perf_counter()
    assert len(db.execute(QUERY, (before, ROWS)).fetchall()) == ROWS
    return (time.perf_counter() - began) * 1e6


async def _through(store: SqliteStore, before: int) -> float:
    began = time.perf_counter()
    assert len(await store.history(1, epoch=1, before=before, limit=ROWS)) == ROWS
    return (time.perf_counter() - began) * 1e6


def _build(path: Path, size: int) -> None:
    """Create one conversation of `size` messages, half of them replies."""
    migrate(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        with db:
            db.execute(
                "INSERT INTO conversations (id, platform, workspace, channel, thread, name,"
                " next_index, visibility, created_at, updated_at)"
                " VALUES (1, 'bench', 'w', 'c', 't', 'long', ?, 'private', 0, 0)",
                (size,),
            )
            db.executemany(
                "INSERT INTO messages (conversation_id, epoch, idx, role, kind, content,"
                " author_id, author_name, source, position, created_at)"
                " VALUES (1, 1, ?, ?, 'history', ?, ?, ?, ?, ?, ?)",
                _messages(size),
            )


def _messages(size: int) -> Iterator[tuple[object, ...]]:
    for n in range(size):
        person = (f"U{n % 9}", "Ann", f"bench/w/c/{n}")
        role, author = ("assistant", (None, None, None)) if n % 2 else ("user", person)
        yield (n, role, TEXT, *author, n, float(n))


# ── writing ───────────────────────────────────────────────────────────────────────────────────
async def _accepts(path: Path) -> None:
    async with SqliteStore.open(path, clock=SystemClock()) as store:
        await _batch(store, 0, 10)  # warm-up: the first ones extend the file
        rows = []
        for batch in BATCHES:
            waits = [
                wait
                for n in range(ROUNDS)
                for wait in await _batch(store, (batch + 1) * 100_000 + n * batch, batch)
            ]
            rows.append([str(batch), *(f"{value / 1e3:.2f}" for value in _quantiles(waits))])
    show("Messages accepted concurrently, durable (ms)", ("messages", "p50", "p99"), rows)


async def _batch(store: SqliteStore, start: int, count: int) -> list[float]:
    """How long each of `count` concurrent first messages waits, in µs."""

    async def accept(number: int) -> float:
        began = time.perf_counter()
        await store.accept(_said(number))
        return (time.perf_counter() - began) * 1e6

    return list(await asyncio.gather(*(accept(start + n) for n in range(count))))


def _said(number: int) -> Incoming:
    return Incoming(
        key=ConversationKey("bench", "w", "c", str(number)),
        channel="c",
        message_id=str(number),
        position=number,
        author=Author("U1", "Ann"),
        text=TEXT,
        address=Address.MENTION,
        sent_at=0.0,
    )


def _quantiles(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), statistics.quantiles(values, n=100)[98]
