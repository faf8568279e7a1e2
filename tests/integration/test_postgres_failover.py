"""PostgreSQL fails over to a standby, and its disk fills up: with real servers and a real disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.common.clock import SystemClock
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Receipt
from bot.store.postgres.server import Server
from bot.store.postgres.store import PostgresStore
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
from tests.support.store_kit import key, said

NEEDS_POSTGRES = pytest.mark.skipif(binaries() is None, reason=MISSING)


@contextmanager
def standby_of(primary: PostgresServer) -> Iterator[PostgresServer]:
    """A server that follows another one."""
    standby = PostgresServer(new_folder(), free_port())
    source = f"host=127.0.0.1 port={primary.port} user=threadline"
    command = [
        f"{binaries()}/pg_basebackup", "--no-sync", "--checkpoint=fast", "--write-recovery-conf",
        f"--dbname={source}", f"--pgdata={standby.folder}/data",
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, **_as_postgres())
        standby.start({"fsync": "off"})
        yield standby
    finally:
        standby.stop(signal.SIGQUIT)
        shutil.rmtree(standby.folder, ignore_errors=True)


@NEEDS_POSTGRES
async def test_a_failover_loses_nothing_that_was_acknowledged() -> None:
    with own_server({"synchronous_commit": "on"}) as primary:
        prepare(primary)
        primary.create("team")
        with standby_of(primary) as standby:
            primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.run("SELECT pg_reload_conf()")
            hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
            server = Server.parse(f"postgresql://threadline@{hosts}/team")
            async with PostgresStore.open(server, clock=SystemClock()) as store:
                for number in range(10):
                    await store.accept(said(number, where=key(f"t{number}")))
                primary.stop(signal.SIGQUIT)
                with pytest.raises(StoreUnavailable):  # no server accepts writes
                    await store.accept(said(99))
                standby.run("SELECT pg_promote(wait => true)")
                found = [await store.accept(said(n, where=key(f"t{n}"))) for n in range(11)]
                assert [each.receipt for each in found] == [Receipt.KNOWN] * 10 + [Receipt.QUESTION]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 32 MB that the server can write to; only root can mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        owner = _as_postgres()
        os.chown(folder, owner["user"], owner["group"])
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@NEEDS_POSTGRES
async def test_a_full_disk_is_reported_until_there_is_room() -> None:
    with own_server({"synchronous_commit": "on"}) as server:
        prepare(server)
        with small_disk(server.folder / "small") as disk:
            server.run(f"CREATE TABLESPACE small LOCATION '{disk}'")
            server.run("CREATE DATABASE team TEMPLATE threadline_template TABLESPACE small")
            parsed = Server.parse(server.url("team"))
            async with PostgresStore.open(parsed, clock=SystemClock()) as store:
                await store.accept(said(1))
                filler = disk / "filler"
                with filler.open("wb", 0) as file, pytest.raises(OSError, match="No space"):
                    while True:
                        file.write(b"\0" * 4_096)
                with pytest.raises(StoreUnavailable, match="the disk is full"):
                    for number in range(2, 200):
                        text = os.urandom(8_000).hex()  # an incompressible page
                        await store.accept(said(number, text))
                assert not store.health().ok
                filler.unlink()
                assert (await store.accept(said(500))).receipt is Receipt.QUESTION
