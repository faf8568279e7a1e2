"""Several processes on one PostgreSQL: time from event to model request, compared with a raw INSERT
and NOTIFY.

The server writes to the disk of the temporary directory with its default durability. Slack's
simulator gives the events to the processes in turn. Also measures the cost of an idle process.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.bench.latency import BETWEEN, _quantiles, _text
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import SlackDriver
from tests.support.postgres_server import (
    PostgresServer,
    _as_postgres,
    free_port,
    initialize,
    prepare,
)

PROCESSES = (1, 2, 4)
QUESTIONS, SIGNALS = 100, 300
IDLE_SECONDS = 20.0
SETTLE_SECONDS = 8.0  # seconds in which a start reads what it missed


async def run() -> None:
    """Print the table."""
    print(f"{'ms, on one machine with the simulators':44}{'p50':>8} {'p99':>8}")
    with durable_server() as server:
        prepare(server)
        _print("INSERT, commit, NOTIFY → heard", await raw(server))
        await measure(server, "", 1)
        for count in PROCESSES:
            await measure(server, server.create(f"bench{count}"), count)


async def measure(server: PostgresServer, url: str, count: int) -> None:
    """Print the figures of `count` processes; without `url`, of one process on SQLite."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="threadline-bench-")))
        sim = await stack.enter_async_context(SlackSim())
        model = await stack.enter_async_context(ModelSim())
        driver = SlackDriver(sim)
        environ = {
            **driver.settings(), "LLM": "openai:sim", "OPENAI_BASE_URL": model.base_url,
            **({"DATABASE_URL": url} if url else {}),
        }  # fmt: skip
        bots = [BotProcess(folder / str(number), environ) for number in range(count)]
        for bot in bots:
            bot.folder.mkdir()
            await stack.enter_async_context(bot)
        await sim.connected(count)
        await asyncio.sleep(SETTLE_SECONDS)
        name = f"{count} on PostgreSQL" if url else "1 on SQLite"
        _print(f"event → model request, {name}", await questions(driver, model))
        (rows,) = server.run(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", f"bench{count}"
        )
        await asyncio.sleep(SETTLE_SECONDS)
        before = sum(cpu(bot.pid) for bot in bots)
        await asyncio.sleep(IDLE_SECONDS)
        idle = (sum(cpu(bot.pid) for bot in bots) - before) / IDLE_SECONDS / count
        print(f"  idle: {idle:.2%} of a core and {rows[0] / count:.0f} connections a process")


async def questions(driver: SlackDriver, model: ModelSim) -> list[float]:
    """Milliseconds from each event to its model request."""
    names = [f"question {n:03d}" for n in range(QUESTIONS)]
    await model.script(*(Answer(match=name, text=_text(n)) for n, name in enumerate(names)))
    asked = []
    for name in names:
        thread = await driver.mention(name)
        asked.append(await driver.question_time(thread))
        await asyncio.sleep(BETWEEN * 5)
    found = []
    for name, at in zip(names, asked, strict=True):

        async def there(name: str = name) -> bool:
            return any(name in str(record.body) for record in await model.streams())

        await driver.sim.until(there, 60)
        record = await model.last(name)
        found.append((record.at - at) * 1e3)
    return found


async def raw(server: PostgresServer) -> list[float]:
    """Milliseconds from just before an INSERT until another connection is notified of it."""
    url = server.create("bench_raw")
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as writer,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as listener,
    ):
        await writer.execute("CREATE TABLE queue (id bigint PRIMARY KEY)")
        await listener.execute("LISTEN queue")
        found = []
        for number in range(SIGNALS):
            began = time.perf_counter()
            async with writer.transaction():
                await writer.execute("INSERT INTO queue VALUES (%s)", (number,))
                await writer.execute("NOTIFY queue")
            async for _ in listener.notifies(stop_after=1):
                found.append((time.perf_counter() - began) * 1e3)
        return found


def cpu(pid: int) -> float:
    """The CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def durable_server() -> Iterator[PostgresServer]:
    """A server on the disk with PostgreSQL's default durability."""
    folder = Path(tempfile.mkdtemp(prefix="threadline-pg-"))
    options = _as_postgres()
    if options:
        os.chown(folder, options["user"], options["group"])
    server = PostgresServer(folder, free_port())
    try:
        initialize(folder)
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def _print(name: str, values: list[float]) -> None:
    print(f"{name:44}" + " ".join(f"{value:8.1f}" for value in _quantiles(values)))


if __name__ == "__main__":
    asyncio.run(run())
