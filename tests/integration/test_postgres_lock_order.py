"""Every transaction takes its locks in one order, and changes shared rows only under their locks.

Two transactions therefore never wait for each other (docs/postgresql.md). A deadlock is only
observed by luck; a wrong order always is.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import psycopg
import pytest

from bot.common.clock import SystemClock
from bot.domain.model import Usage
from bot.domain.spending import Booking, BudgetLine, PeriodSpan, Quote, Reserved, Spender
from bot.store.budget_sums import lock_name
from bot.store.database import Cursor, Database, Parameters
from bot.store.locks import ORDER, Locks, everything
from bot.store.postgres import transactions
from bot.store.postgres.server import Server
from bot.store.postgres.session import KnownPlaces, LockPlan, Session
from bot.store.postgres.store import PostgresStore
from tests.support.postgres_server import SharedServer
from tests.support.store_hammer import BUDGETS, Hammer
from tests.support.store_kit import ANN, PostgresPlace, key, opened

T = TypeVar("T")

STEPS = 400
NEEDED = {  # statements that change rows of a table need one of these locks
    "budget_sums": {"budget"},
    "watermarks": {"watermarks"},
    "conversations": {"conversation"},
    "turns": {"conversation"},
    "messages": {"conversation"},
    "pages": {"conversation"},
    "summaries": {"conversation"},
    "attachments": {"conversation", "file"},
    "files": {"file"},
    "extracts": {"file"},
    "chunks": {"file", "purge"},
}
_WRITTEN = re.compile(r"^\s*(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)")
_LOCKED = re.compile(r"hashtextextended\((?:E'(?P<name>[^']+)'|'(?P<kind>\w+)/'|(?P<sums>name)),? ")


@dataclass
class Transaction:
    """The locks that one transaction has taken: their kinds' positions in ORDER, and their
    names."""

    held: list[tuple[int, str]] = field(default_factory=list)

    def take(self, kind: str, name: str) -> None:
        """Take a lock; `name` is "" where PostgreSQL finds it."""
        lock = ORDER.index(kind), name
        assert lock in self.held or not self.held or lock >= max(self.held), (lock, self.held)
        self.held.append(lock)

    def take_all(self, names: Iterable[str]) -> None:
        """Take several locks by name."""
        for name in names:
            self.take(name.split("/")[0], name)

    def write(self, sql: str) -> None:
        """Record the execution of a statement."""
        written = _WRITTEN.match(sql)
        needed = NEEDED.get(written[1], set()) if written else set()
        assert not needed or needed & self.kinds, (sql, self.held)

    @property
    def kinds(self) -> set[str]:
        """The kinds of locks that it holds."""
        return {ORDER[place] for place, _ in self.held}


class CheckedSession:
    """A session whose locks and statements are checked. Implements `Database` and `Locking`."""

    def __init__(self, session: Session, taken: Transaction) -> None:
        self._session, self._taken = session, taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def execute(self, sql: str, parameters: Parameters = (), /) -> Cursor:
        """See `Database`."""
        self._taken.write(sql)
        return self._session.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> None:
        """See `Database`."""
        self._taken.write(sql)
        self._session.executemany(sql, parameters)

    def lock(self, *names: str) -> None:
        """See `Locking`."""
        self._taken.take_all(names)
        self._session.lock(*names)


class CheckedWriter(transactions.Writer):
    """Runs transactions as the store does, and checks each one that runs concurrently with
    others."""

    seen: ClassVar[set[str]] = set()
    """The kinds of locks needed so far."""

    async def run(self, transaction: Callable[[Database], T], /, *, lock: Locks = everything) -> T:
        """See `Writer`."""
        plan = LockPlan(lock, KnownPlaces(), 0)
        if plan.alone:
            return await super().run(transaction, lock=lock)

        def checked(session: Any) -> T:
            taken = Transaction()
            for kind, name in _locks(plan.sql):
                taken.take(kind, name)
            result = transaction(CheckedSession(session, taken))
            type(self).seen |= taken.kinds
            return result

        return await super().run(checked, lock=lock)


def _locks(sql: str) -> Iterator[tuple[str, str]]:
    for each in _LOCKED.finditer(sql):
        if each["name"]:
            yield each["name"].split("/")[0], each["name"]
        else:
            yield each["kind"] or "budget", ""


async def test_locks_are_taken_in_one_order(
    postgres: SharedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.postgres.store.Writer", CheckedWriter)
    monkeypatch.setattr(CheckedWriter, "seen", set())
    with postgres.database() as url:
        clock = SystemClock()
        async with PostgresStore.open(Server.parse(url), clock=clock, process="process0") as store:
            hammer = Hammer(store, 7)
            for _ in range(STEPS):
                await hammer.step()
    assert CheckedWriter.seen >= set(ORDER) - {"purge"}, "the steps did not need each kind of lock"


async def test_a_request_ends_with_the_locks_of_what_it_has_reserved(
    postgres: SharedServer,
) -> None:
    """They include the lock of a budget that was removed from the settings in the meantime."""
    [line, other] = [BudgetLine(each, each.name, PeriodSpan("2026-11", 0.0)) for each in BUDGETS]
    name = lock_name(line.budget.name, line.account, line.period.name)
    with postgres.database() as url:
        async with opened(PostgresPlace(url)) as store:
            books = store.spending()
            quote = Quote("m", 1, 1, 1, 1.0)
            reserved = await books.reserve(Spender(key(), ANN), [line], quote, "2026-11-30")
            assert isinstance(reserved, Reserved)
            async with await psycopg.AsyncConnection.connect(url) as another:
                await another.execute(
                    "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,)
                )
                settling = asyncio.create_task(
                    books.settle(reserved.id, [Booking("m", Usage(1, 1), 1)], [other])
                )
                while not await _is_waiting(another):
                    assert not settling.done()
            await settling


async def _is_waiting(connection: psycopg.AsyncConnection[Any]) -> bool:
    found = await connection.execute(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return await found.fetchone() is not None


@pytest.mark.parametrize(
    "names",
    [["budget/a", "conversation/b"], ["file/b", "file/a"], ["conversation/b", "source/a"]],
)
def test_another_order_is_noticed(names: list[str]) -> None:
    with pytest.raises(AssertionError):
        Transaction().take_all(names)


def test_a_row_without_its_lock_is_noticed() -> None:
    taken = Transaction()
    taken.take_all(["conversation/a"])
    with pytest.raises(AssertionError):
        taken.write("UPDATE budget_sums SET told = 1 WHERE id = ?")
