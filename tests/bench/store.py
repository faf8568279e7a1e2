"""The store on PostgreSQL and SQLite: time per transition, and throughput of several processes.

The peer is a raw INSERT and commit on the same server, over TCP, in the same run: the best that
PostgreSQL and the machine can do. The server flushes each commit to memory, where the tests keep
its files; on a disk, the time of a flush is added to both.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import psycopg

from bot.common.clock import SystemClock
from bot.store.postgres.server import Server
from bot.store.postgres.store import PostgresStore
from bot.store.store import SqlStore
from tests.bench.table import show
from tests.support.postgres_server import PostgresServer, own_server, prepare
from tests.support.store_kit import ANSWER, PostgresPlace, key, opened, said

T = TypeVar("T")
TURNS = 400
TOGETHER = 16  # concurrent turns in each process
SECONDS = 6.0
PROCESSES = (1, 2, 4)
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
TRANSITIONS = ("accept", "claim", "record_intent", "record_shown", "conclude", "finish", "find")


async def run() -> None:
    """Print both tables."""
    await _measure(TURNS, SECONDS, PROCESSES)


async def quick() -> None:
    """A short run."""
    await _measure(50, 1.0, (1, 2))


async def _measure(turns: int, seconds: float, processes: tuple[int, ...]) -> None:
    with own_server(DURABLE) as server, tempfile.TemporaryDirectory() as folder:
        prepare(server)
        place = PostgresPlace(server.create("latency"))
        raw = _raw(server.url("latency"), turns)
        async with opened(place) as store:
            postgres = await _times(store, turns)
        async with opened(Path(folder) / "store.db") as store:
            sqlite = await _times(store, turns)
        rows = [
            (
                name,
                *_figures(postgres[name]),
                _figures(sqlite[name])[0],
                _ratio(postgres[name], raw),
            )
            for name in TRANSITIONS
        ]
        show(
            "One transition at a time (ms)",
            ("", "PostgreSQL p50", "p99", "SQLite p50", "times a raw INSERT"),
            [("raw INSERT and commit", *_figures(raw), "", ""), *rows],
        )
        _throughput(server, seconds, processes)


def _raw(url: str, count: int) -> list[float]:
    times = []
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE TABLE raw (id bigint PRIMARY KEY, text text)")
        for number in range(count):
            began = time.perf_counter()
            db.execute("INSERT INTO raw VALUES (%s, %s)", (number, "why?"))
            times.append(time.perf_counter() - began)
    return times


async def _times(store: SqlStore, count: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in TRANSITIONS}

    async def measure(name: str, call: Awaitable[T]) -> T:
        began = time.perf_counter()
        result = await call
        times[name].append(time.perf_counter() - began)
        return result

    for number in range(count):
        where = key(f"t{number}")
        accepted = await measure("accept", store.accept(said(number, where=where)))
        claim = await measure("claim", store.claim(accepted.conversation or 0))
        assert claim is not None
        await measure("record_intent", store.record_intent(claim.fence, 0))
        page = f"r{number}"
        await measure(
            "record_shown", store.record_shown(claim.fence, 0, channel="c1", message_id=page)
        )
        await measure("conclude", store.conclude(claim.fence, ANSWER))
        await measure("finish", store.finish(claim.fence))
        await measure("find", store.find(where))
    return times


def _figures(times: list[float]) -> tuple[str, str]:
    cuts = statistics.quantiles(times, n=100)
    return f"{cuts[49] * 1_000:.2f}", f"{cuts[98] * 1_000:.2f}"


def _ratio(times: list[float], raw: list[float]) -> str:
    return f"{statistics.median(times) / statistics.median(raw):.1f}"


# ── several processes ─────────────────────────────────────────────────────────────────────────
def _throughput(server: PostgresServer, seconds: float, processes: tuple[int, ...]) -> None:
    rows = []
    for count in processes:
        url = server.create(f"together_{count}")
        command = [sys.executable, "-m", "tests.bench.store", url, str(seconds)]
        started = [
            subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE) for n in range(count)
        ]
        turns = sum(int(process.communicate()[0]) for process in started)
        rows.append((str(count), f"{turns / seconds:.0f}", f"{6 * turns / seconds:.0f}"))
    show("Several processes", ("processes", "turns/s", "transitions/s"), rows)


async def _work(url: str, seconds: float, number: int) -> int:
    """Run whole turns of this process's conversations for some seconds; returns their number."""
    turns = 0
    until = time.monotonic() + seconds

    async def converse(lane: int, turn: Callable[[int], Awaitable[None]]) -> None:
        nonlocal turns
        while time.monotonic() < until:
            await turn(lane)
            turns += 1

    async with PostgresStore.open(Server.parse(url), clock=SystemClock()) as store:
        await asyncio.gather(*(converse(lane, _turn_of(store, number)) for lane in range(TOGETHER)))
    return turns


def _turn_of(store: SqlStore, process: int) -> Callable[[int], Awaitable[None]]:
    async def turn(lane: int) -> None:
        where = key(f"p{process}-{lane}", channel=f"c{process}-{lane}")
        accepted = await store.accept(said(time.monotonic_ns(), where=where))
        claim = await store.claim(accepted.conversation or 0)
        assert claim is not None
        await store.record_intent(claim.fence, 0)
        page = f"r{time.monotonic_ns()}"
        await store.record_shown(claim.fence, 0, channel=where.channel, message_id=page)
        await store.conclude(claim.fence, ANSWER)
        await store.finish(claim.fence)

    return turn


if __name__ == "__main__":
    print(asyncio.run(_work(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))
