"""The search in up to 1,000,000 messages on SQLite, and in 100,000 on PostgreSQL: times, sizes, the
migration.

Each row is one kind of query, with several texts in turn. The bound is the index alone: the
statement that names the first 40 texts, which a search needs before it reads and compares them.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bot.domain.records import RecordScope
from bot.domain.search import parse_query
from bot.store import migrate as files
from bot.store.postgres import migrations as postgres_migrations
from bot.store.postgres.server import Server
from bot.store.search import _match
from bot.store.search_documents import TITLE_LIMIT
from bot.store.store import SqlStore
from tests.bench import search_corpus as corpus
from tests.bench.table import show
from tests.support.postgres_server import own_server
from tests.support.store_kit import Place, PostgresPlace, connected, look, opened

SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (10_000, 50_000)
PROVED = 10_000  # messages that are indexed both ways
LEFT = 2_000  # texts that the indexer indexes after the bulk, so that the index has small parts too
SEARCHES, SECONDS = 100, 2.0  # of each kind of query: whatever is reached first
HEAVY, LIGHT = RecordScope("web", "heavy", "general"), RecordScope("web", "light7", "general")


class Kind(NamedTuple):
    """A kind of query: whose texts, and what is searched for."""

    name: str
    scope: RecordScope
    texts: Sequence[str]


async def run(sizes: Sequence[int] = SIZES) -> None:
    """Print a table for each size and kind of database."""
    await on_sqlite(sizes)
    await on_postgres(sizes[:2])  # a million takes longer than all of SQLite's


async def quick() -> None:
    """The same with fewer messages."""
    await run(QUICK_SIZES)


async def on_sqlite(sizes: Sequence[int]) -> None:
    """Print SQLite's tables."""
    with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder:
        await _prove(Path(folder))
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder:
            await _measure("SQLite", Path(folder) / "search.db", size, Path(folder))


async def on_postgres(sizes: Sequence[int]) -> None:
    """Print PostgreSQL's tables."""
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder, own_server() as at:
            at.run("CREATE DATABASE search")
            await _measure("PostgreSQL", PostgresPlace(at.url("search")), size, Path(folder))


