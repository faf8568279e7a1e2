"""PostgreSQL that restarts, freezes, or refuses or loses connections: a real server, real
sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import chain

import psycopg
import pytest

from bot.common.clock import SystemClock
from bot.config.settings import Settings
from bot.domain.errors import MigrationError, StoreUnavailable
from bot.domain.inbox import Receipt
from bot.domain.privacy import Person
from bot.domain.records import RecordScope
from bot.ports.clock import Clock
from bot.store.database import Database
from bot.store.health import PROBE_SECONDS
from bot.store.migrate import load
from bot.store.open_store import START_SECONDS, open_store
from bot.store.postgres.errors import unavailable
from bot.store.postgres.migrations import FIRST, POSTGRES_MIGRATIONS, migrate, status
from bot.store.postgres.pool import Limits
from bot.store.postgres.server import Server
from bot.store.postgres.store import PostgresStore
from tests.support.clock import ManualClock
from tests.support.postgres_proxy import PostgresProxy, running_proxy
from tests.support.postgres_server import (
    MISSING,
    PostgresServer,
    binaries,
    own_server,
    prepare,
)
from tests.support.store_kit import answer_next, claim_next, key, said, until

QUICK = Limits(statement=5.0, lock=0.2, idle=1.0, call=10.0)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server for this module alone, whose tests break it."""
    if binaries() is None:
        pytest.skip(MISSING)
    # The server is killed, never the machine. It has room for about 1,000 locks.
    settings = {
        "synchronous_commit": "on",
        "max_connections": "60",
        "max_locks_per_transaction": "10",
    }
    with own_server(settings) as server:
        prepare(server)
        yield server


@pytest.fixture
def database(server: PostgresServer) -> Iterator[str]:
    name = f"faults_{time.monotonic_ns()}"
    server.create(name)
    yield name
    server.drop(name)


@pytest.fixture
async def store(server: PostgresServer, database: str) -> AsyncIterator[PostgresStore]:
    async with open_at(server.url(database)) as store:
        yield store


def open_at(url: str, limits: Limits = QUICK) -> AbstractAsyncContextManager[PostgresStore]:
    return PostgresStore.open(Server.parse(url), clock=SystemClock(), limits=limits)


@dataclass
class Proxied:
    proxy: PostgresProxy
    store: PostgresStore


@pytest.fixture
async def behind_proxy(server: PostgresServer, database: str) -> AsyncIterator[Proxied]:
    async with (
        running_proxy(server.port) as proxy,
        open_at(f"postgresql://threadline@127.0.0.1:{proxy.port}/{database}") as store,
    ):
        yield Proxied(proxy, store)


# ── connections ───────────────────────────────────────────────────────────────────────────────
async def test_connections_that_were_cut_while_idle_are_replaced(behind_proxy: Proxied) -> None:
    await behind_proxy.store.accept(said(1))
    behind_proxy.proxy.cut_all()
    assert (await behind_proxy.store.accept(said(2))).receipt is Receipt.QUESTION
    assert await behind_proxy.store.find(key()) is not None


async def test_a_transaction_that_lost_its_connection_runs_again(behind_proxy: Proxied) -> None:
    behind_proxy.proxy.cut_after = b"INSERT INTO messages"
    accepted = await behind_proxy.store.accept(said(1))
    assert accepted.receipt is Receipt.QUESTION
    assert behind_proxy.proxy.cuts == 1
    assert len((await claim_next(behind_proxy.store, accepted.conversation)).questions) == 1


async def test_a_commit_without_an_answer_is_looked_up(behind_proxy: Proxied) -> None:
    """The server executed it, so the caller gets the result instead of an error, and nothing
    happens twice."""
    accepted = await behind_proxy.store.accept(said(1))
    claim = await claim_next(behind_proxy.store, accepted.conversation)
    behind_proxy.proxy.cut_after = b"COMMIT"
    await behind_proxy.store.record_intent(claim.fence, 0)
    assert behind_proxy.proxy.cuts == 1
    assert (await claim_next(behind_proxy.store, 1)).fence.attempt == 2


