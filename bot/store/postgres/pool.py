"""Connections to PostgreSQL, each used by one thread at a time.

Invariant: every call waits for a limited time, even if the server is frozen.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, LifoQueue
from typing import Any, Generic, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from bot.domain.errors import StoreUnavailable
from bot.store.database import Database
from bot.store.postgres.dialect import named_rows, register
from bot.store.postgres.errors import TOO_MANY, UNREACHABLE, code_of, translate_errors
from bot.store.postgres.server import Server
from bot.store.postgres.session import Session

T = TypeVar("T")
Connection = psycopg.Connection[Any]
Use = Callable[[Connection | None], None]
"""Called with the connection that a function is about to wait for, None while it has none. Raises
Abandoned if the caller no longer waits."""

MOST_WAITING = 2_000
"""The most calls that may wait for a connection; a healthy server needs seconds for that many."""

_SETTLE_SECONDS = 5.0  # how long to look for the outcome of a commit that got no response
_ROOM_SECONDS = 0.25  # between two attempts to connect, while the server has no room


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits, in seconds.

    `statement`: on a healthy server, the slowest statement takes less than one. `lock`: a
    conversation's lock is held for milliseconds. `idle`: ends a transaction whose process was
    suspended (SIGSTOP, a sleeping machine), and frees its locks. `call`: the longest that a caller
    waits, even for a frozen server; then its connection is cut.
    """

    statement: float = 10.0
    lock: float = 5.0
    idle: float = 5.0
    call: float = 20.0

    def begin(self, statement: str, then: str = "") -> str:
        """SQL that begins a transaction with these limits, as one message to the server.

        The limits apply to one transaction, because PgBouncer may give each transaction a different
        connection.
        """
        return (
            f"{statement}; SET LOCAL statement_timeout = {self.statement * 1_000:.0f};"
            f" SET LOCAL lock_timeout = {self.lock * 1_000:.0f};"
            f" SET LOCAL idle_in_transaction_session_timeout = {self.idle * 1_000:.0f}; {then}"
        )


DEFAULT_LIMITS = Limits()

_IDLE = TransactionStatus.IDLE


class _Call(Generic[T]):
    """One function in the queue of the threads."""

    def __init__(self, function: Callable[[Use], T]) -> None:
        self._function = function
        self._guard = threading.Lock()
        self._connection: Connection | None = None
        self._abandoned = False

    def run(self) -> T:
        """Call the function on a thread."""
        try:
            return self._function(self._use)
        finally:
            with self._guard:
                self._connection = None

    def _use(self, connection: Connection | None) -> None:
        """See `Use`."""
        with self._guard:
            if self._abandoned:
                raise Abandoned("the caller no longer waits")
            self._connection = connection

    def abandon(self) -> None:
        """Cut the connection, so that the thread stops waiting for the response."""
        with self._guard:
            self._abandoned = True
            if self._connection is not None:
                # The file descriptor is read only now: after a socket is closed, another one may
                # get its number.
                with suppress(OSError, psycopg.Error):
                    number = os.dup(self._connection.fileno())
                    with socket.socket(fileno=number) as cut:
                        cut.shutdown(socket.SHUT_RDWR)


class Abandoned(psycopg.OperationalError):
    """The caller no longer waits for the result."""