async def _prove(folder: Path) -> None:
    """Fail if the index that is built in bulk is not the indexer's."""
    words = corpus.vocabulary()
    places = [folder / "bulk.db", folder / "steps.db"]
    for place in places:
        corpus.build(place, PROVED, words, folder)
        _migrate(place)
    async with opened(places[0]) as store:
        corpus.index_in_bulk(places[0], store.search_indexer.index, leave=PROVED // 10)
        await store.search_indexer.finish()
    async with opened(places[1]) as store:
        await store.search_indexer.finish()
    assert corpus.same_index(*places)


async def _measure(name: str, place: Place, size: int, folder: Path) -> None:
    words = corpus.vocabulary()
    began = time.monotonic()
    corpus.build(place, size, words, folder)
    before, built = corpus.size_of(place), time.monotonic() - began
    began = time.monotonic()
    _migrate(place)
    migrated = time.monotonic() - began
    async with opened(place) as store:
        began = time.monotonic()
        corpus.index_in_bulk(place, store.search_indexer.index, leave=LEFT)
        indexed = time.monotonic() - began
        steps = await _index(store)
        corpus.vacuum(place)
        rows = [await _times(store, place, kind) for kind in _kinds(words)]
        overwritten = await _overwrite(store, place)
    show(
        f"Search in {size:,} messages, {name} (ms)",
        ("query", "p50", "p99", "max", "CPU", "index alone, p50", "ratio", "hits", "partial"),
        rows,
        f"rows written in {built:.0f} s, migration {migrated:.1f} s, indexed in bulk in"
        f" {indexed:.0f} s; {steps}; before {before / 1e6:,.0f} MB, with the index"
        f" {corpus.size_of(place) / 1e6:,.0f} MB; overwriting what was deleted: {overwritten}",
    )


def _migrate(place: Place) -> None:
    if isinstance(place, PostgresPlace):
        postgres_migrations.migrate(Server.parse(place.url))
    else:
        files.migrate(place)


async def _index(store: SqlStore) -> str:
    cost = time.process_time()
    await store.search_indexer.finish()
    return f"the indexer: {(time.process_time() - cost) / LEFT * 1e3:.2f} ms of CPU for a message"


# ── queries ───────────────────────────────────────────────────────────────────────────────────
def _kinds(words: list[str]) -> Iterator[Kind]:
    texts = dict(_texts(words))
    for person, scope in (("90 %", HEAVY), ("0.01 %", LIGHT)):
        for name, some in texts.items():
            yield Kind(f"{name} ({person})", scope, some)


def _texts(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    chance = random.Random(3)
    few = range(10)
    common, rare = words[:20], words[30_000:30_010]
    pairs = [chance.sample(common, 2) for _ in few]
    yield "common word", common[:10]
    yield "two common words", [" ".join(pair) for pair in pairs]
    yield "rare word", rare
    yield "common and rare word", [f"{words[each]} {rare[each]}" for each in few]
    yield "no hit", [f"zzzz{each}" for each in few]
    yield "beginning of three letters", ["con", "ter", "pro", "str", "tim"]
    yield "beginning of five letters", ["contr", "terme", "prode", "strea", "timeo"]
    for count, name in ((1, "one CJK character"), (2, "two CJK characters"), (3, "three")):
        yield name, ["".join(chance.choices(corpus.KANJI, k=count)) for _ in few]
    yield "phrase", [f'"{" ".join(pair)}"' for pair in pairs]
    yield "phrase that is nowhere", [f'"{one} {other} {one} {other}"' for one, other in pairs]
    yield "in:title", [f"in:title {word}" for word in common[5:15]]
    yield "before: of the first month", [f"{words[each]} before:2020-02" for each in few]
    yield "model: and a word", [f"{words[40 + each]} model:gpt-5" for each in few]
    yield "-common word", [f"{words[each + 1]} -{words[0]}" for each in few]


async def _times(store: SqlStore, place: Place, kind: Kind) -> list[str]:
    times, hits, partial_ones, cost = list[float](), list[int](), 0, time.process_time()
    search, until = store.search(), time.monotonic() + SECONDS
    for text in itertools.islice(itertools.cycle(kind.texts), SEARCHES):
        began = time.perf_counter()
        page = await search.search([kind.scope], parse_query(text))
        times.append((time.perf_counter() - began) * 1e3)
        hits.append(len(page.hits))
        partial_ones += page.is_partial
        if time.monotonic() > until:
            break
    cpu = (time.process_time() - cost) / len(times) * 1e3
    bound = await asyncio.to_thread(_bound, store, place, kind)
    middle, most = statistics.median(times), max(times)
    *_, p99 = statistics.quantiles(times, n=100, method="inclusive")
    figures = [f"{each:.1f}" for each in (middle, p99, most, cpu)]
    share = f"{partial_ones / len(times):.0%}" if partial_ones else ""
    found = str(round(statistics.median(hits)))
    return [kind.name, *figures, f"{bound:.2f}", f"{middle / bound:.1f}", found, share]


def _bound(store: SqlStore, place: Place, kind: Kind) -> float:
    """The milliseconds that the index takes for the numbers of the first texts: the median."""
    index, times = store.search_indexer.index, list[float]()
    matches = [_match([kind.scope], parse_query(text)) for text in kind.texts]
    with connected(place) as db:
        until = time.monotonic() + SECONDS
        for match in matches * 3:
            began = time.perf_counter()
            index.documents(
                db,
                match,
                low=0,
                high=TITLE_LIMIT,
                newest_first=True,
                limit=40,
                seconds=60.0,
            )
            times.append((time.perf_counter() - began) * 1e3)
            if time.monotonic() > until:
                break
    return statistics.median(times)


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