def role_with(server: PostgresServer, database: str, *, connections: int) -> str:
    """Create a role that may use the database, and return its name."""
    role = f"role_{database}"
    server.run(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT {connections}")
    with psycopg.connect(server.url(database)) as db:
        for schema in ("public", "threadline_erased"):
            db.execute(f"GRANT ALL ON SCHEMA {schema} TO {role}")
            db.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}")
    return role


async def test_a_server_with_room_for_few_connections_serves_everyone(
    server: PostgresServer, database: str
) -> None:
    """Hosted databases limit the connections of a role, often to fewer than a process wants."""
    role = role_with(server, database, connections=6)
    place = server.url(database).replace("threadline@", f"{role}@")
    async with open_at(place, Limits()) as store:
        messages = [said(number, where=key(f"t{number}")) for number in range(60)]
        accepted = await asyncio.gather(*map(store.accept, messages))
    assert {each.receipt for each in accepted} == {Receipt.QUESTION}


async def test_a_database_that_cannot_be_reached_is_reported_without_the_password() -> None:
    url = "postgresql://ann:hunter2@127.0.0.1:1/team"
    with pytest.raises(StoreUnavailable, match=r"database team at 127\.0\.0\.1 cannot be reached"):
        async with open_at(url):
            pass


async def test_operations_that_come_after_the_end_are_refused(
    server: PostgresServer, database: str
) -> None:
    async with open_at(server.url(database)) as store:
        pass
    with pytest.raises(StoreUnavailable, match="is closed"):
        await store.accept(said(1))


async def test_another_of_several_hosts_is_used(server: PostgresServer, database: str) -> None:
    """DATABASE_URL names the servers of a cluster; the one that takes writes is used."""
    url = f"postgresql://threadline@127.0.0.1:1,127.0.0.1:{server.port}/{database}"
    async with open_at(url) as store:
        assert (await store.accept(said(1))).receipt is Receipt.QUESTION


async def test_nothing_depends_on_a_session(server: PostgresServer, database: str) -> None:
    """No prepared statement, setting or lock persists, as required behind PgBouncer in transaction
    mode."""
    target = Server.parse(server.url(database), prepares=False)
    async with PostgresStore.open(target, clock=SystemClock(), connections=3) as store:
        for number in range(8):
            await store.accept(said(number))
            await answer_next(store, 1)
        left = await store._read(
            lambda db: db.execute(
                "SELECT (SELECT count(*) FROM pg_prepared_statements) AS prepared,"
                " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS locks"
            ).fetchone()
        )
        assert (left["prepared"], left["locks"]) == (0, 0)


async def test_a_newer_release_may_add_columns_while_this_one_runs(
    store: PostgresStore, server: PostgresServer, database: str
) -> None:
    """Statements prepared for the old tables are prepared again."""
    for number in range(10):
        accepted = await store.accept(said(number, where=key(f"t{number}")))
        await answer_next(store, accepted.conversation)
        assert await store.find(key(f"t{number}")) is not None
    for table in ("conversations", "turns", "messages", "pages"):
        server.run(f"ALTER TABLE {table} ADD COLUMN newer BIGINT DEFAULT 0", database=database)
    for number in range(10, 14):
        accepted = await store.accept(said(number, where=key(f"t{number}")))
        await answer_next(store, accepted.conversation)
        assert await store.find(key(f"t{number}")) is not None


async def test_a_conversation_with_thousands_of_files_can_be_deleted(
    store: PostgresStore, server: PostgresServer, database: str
) -> None:
    """PostgreSQL has room for a limited number of locks, shared by all transactions."""
    await store.accept(said(1))
    server.run(
        "INSERT INTO files (digest, size, is_staged, created_at)"
        " SELECT md5(n::text), 0, 0, 0 FROM generate_series(1, 4000) AS n",
        database=database,
    )
    server.run(
        "INSERT INTO attachments (uid, message_id, number, identity, name, media_type, locator,"
        " transcript, is_link, is_paste, is_voice, digest, state, created_at)"
        " SELECT n::text, 1, n, '', '', '', '{}', '', 0, 0, 0, md5(n::text), 'pending', 0"
        " FROM generate_series(1, 4000) AS n",
        database=database,
    )
    [(uid,)] = server.run("SELECT uid FROM conversations", database=database)
    await store.library().delete(uid, RecordScope("sim", "w1"))
    assert server.run("SELECT count(*) FROM files", database=database) == [(0,)]


