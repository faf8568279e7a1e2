"""Several processes whose PostgreSQL restarts, is unreachable, or fails over to its replica.

No process dies, so there is no take-over: the answers wait, and continue in the same attempts.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.ports.cluster import LEASE_SECONDS
from tests.e2e.test_processes import finish, long_answer, several
from tests.kills.process_pool import ProcessPool
from tests.support.postgres_server import (
    MISSING,
    PostgresServer,
    _as_postgres,
    binaries,
    free_port,
    new_folder,
    own_server,
    prepare,
)

pytestmark = pytest.mark.skipif(binaries() is None, reason=MISSING)
DURABLE = {"synchronous_commit": "on"}


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as pool:
        yield pool


@pytest.mark.parametrize(
    "away",
    [pytest.param(0.0, marks=pytest.mark.soak), LEASE_SECONDS + 3.0],
    ids=["restart", "longer than a lease"],
)
async def test_an_outage_of_the_database_is_no_death(
    away: float, pool: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    with own_server() as server:
        prepare(server)
        url = server.create("threadline")
        async with several("slack", pool, tmp_path, url) as (scenario, bots):
            question, _ = await long_answer(scenario)
            await asyncio.to_thread(server.stop, signal.SIGINT)
            await asyncio.sleep(away)  # the outage itself: there is no condition to wait for
            await asyncio.to_thread(server.start)
            await scenario.wait_answered(question)
            await finish(scenario, figures)
            assert bots.query("SELECT max(attempt), max(deaths), max(failures) FROM turns") == [
                (1, 0, 0)
            ]


@contextmanager
def replica_of(primary: PostgresServer) -> Iterator[PostgresServer]:
    """A running streaming replica, which receives each commit before it is acknowledged."""
    replica = PostgresServer(new_folder(), free_port())
    tools, options = binaries(), _as_postgres()
    assert tools is not None
    command: list[Any] = [
        *(tools / "pg_basebackup", "-D", replica.folder / "data", "-h", "127.0.0.1"),
        *("-p", str(primary.port), "-U", "threadline", "-R", "-X", "stream", "-c", "fast"),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, **options)
        replica.start(DURABLE)
        primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.run("SELECT pg_reload_conf()")
        yield replica
    finally:
        replica.stop(signal.SIGQUIT)
        shutil.rmtree(replica.folder, ignore_errors=True)


async def test_a_failover_to_the_replica_loses_nothing(
    pool: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """DATABASE_URL names both hosts, and each process finds the one that accepts writes."""
    with own_server(DURABLE) as primary:
        prepare(primary)
        primary.create("threadline")
        with replica_of(primary) as replica:
            hosts = f"127.0.0.1:{primary.port},127.0.0.1:{replica.port}"
            url = f"postgresql://threadline@{hosts}/threadline?target_session_attrs=read-write"
            async with several("slack", pool, tmp_path, url) as (scenario, bots):
                question, _ = await long_answer(scenario)
                await asyncio.to_thread(primary.stop, signal.SIGQUIT)
                await asyncio.to_thread(replica.run, "SELECT pg_promote()")
                await scenario.wait_answered(question)
                await finish(scenario, figures)
                assert bots.query("SELECT max(deaths) FROM turns") == [(0,)]
