"""A connection to PostgreSQL for heartbeats and signals, separate from the pool.

Invariant: a statement ends within `STATEMENT_SECONDS`, whatever the server or the network does; a
connection that failed or took longer is discarded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import structlog
from psycopg.rows import TupleRow

from bot.domain.errors import StoreUnavailable
from bot.store.postgres.errors import UNREACHABLE, code_of

log = structlog.stdlib.get_logger(__name__)

STATEMENT_SECONDS = 2.0
"""A slower heartbeat is retried on another connection; three attempts fit into a lease."""

CONNECT_SECONDS = 3.0

_OPTIONS: dict[str, Any] = {
    "connect_timeout": 3,
    # Notice a peer that vanished silently within the time of one or two heartbeats.
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 4_000,
    "target_session_attrs": "read-write",
    "client_encoding": "UTF8",  # as in bot.store.postgres.server
}

_UNAVAILABLE = (psycopg.OperationalError, psycopg.InternalError, psycopg.InterfaceError)

Parameters = Sequence[Any] | Mapping[str, Any]
Connection = psycopg.AsyncConnection[TupleRow]


async def connect(url: str, *, application: str) -> Connection:
    """Open a connection that commits each statement. Raises StoreUnavailable."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await psycopg.AsyncConnection.connect(
                url,
                autocommit=True,
                prepare_threshold=None,  # PgBouncer gives each transaction a different connection
                application_name=application,
                **_OPTIONS,
            )
    except psycopg.Error as error:
        raise _unavailable("cannot be reached", error) from error
    except TimeoutError as error:
        raise StoreUnavailable(
            "PostgreSQL cannot be reached: it does not answer", code=UNREACHABLE
        ) from error


class ControlConnection:
    """One connection that reconnects after a failure; its statements run one after the other."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    async def run(self, sql: str, parameters: Parameters = ()) -> list[TupleRow]:
        """Run and commit one statement, and return its rows. Raises StoreUnavailable.

        If it raises, the statement may or may not have taken effect.
        """
        async with self._lock:
            if self._connection is None or self._connection.closed:
                self._connection = await connect(self._url, application="threadline control")
            connection = self._connection
            running = asyncio.ensure_future(_run(connection, sql, parameters))
            try:
                await asyncio.wait({running}, timeout=STATEMENT_SECONDS)
            finally:
                if not running.done():
                    self._abandon(connection, running)
            if not running.done():
                reason = f"PostgreSQL took longer than {STATEMENT_SECONDS:g} s"
                raise StoreUnavailable(reason, code=UNREACHABLE)
            return self._result(running)

    async def aclose(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _result(self, running: asyncio.Future[list[TupleRow]]) -> list[TupleRow]:
        try:
            return running.result()
        except _UNAVAILABLE as error:
            # The connection may be broken, or the server may be failing or be a replica that takes
            # no writes: another connection may lead to the new primary.
            broken, self._connection = self._connection, None
            if broken is not None:
                broken.pgconn.finish()
            raise _unavailable("failed", error) from error

    def _abandon(self, connection: Connection, running: asyncio.Future[Any]) -> None:
        """Close the socket immediately: a clean close would wait for the server."""
        self._connection = None
        running.cancel()
        running.add_done_callback(lambda task: task.cancelled() or task.exception())
        connection.pgconn.finish()


def _unavailable(what: str, error: psycopg.Error) -> StoreUnavailable:
    return StoreUnavailable(f"PostgreSQL {what}: {error}", code=code_of(error))


async def _run(connection: Connection, sql: str, parameters: Parameters) -> list[TupleRow]:
    cursor = await connection.execute(sql, parameters)
    return await cursor.fetchall() if cursor.description else []