async def test_files_are_read_during_a_vacuum(
    store: PostgresStore, server: PostgresServer, database: str
) -> None:
    """On a large database, a vacuum takes minutes."""
    with psycopg.connect(server.url(database)) as other:
        other.execute("LOCK TABLE audit IN SHARE UPDATE EXCLUSIVE MODE")
        vacuum = asyncio.create_task(store.privacy().overwrite())
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'VACUUM%' AND wait_event_type = 'Lock'"
        )
        await until(lambda: bool(server.run(waiting)))
        assert await store.attachments().read_bytes("0" * 64) is None
        assert not vacuum.done()
    assert await vacuum


async def test_an_erasure_delays_only_its_conversation(
    store: PostgresStore, server: PostgresServer, database: str
) -> None:
    """Erasing a conversation of thousands of messages takes seconds."""
    await store.accept(said(1))
    with psycopg.connect(server.url(database)) as other:
        other.execute("SELECT 1 FROM messages WHERE conversation_id = 1 FOR UPDATE")
        person = Person("sim", "w1", "U1")
        erasure = asyncio.create_task(store.privacy().erase_in(1, person, time.time()))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await until(lambda: bool(server.run(waiting)))
        assert (await store.accept(said(2, where=key("t2")))).receipt is Receipt.QUESTION
        assert not erasure.done()
    assert (await erasure).erased.messages == 1


# ── time limits ───────────────────────────────────────────────────────────────────────────────
async def test_a_frozen_server_does_not_hold_a_caller(
    server: PostgresServer, database: str
) -> None:
    async with open_at(server.url(database), Limits(call=0.5)) as store:
        await store.accept(said(1))
        rows = server.run("SELECT pid FROM pg_stat_activity WHERE datname = %s", database)
        for (pid,) in rows:
            os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="did not answer in time"):
                await store.accept(said(2))
        finally:
            for (pid,) in rows:
                os.kill(pid, signal.SIGCONT)
        assert (await store.accept(said(3))).receipt is Receipt.QUESTION


async def test_a_frozen_server_does_not_hold_the_end(server: PostgresServer, database: str) -> None:
    """A caller that was cancelled leaves no thread behind that waits for the server."""
    rows: list[tuple[int]] = []
    try:
        async with asyncio.timeout(60), open_at(server.url(database), Limits(call=0.5)) as store:
            await store.accept(said(1))
            rows = server.run("SELECT pid FROM pg_stat_activity WHERE datname = %s", database)
            for (pid,) in rows:
                os.kill(pid, signal.SIGSTOP)
            accepting = asyncio.create_task(store.accept(said(2)))
            await asyncio.sleep(0)
            accepting.cancel()
    finally:
        for (pid,) in rows:
            os.kill(pid, signal.SIGCONT)
    assert accepting.cancelled()


async def test_a_lock_that_another_program_holds_is_reported(
    store: PostgresStore, server: PostgresServer, database: str
) -> None:
    with psycopg.connect(server.url(database)) as other:
        other.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match="was locked by another transaction"):
            await store.accept(said(1))
    assert (await store.accept(said(1))).receipt is Receipt.QUESTION


async def test_a_process_that_stops_inside_a_transaction_loses_its_locks(
    store: PostgresStore, server: PostgresServer, database: str
) -> None:
    """The process hangs, as after SIGSTOP; the server ends its transaction, and others continue."""
    stopped, resume = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def stop(db: Database) -> None:
        db.execute("UPDATE conversations SET name = 'from a zombie'")
        loop.call_soon_threadsafe(stopped.set)
        resume.wait(30)
        db.execute("UPDATE conversations SET name = 'from a zombie'")

    async with open_at(server.url(database)) as other:
        await other.accept(said(1))
        zombie = asyncio.create_task(store._write(stop))
        await stopped.wait()
        async with asyncio.timeout(20):
            while True:
                try:
                    await other.accept(said(2))
                    break
                except StoreUnavailable:  # still locked
                    continue
        stopped.clear()
        resume.set()
        await zombie  # it ran again, from the beginning


