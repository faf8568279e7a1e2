"""The connection uses private members of aiosqlite, so an update must not change them silently."""

from __future__ import annotations

import inspect
import sqlite3
import tomllib
from pathlib import Path

import aiosqlite

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


async def test_aiosqlite_has_the_private_members_that_the_connection_uses() -> None:
    """`_execute` runs a function on the thread; the others belong to sqlite3's connection."""
    async with aiosqlite.connect(":memory:") as connection:
        assert inspect.iscoroutinefunction(connection._execute)
        assert isinstance(connection._conn, sqlite3.Connection)
        assert connection._connection is connection._conn
        rows = await connection._execute(
            lambda db: db.execute("SELECT 1").fetchall(), connection._conn
        )
    assert rows == [(1,)]
    assert connection._connection is None


def test_the_version_of_aiosqlite_has_an_upper_bound() -> None:
    dependencies = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    (aiosqlite_version,) = (each for each in dependencies if each.startswith("aiosqlite"))
    assert ",<" in aiosqlite_version
