"""Connections on threads of their own: one that writes, in shared commits, and a few that read.

Invariant: a transaction is one function on one hop to the writer's thread. Whoever waits for it
may be cancelled at any moment: the transaction commits whole or leaves nothing.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import aiosqlite

from bot.domain.errors import StoreUnavailable
from bot.store.errors import translated

T = TypeVar("T")

# One commit takes at most this many transactions with it: some 3 ms of work, so that the first of
# a crowd does not wait for the last.
_BATCH = 256


class Connection(aiosqlite.Connection):
    """aiosqlite's connection and thread; what it lacks is running a whole function there."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect, iter_chunk_size=64)
        self.path = path
        self._closing = False

    def require_open(self) -> None:
        """Raise StoreUnavailable once closing has begun: nobody would run what comes then."""
        if self._closing or self._connection is None:
            raise StoreUnavailable(f"The database {self.path} is closed.")

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call it with the connection on its thread. Raises StoreUnavailable.

        It runs to its end even when the caller is cancelled meanwhile.
        """
        self.require_open()
        execute: Callable[..., Any] = self._execute
        with translated(self.path):
            result: T = await execute(function, self._conn)
        return result

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    async def close(self) -> None:
        """Let what was asked before run to its end, then close."""
        self._closing = True
        await super().close()


# ── writing ───────────────────────────────────────────────────────────────────────────────────
class _Job(Generic[T]):
    """A transaction that waits for its commit, and afterwards what came of it."""

    def __init__(self, transaction: Callable[[sqlite3.Connection], T]) -> None:
        self._transaction = transaction
        self._results: list[T] = []
        self.error: Exception | None = None
        self.settled = False

    def attempt(self, db: sqlite3.Connection) -> None:
        """Run within a commit that others share: what fails here undoes only this."""
        db.execute("SAVEPOINT job")
        try:
            self._results.append(self._transaction(db))
        except Exception as exc:  # every error belongs to the one who waits for it
            if not db.in_transaction:  # SQLite undid everything: the disk is full, or fails
                raise
            db.execute("ROLLBACK TO job")
            self.error = exc
        db.execute("RELEASE job")

    def result(self) -> T:
        """What the transaction returned, once it is on the disk; or its error."""
        if self.error is not None:
            raise self.error
        return self._results[0]


class Writer:
    """The one connection that writes.

    Transactions that wait at the same moment share one commit, because the flush to the disk is
    most of what a commit costs (100 at once: 20 ms one by one, 3 ms together). Each caller's hop
    settles all that wait then, or finds its own settled by an earlier hop.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[_Job[Any]] = deque()  # appended by the loop, taken by the thread

    async def run(self, transaction: Callable[[sqlite3.Connection], T]) -> T:
        """Run it as one transaction; returns after the commit has reached the disk.

        Raises what it raises, with nothing changed, or StoreUnavailable.
        """
        self._connection.require_open()
        job = _Job(transaction)
        self._waiting.append(job)
        await self._connection.run(partial(self._settle, job))
        with translated(self._connection.path):
            return job.result()

    def _settle(self, job: _Job[Any], db: sqlite3.Connection) -> None:
        while not job.settled:  # more than a batch may stand before it
            size = min(len(self._waiting), _BATCH)
            self._commit(db, [self._waiting.popleft() for _ in range(size)])

    def _commit(self, db: sqlite3.Connection, jobs: Sequence[_Job[Any]]) -> None:
        try:
            db.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.attempt(db)
            db.execute("COMMIT")
        except Exception as exc:  # noqa: BLE001 - each of them is told below, by result()
            for job in jobs:
                job.error = exc
        finally:
            for job in jobs:
                job.settled = True
            if db.in_transaction:
                db.execute("ROLLBACK")


@asynccontextmanager
async def open_writer(path: Path, *, busy_timeout: float) -> AsyncIterator[Writer]:
    """The writer of the database at `path`, closed at the end.

    `busy_timeout` is how many seconds to wait for a lock of another program.
    """
    with translated(path):
        async with Connection(path, partial(_connect_writer, path, busy_timeout)) as connection:
            yield Writer(connection)


def _connect_writer(path: Path, busy_timeout: float) -> sqlite3.Connection:
    # FULL: every commit is flushed. NORMAL would lose the last acknowledged ones with the power.
    # secure_delete: what people deleted is overwritten, not only marked as free.
    return _connect(
        path,
        busy_timeout,
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
    )


# ── reading ───────────────────────────────────────────────────────────────────────────────────
class Readers:
    """Connections that only read, taken in turn; a read never waits for a commit."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._next = itertools.cycle(connections)

    async def run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run `read` on one of them. Raises StoreUnavailable."""
        return await next(self._next).run(read)


@asynccontextmanager
async def open_readers(path: Path, *, count: int, busy_timeout: float) -> AsyncIterator[Readers]:
    """`count` reading connections to the database at `path`, closed at the end."""
    connect = partial(_connect, path, busy_timeout, "query_only = ON")
    async with AsyncExitStack() as stack:
        with translated(path):
            connections = [
                await stack.enter_async_context(Connection(path, connect)) for _ in range(count)
            ]
        yield Readers(connections)


def _connect(path: Path, busy_timeout: float, *pragmas: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
    try:
        db.row_factory = sqlite3.Row
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}")
    except BaseException:
        db.close()
        raise
    return db
