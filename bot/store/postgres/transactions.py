"""Transactions on PostgreSQL's connections: writing ones, and reads of one snapshot.

Invariants: a transaction is one function in one call on one connection. A transaction that
conflicts, or loses its connection before the commit, is repeated.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import psycopg

from bot.store.database import Database
from bot.store.locks import Locks, everything
from bot.store.postgres.pool import Connection, Connections, Use
from bot.store.postgres.session import ALONE, SHARED, KnownPlaces, LockPlan, Session

T = TypeVar("T")

_ATTEMPTS = 5  # of one transaction, when it conflicts or loses its connection

# The first row contains the transaction's number, by which its outcome can be looked up.
_NUMBER = "pg_current_xact_id()::text"
# A statement after a lock must see what the lock's last holder has committed. The level is named
# because a database may have another default.
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Writer:
    """Runs writing transactions, several at a time. Implements `Runner`."""

    def __init__(self, connections: Connections) -> None:
        self._connections, self._known = connections, KnownPlaces()
        limits = connections.limits
        self._shared = limits.begin(_WRITE, f"SELECT {_NUMBER}, {SHARED}")
        self._alone = limits.begin(_WRITE, f"SELECT {_NUMBER}, {ALONE}")

    async def run(self, transaction: Callable[[Database], T], /, *, lock: Locks = everything) -> T:
        """Run a transaction, and return its result after the commit has reached the disk.

        If it raises, it changes nothing; it may be called again. Raises StoreUnavailable if the
        database fails. If a commit got no response and its outcome cannot be determined, the
        transaction may have been committed.
        """
        plan = LockPlan(lock, self._known, self._connections.losses)
        return await self._connections.call(partial(self._repeat, transaction, plan))

    def _repeat(
        self,
        transaction: Callable[[Database], T],
        plan: LockPlan,
        use: Use,
    ) -> T:
        for attempt in range(1, _ATTEMPTS):
            try:
                return self._attempt(transaction, plan, use)
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                time.sleep(random.uniform(0.0, 0.02 * attempt))  # noqa: S311 - spreads conflicts
            except (_Cut, _Unlocked, _Outdated):
                continue
        return self._attempt(transaction, plan, use)

    def _attempt(
        self,
        transaction: Callable[[Database], T],
        plan: LockPlan,
        use: Use,
    ) -> T:
        if plan.losses != self._connections.losses:
            self._known.clear()
            plan.renew(self._connections.losses)
        begin = self._alone if plan.alone else f"{self._shared}; {plan.sql}"
        connection, rows = self._connections.begin(begin, use)
        try:
            with _explained(self._connections, connection):
                if plan.losses != self._connections.losses:
                    raise _Unlocked  # the places may come from a server that failed
                if not plan.is_complete(rows):
                    raise _Unlocked
                session = Session(connection)
                result = transaction(session)
            self._commit(connection, _number(rows), use)
            self._known.update(session.places)
            return result
        finally:
            self._connections.give_back(connection)

    def _commit(self, connection: Connection, number: str, use: Use) -> None:
        try:
            connection.commit()
        except psycopg.Error as exc:
            if not connection.closed:
                raise
            committed = self._connections.is_committed(number, use)
            if committed is False:
                raise _Cut(exc) from exc
            if committed is None:
                raise


class _Unlocked(Exception):
    """The transition must run alone."""


class _Outdated(psycopg.OperationalError):
    """A newer release has changed the tables since a statement was prepared; the transaction must
    be repeated."""


class _Cut(psycopg.OperationalError):
    """The connection was lost before the commit, so nothing has changed."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(str(error))
        self.sqlstate = error.sqlstate


@contextmanager
def _explained(connections: Connections, connection: Connection) -> Iterator[None]:
    """Raise _Cut or _Outdated for errors after which the transaction can be repeated."""
    try:
        yield
    except psycopg.errors.FeatureNotSupported as exc:
        connections.replace(connection)
        raise _Outdated(str(exc)) from exc
    except psycopg.Error as exc:
        if connection.closed:
            raise _Cut(exc) from exc
        raise


class Readers:
    """Runs queries, each on a snapshot of the database. Implements `Runner`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._begin = connections.limits.begin(_READ)

    async def run(self, read: Callable[[Database], T], /, *, lock: Locks = everything) -> T:
        """Run `read`; it may be called again. Raises StoreUnavailable. `lock` has no effect."""
        return await self._connections.call(partial(self._repeat, read))

    def _repeat(self, read: Callable[[Database], T], use: Use) -> T:
        try:
            return self._attempt(read, use)
        except (_Cut, _Outdated, psycopg.errors.SerializationFailure):
            return self._attempt(read, use)

    def _attempt(self, read: Callable[[Database], T], use: Use) -> T:
        connection, _ = self._connections.begin(self._begin, use)
        try:
            with _explained(self._connections, connection):
                result = read(Session(connection))
                connection.commit()
            return result
        finally:
            self._connections.give_back(connection)


def _number(rows: Sequence[tuple[Any, ...] | None]) -> str:
    """The transaction's number, from the rows returned by its beginning."""
    return str(rows[0][0]) if rows and rows[0] else ""