# ── the server ────────────────────────────────────────────────────────────────────────────────
async def test_a_restart_of_the_server_is_survived(server: PostgresServer, database: str) -> None:
    """Every acknowledged message is still there, and the failure ends with the restart."""
    clock = ManualClock()
    parsed = Server.parse(server.url(database))
    async with PostgresStore.open(parsed, clock=clock, limits=QUICK) as store:
        acknowledged = [number for number in range(5) if await store.accept(said(number))]
        conversation = (await store.accept(said(0))).conversation
        server.stop(signal.SIGQUIT)
        with pytest.raises(StoreUnavailable):
            await store.accept(said(99))
        assert not store.health().ok
        assert "127.0.0.1" not in str(store.health().details)
        server.start({"fsync": "off"})
        acknowledged += [number for number in range(5, 10) if await store.accept(said(number))]
        await clock.advance(PROBE_SECONDS)
        while not store.health().ok:
            await store.accept(said(10))
        claim = await claim_next(store, conversation)
        assert [q.message_id for q in claim.questions][:10] == [f"m{n}" for n in acknowledged]


async def test_a_read_only_server_is_reported(store: PostgresStore, server: PostgresServer) -> None:
    await store.accept(said(1))
    server.run("ALTER SYSTEM SET default_transaction_read_only = on")
    server.run("SELECT pg_reload_conf()")
    try:
        with pytest.raises(StoreUnavailable, match="is read-only"):
            while True:  # the server reads its settings again a moment later
                await store.record_command(f"c{time.monotonic_ns()}")
        assert await store.find(key()) is not None
    finally:
        server.run("ALTER SYSTEM RESET ALL")
        server.run("SELECT pg_reload_conf()")


async def test_a_bug_does_not_count_as_a_failure_of_the_database(store: PostgresStore) -> None:
    def dangling(db: Database) -> None:
        db.execute("INSERT INTO summaries VALUES (9, 1, 1, '', '', 0)")

    with pytest.raises(psycopg.IntegrityError):
        await store._write(dangling)
    assert store.health().ok
    await store.accept(said(1))
    await answer_next(store, 1)


async def test_a_cancelled_call_is_complete_or_did_nothing(store: PostgresStore) -> None:
    for number in range(30):
        task = asyncio.create_task(store.accept(said(number, where=key(f"t{number}"))))
        await asyncio.sleep(0)
        if number % 2:
            await asyncio.sleep(0.001)
        task.cancel()
    accepted = [await store.accept(said(n, where=key(f"t{n}"))) for n in range(30)]
    assert all(each.turn for each in accepted)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("53100", "the disk is full"),
        ("53300", "too many connections"),
        ("57P03", "shutting down, starting or recovering"),
        ("28P01", "refuses the user or the password"),
        ("XX001", "is damaged"),
        ("42P05", "set DATABASE_PREPARED_STATEMENTS=false"),
        ("0A999", "failed (0A999)"),
    ],
)
def test_the_sentence_says_what_to_do(code: str, sentence: str) -> None:
    error = psycopg.OperationalError()
    error.sqlstate = code
    assert sentence in str(unavailable("team at db", error))


# ── migrations ────────────────────────────────────────────────────────────────────────────────
def test_processes_that_migrate_at_the_same_time_do_it_once(server: PostgresServer) -> None:
    name = f"fresh_{time.monotonic_ns()}"
    server.create(name, template="template0")
    target = Server.parse(server.url(name))
    assert status(target).applied == ()
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate(target))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = list(status(target).applied)
    assert names
    assert status(target).pending == ()
    assert sorted(each for names_of_one in applied for each in names_of_one) == names
    server.drop(name)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            "INSERT INTO migrations VALUES (9000, '9000_later', 'x', 0)",
            "written by a newer Threadline",
        ),
        ("UPDATE migrations SET sha256 = 'x'", "is not what was applied"),
    ],
)
def test_a_database_of_another_version_is_refused(
    server: PostgresServer, database: str, statement: str, problem: str
) -> None:
    server.run(statement, database=database)
    with pytest.raises(MigrationError, match=problem):
        migrate(Server.parse(server.url(database)))


