"""SQLite connections, each on a separate thread: one writes, in group commits, and a few read.

Invariant: a transaction is one function in one call on the writer's thread, so cancelling its
caller never leaves it half done.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import aiosqlite

from bot.domain.errors import StoreUnavailable
from bot.store.database import Database
from bot.store.errors import inode_of, moved, translate_errors
from bot.store.locks import Locks, everything
from bot.store.values import storable_parameters

T = TypeVar("T")

# The most transactions in one commit: about 3 ms of work, so that the first of a burst does not
# wait for the last.
_BATCH = 256


class SqliteConnection(aiosqlite.Connection):
    """An aiosqlite connection that can also run a whole function on its thread.

    Uses aiosqlite's private `_execute`, `_conn` and `_connection`: see the version bound in
    pyproject.toml.
    """

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect, iter_chunk_size=64)
        self.path = path
        self._closing = False

    def require_open(self) -> None:
        """Raise StoreUnavailable once `close` was called, because the thread accepts no more
        work."""
        if self._closing or self._connection is None:
            raise StoreUnavailable(f"The database {self.path} is closed.")

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call `function` with the connection, on the connection's thread. Raises StoreUnavailable.

        Cancelling the caller does not stop the function.
        """
        self.require_open()
        execute: Callable[..., Any] = self._execute
        with translate_errors(self.path):
            result: T = await execute(function, self._conn)
        return result

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    async def close(self) -> None:
        """Wait for the functions that were passed to `run`, then close."""
        self._closing = True
        await super().close()


class StoringConnection(sqlite3.Connection):
    """A connection that can store every text and number: see `bot.store.values`."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run one statement."""
        return super().execute(sql, storable_parameters(parameters))

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """Run one statement once for each set of parameters."""
        return super().executemany(sql, map(storable_parameters, parameters))


# ── writing ───────────────────────────────────────────────────────────────────────────────────
class _Job(Generic[T]):
    """A queued transaction; after its commit, its result or error."""

    def __init__(self, transaction: Callable[[Database], T]) -> None:
        self._transaction = transaction
        self._results: list[T] = []
        self.error: Exception | None = None
        self.settled = False

    def attempt(self, db: sqlite3.Connection) -> None:
        """Run the transaction inside a group commit; an error rolls back only this transaction."""
        db.execute("SAVEPOINT job")
        try:
            self._results.append(self._transaction(db))
        except Exception as exc:  # raised by result(), in the caller
            if not db.in_transaction:  # SQLite rolled everything back: the disk is full, or failing
                raise
            db.execute("ROLLBACK TO job")
            self.error = exc
        db.execute("RELEASE job")

    def result(self) -> T:
        """The transaction's return value, available after the commit; raises its error."""
        if self.error is not None:
            raise self.error
        return self._results[0]


class Writer:
    """The only connection that writes, with group commits.

    All waiting transactions share one commit, because most of a commit's cost is the flush to disk
    (100 transactions: 20 ms one by one, 3 ms in a group). Each call on the thread commits
    everything in the queue, so an earlier call may already have committed the caller's job.

    Nothing is written once the file's name leads elsewhere: it would be lost at the next start.
    SQLite itself checks this only without a write-ahead log.
    """

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self._file = inode_of(connection.path)
        self._waiting: deque[_Job[Any]] = deque()  # the event loop appends, the thread takes

    async def run(self, transaction: Callable[[Database], T], /, *, lock: Locks = everything) -> T:
        """Run a transaction, and return its result after the commit has reached the disk.

        If it raises, it changes nothing. Raises StoreUnavailable if the database fails. `lock` has
        no effect, because there is only one writer.
        """
        self._connection.require_open()
        job = _Job(transaction)
        self._waiting.append(job)
        await self._connection.run(partial(self._settle, job))
        with translate_errors(self._connection.path):
            return job.result()

    def _settle(self, job: _Job[Any], db: sqlite3.Connection) -> None:
        while not job.settled:  # more than one batch may be ahead of it
            size = min(len(self._waiting), _BATCH)
            self._commit(db, [self._waiting.popleft() for _ in range(size)])

    def _commit(self, db: sqlite3.Connection, jobs: Sequence[_Job[Any]]) -> None:
        try:
            if inode_of(self._connection.path) != self._file:
                raise moved(self._connection.path)
            db.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.attempt(db)
            db.execute("COMMIT")
        except Exception as exc:  # noqa: BLE001 - raised by result(), in each caller
            for job in jobs:
                job.error = exc
        finally:
            for job in jobs:
                job.settled = True
            if db.in_transaction:
                db.execute("ROLLBACK")


@asynccontextmanager
async def open_writer(path: Path, *, busy_timeout: float) -> AsyncIterator[Writer]:
    """Open the database at `path` for writing, and close it on exit.

    `busy_timeout` is how many seconds to wait for another program's lock.
    """
    with translate_errors(path):
        async with SqliteConnection(
            path, partial(_connect_writer, path, busy_timeout)
        ) as connection:
            yield Writer(connection)


def _connect_writer(path: Path, busy_timeout: float) -> sqlite3.Connection:
    # FULL flushes every commit; NORMAL could lose acknowledged commits in a power failure.
    # secure_delete overwrites what people deleted instead of only marking it as free.
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
    """Read-only connections, used in turn; in WAL mode a read never waits for a commit."""

    def __init__(self, connections: Sequence[SqliteConnection]) -> None:
        self._next = itertools.cycle(connections)

    async def run(self, read: Callable[[Database], T], /, *, lock: Locks = everything) -> T:
        """Run `read` on the next connection. Raises StoreUnavailable."""
        return await next(self._next).run(read)


@asynccontextmanager
async def open_readers(path: Path, *, count: int, busy_timeout: float) -> AsyncIterator[Readers]:
    """Open `count` read-only connections to the database at `path`, and close them on exit."""
    connect = partial(_connect, path, busy_timeout, "query_only = ON")
    async with AsyncExitStack() as stack:
        with translate_errors(path):
            connections = [
                await stack.enter_async_context(SqliteConnection(path, connect))
                for _ in range(count)
            ]
        yield Readers(connections)


def _connect(path: Path, busy_timeout: float, *pragmas: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, factory=StoringConnection
    )
    try:
        db.row_factory = sqlite3.Row
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}")
    except BaseException:  # re-raised: nothing else would close it
        db.close()
        raise
    return db