class Connections:
    """Up to `size` connections with as many threads.

    psycopg_pool is not used: after an outage it waits longer and longer before it reconnects, and
    an operation would not learn why it has no connection (docs/decisions/2026-11-30-postgresql.md).
    """

    def __init__(self, server: Server, *, size: int, role: str, limits: Limits) -> None:
        self.limits = limits
        self._server, self._size = server, size
        self._idle: LifoQueue[Connection] = LifoQueue()
        self._lent: set[Connection] = set()  # changed by threads; each change is atomic
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=f"postgres {role}")
        self.losses = 0  # failed connections; a new one may lead to another server
        self._waiting = 0
        self._closing = False

    async def close(self) -> None:
        """Wait for the functions that were passed to `call`, then disconnect."""
        self._closing = True
        await asyncio.to_thread(self._threads.shutdown)
        self._close_idle()

    async def warm(self, count: int) -> None:
        """Connect `count` times, so that no question waits for it; what fails is tried again by
        the first operation."""
        with suppress(StoreUnavailable):
            await asyncio.gather(*(self.call(self._connect) for _ in range(min(count, self._size))))

    def _connect(self, use: Use) -> None:
        connection = _connect(self._server)
        self._lent.add(connection)
        try:
            use(connection)
        finally:
            self.give_back(connection)

    async def execute(self, statement: str, *, seconds: float) -> None:
        """Run a statement that cannot be part of a transaction. Raises StoreUnavailable.

        Its connection is closed afterwards.
        """
        await self.call(partial(self._execute, statement), seconds=seconds)

    def _execute(self, statement: str, use: Use) -> None:
        with closing(_connect(self._server)) as connection:
            use(connection)
            connection.execute(statement.encode())

    async def call(
        self,
        function: Callable[[Use], T],
        *,
        seconds: float | None = None,
    ) -> T:
        """Call a function on a thread. Raises StoreUnavailable after `seconds` at the latest.

        The default is `limits.call`. Cancelling the caller does not stop the function before that.
        """
        seconds = seconds or self.limits.call
        if self._closing:
            raise StoreUnavailable(f"The database {self._server.name} is closed.")
        if self._waiting >= MOST_WAITING:
            raise self._late("has too many operations waiting")
        call, loop = _Call(function), asyncio.get_running_loop()
        self._waiting += 1
        future = loop.run_in_executor(self._threads, call.run)
        # Not the caller's time limit: a caller that is cancelled must not leave a thread that waits
        # for a frozen server, because `close` waits for every thread.
        limit = loop.call_later(seconds, call.abandon)
        future.add_done_callback(partial(self._done, limit))
        try:
            with translate_errors(self._server.name):
                async with asyncio.timeout(seconds):
                    return await asyncio.shield(future)
        except TimeoutError as exc:
            call.abandon()
            raise self._late("did not answer in time") from exc

    def _done(self, limit: asyncio.TimerHandle, future: asyncio.Future[Any]) -> None:
        limit.cancel()
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # its caller may have been cancelled

    def _late(self, problem: str) -> StoreUnavailable:
        return StoreUnavailable(f"The database {self._server.name} {problem}.", code=UNREACHABLE)

    # ── on a thread ───────────────────────────────────────────────────────────────────────────
    def take(self, use: Use) -> Connection:
        """Take an idle connection, or open a new one; see `give_back`."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._open(use)
        self._lent.add(connection)
        try:
            use(connection)
        except BaseException:
            self.give_back(connection)
            raise
        return connection

    def _open(self, use: Use) -> Connection:
        """Open a connection. If the server has no room for another one, waits for one that another
        thread uses: with fewer connections the bot is slower, but serves everyone."""
        while True:
            use(None)
            try:
                return _connect(self._server)
            except psycopg.OperationalError as error:
                if code_of(error) != TOO_MANY or not self._lent:
                    raise
            with suppress(Empty):
                return self._idle.get(timeout=_ROOM_SECONDS)

    def give_back(self, connection: Connection) -> None:
        """Roll back an open transaction, and keep the connection if it works."""
        if connection.pgconn.transaction_status != _IDLE:
            with suppress(psycopg.Error):
                connection.rollback()
        self._lent.discard(connection)
        if connection.closed:
            self.losses += 1
        else:
            self._idle.put(connection)

    def replace(self, connection: Connection) -> None:
        """Close this connection and the idle ones: they have prepared statements for tables that a
        newer release has changed."""
        connection.close()
        self._close_idle()

    def _close_idle(self) -> None:
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def begin(self, statement: str, use: Use) -> tuple[Connection, list[tuple[Any, ...] | None]]:
        """Begin a transaction. Returns its connection and the first row of each statement."""
        # Idle connections may have been cut, by a restart of the server for example.
        while True:
            is_fresh = self._idle.empty()
            connection = self.take(use)
            try:
                return connection, _begun(connection, statement)
            except BaseException:
                self.give_back(connection)
                if is_fresh or not connection.closed:
                    raise

    def is_committed(self, number: str, use: Use) -> bool | None:
        """Whether the transaction with this number was committed; None if this cannot be
        determined."""
        until = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < until:
            try:
                status = self._status(number, use)
            except Abandoned:
                return None
            except psycopg.Error:
                time.sleep(0.1)
                continue
            if status != "in progress":  # the server may still be working on the commit
                return bool(status == "committed")
            time.sleep(0.02)
        return None

    def _status(self, number: str, use: Use) -> str:
        connection = self.take(use)
        try:
            (status,) = connection.execute("SELECT pg_xact_status(%s::xid8)", (number,)).fetchall()[
                0
            ]
        finally:
            self.give_back(connection)
        return str(status)


def _begun(connection: Connection, statements: str) -> list[tuple[Any, ...] | None]:
    """Run several statements. Returns the first row of each statement that can return rows."""
    cursor = connection.cursor(row_factory=tuple_row)
    cursor.execute(statements.encode(), prepare=False)
    rows = []
    while True:
        if cursor.pgresult is not None and cursor.pgresult.nfields:  # not SET: see `named_rows`
            rows.append(cursor.fetchone())
        if not cursor.nextset():
            return rows


def _connect(server: Server) -> Connection:
    connection = psycopg.connect(
        server.conninfo,
        autocommit=True,  # transactions begin with limits and locks: see `Connections.begin`
        row_factory=named_rows,
        prepare_threshold=5 if server.prepares else None,
    )
    register(connection)
    return connection


@contextmanager
def connect_once(server: Server) -> Iterator[Database]:
    """Open a connection for a command; each statement on it is a transaction.

    Raises StoreUnavailable.
    """
    with translate_errors(server.name), closing(_connect(server)) as connection:
        yield Session(connection)


@asynccontextmanager
async def open_connections(
    server: Server, role: str, size: int, *, limits: Limits = DEFAULT_LIMITS
) -> AsyncIterator[Connections]:
    """Connect on demand, up to `size` times, and disconnect on exit."""
    connections = Connections(server, size=size, role=role, limits=limits)
    try:
        yield connections
    finally:
        await connections.close()