def test_another_programs_database_is_refused(server: PostgresServer) -> None:
    name = f"theirs_{time.monotonic_ns()}"
    server.create(name, template="template0")
    server.run("CREATE TABLE invoices (id int)", database=name)
    with pytest.raises(MigrationError, match="another program's table invoices"):
        migrate(Server.parse(server.url(name)))
    server.drop(name)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_store_every_text_is_refused(
    server: PostgresServer, encoding: str
) -> None:
    """A cluster that was created under LANG=C has SQL_ASCII."""
    name = f"{encoding}_{time.monotonic_ns()}".lower()
    server.run(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    for command in (migrate, status):
        with pytest.raises(MigrationError, match=f"has the encoding {encoding}: create one with"):
            command(Server.parse(server.url(name)))
    server.drop(name)


async def test_texts_are_stored_whatever_encoding_the_environment_names(
    server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    async with open_at(server.url(database)) as store:
        accepted = await store.accept(said(1, "日本 😀"))
        assert (await claim_next(store, accepted.conversation)).questions[0].text == "日本 😀"


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_the_databases_default_isolation_changes_nothing(
    server: PostgresServer, level: str
) -> None:
    name = f"isolated_{time.monotonic_ns()}"
    server.create(name, template="template0")
    server.run(f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")
    with ThreadPoolExecutor(2) as threads:  # two processes of a new release
        done = list(threads.map(migrate, [Server.parse(server.url(name))] * 2))
    assert sorted(chain(*done)) == [each.name for each in load(POSTGRES_MIGRATIONS, first=FIRST)]
    async with open_at(server.url(name), Limits()) as store:
        accepted = await asyncio.gather(*(store.accept(said(number)) for number in range(30)))
    assert {each.conversation for each in accepted} == {1}
    server.drop(name)


# ── starts ────────────────────────────────────────────────────────────────────────────────────
class HurriedClock(SystemClock):
    """A clock whose sleeps pass immediately, after `before` has run."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self._before, self.slept = before, 0.0

    def monotonic(self) -> float:
        return self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.to_thread(self._before)


async def start_on(url: str, clock: Clock) -> None:
    """Open the store as a start of the bot does, and leave."""
    async with open_store(Settings(database_url=url), clock):
        pass


async def test_a_start_waits_for_a_server_that_restarts(
    server: PostgresServer, database: str
) -> None:
    """Another process of the bot may be killed while the server is down."""
    server.stop()
    clock = HurriedClock(lambda: server.process or server.start())
    await start_on(server.url(database), clock)
    assert clock.slept > 0


async def test_a_start_waits_until_other_processes_free_connections(
    server: PostgresServer, database: str
) -> None:
    role = role_with(server, database, connections=6)
    place = server.url(database).replace("threadline@", f"{role}@")
    old = [psycopg.connect(place) for _ in range(6)]
    await start_on(place, HurriedClock(lambda: [each.close() for each in old]))


async def test_a_start_gives_up_a_server_that_stays_away() -> None:
    clock = HurriedClock()
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await start_on("postgresql://ann@127.0.0.1:1/team", clock)
    assert START_SECONDS / 2 < clock.slept <= START_SECONDS


async def test_a_start_does_not_wait_for_a_database_that_does_not_exist(
    server: PostgresServer,
) -> None:
    clock = HurriedClock()
    with pytest.raises(StoreUnavailable, match="does not exist"):
        await start_on(server.url("nowhere"), clock)
    assert clock.slept == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            'FATAL:  password authentication failed for user "ann"',
            "refuses the user or the password",
        ),
        ('FATAL:  role "ann" does not exist', "refuses the user or the password"),
        ('FATAL:  database "team" does not exist', "does not exist"),
        ("FATAL:  the database system is starting up", "starting or recovering"),
        ("FATAL:  sorry, too many clients already", "too many connections"),
        ('FATAL:  too many connections for role "ann"', "too many connections"),
        ("FATAL:  no more connections allowed (max_client_conn)", "too many connections"),
        ("Connection refused", "cannot be reached"),
    ],
)
def test_a_refused_connection_is_named_by_the_servers_words(words: str, sentence: str) -> None:
    """libpq reports no code; the password is never repeated."""
    error = psycopg.OperationalError(f"connection failed: port 5432 failed: {words}")
    assert sentence in str(unavailable("team at db", error))
