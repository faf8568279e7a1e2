"""Builds the store's async methods from functions of a database.

The port documents an operation's contract, and one function has its SQL. A line such as `conclude =
writes_at(turns.conclude, lock=locks.by_fence)` makes a method with the function's parameters and
result; the rule names the locks that the transition needs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from bot.ports.clock import Clock
from bot.store import locks
from bot.store.database import Database
from bot.store.health import Runner

P = ParamSpec("P")
T = TypeVar("T")


class Operations:
    """A class whose methods run on the database's connections."""

    process: str | None = None
    """The process's id, recorded with what it holds; None if no other process shares the
    database."""

    def __init__(self, *, writer: Runner, readers: Runner, clock: Clock) -> None:
        self._write, self._read = writer.run, readers.run
        self._clock = clock


Method = Callable[Concatenate[Operations, P], Coroutine[Any, Any, T]]


def reads(query: Callable[Concatenate[Database, P], T]) -> Method[P, T]:
    """Make a method that runs `query`; all its statements see the database at one moment."""

    async def method(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._read(lambda db: query(db, *args, **kwargs))

    return method


def writes(
    transition: Callable[Concatenate[Database, P], T], *, lock: locks.LockRule = locks.everything
) -> Method[P, T]:
    """Make a method that runs `transition` as one transaction."""

    async def method(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> T:
        asked = _asked(lock, *args, **kwargs)
        return await self._write(lambda db: transition(db, *args, **kwargs), lock=asked)

    return method


def writes_at(
    transition: Callable[Concatenate[Database, float, P], T],
    *,
    lock: locks.LockRule = locks.everything,
) -> Method[P, T]:
    """Like `writes`; the transition's second parameter is the time of the call, in Unix seconds."""

    async def method(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> T:
        now = self._clock.time()
        asked = _asked(lock, *args, **kwargs)
        return await self._write(lambda db: transition(db, now, *args, **kwargs), lock=asked)

    return method


def _asked(rule: locks.LockRule, *args: Any, **kwargs: Any) -> locks.Locks:
    return lambda locker: rule(locker, *args, **kwargs)
