"""Several processes of one bot on one PostgreSQL; each can be killed, stopped or cut off.

The judge reads a copy of the database in SQLite, since both have the same tables.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from bot.store.postgres.dialect import translate
from tests.kills.process_pool import ProcessPool
from tests.kills.world import BotRun, Fault, RestartingBot
from tests.support.new_database import create

JOINED = re.compile(r'"process": "([0-9a-f]{32})"')
FROZEN = 14.0  # seconds: longer than a lease
_OWN = ("migrations", "sqlite_sequence", "process")  # tables that are not copied


class SharedBots:
    """`count` processes on the database `url`. Implements `tests.kills.world.Bot`.

    Each process's clock is `skew` seconds ahead of the previous one's.
    """

    def __init__(
        self,
        pool: ProcessPool,
        folder: Path,
        environ: Mapping[str, str],
        *,
        url: str,
        count: int = 2,
        skew: float = 0.0,
    ) -> None:
        self.folder, self.url = folder, url
        self.next_runs: list[BotRun] = []
        self.bots = [
            RestartingBot(
                pool,
                folder / f"bot{number}",
                {**environ, "DATABASE_URL": url, "CLOCK_OFFSET": str(number * skew)},
            )
            for number in range(count)
        ]
        for bot in self.bots:  # a start whose connection was cut
            bot.repeated = ("threadline: PostgreSQL failed", "threadline: PostgreSQL cannot")
        self._connection: psycopg.Connection[Any] | None = None

    # ── as one bot ────────────────────────────────────────────────────────────────────────────
    @property
    def deaths(self) -> int:
        return sum(bot.deaths for bot in self.bots)

    @property
    def failure(self) -> str:
        return next((bot.failure for bot in self.bots if bot.failure), "")

    @property
    def later_environ(self) -> Mapping[str, str]:
        return self.bots[0].later_environ

    @later_environ.setter
    def later_environ(self, value: Mapping[str, str]) -> None:
        for bot in self.bots:
            bot.later_environ = value

    @property
    def check_after_death(self) -> Callable[[], Awaitable[None]]:
        return self.bots[0].check_after_death

    @check_after_death.setter
    def check_after_death(self, value: Callable[[], Awaitable[None]]) -> None:
        for bot in self.bots:
            bot.check_after_death = value

    async def start(self, run: BotRun | None = None) -> None:
        """Start all processes; `run` is the first one's."""
        for number, bot in enumerate(self.bots):
            await bot.start(run if number == 0 else None)

    async def kill(self) -> None:
        """Kill one process, preferably the busiest; it is restarted."""
        await (self.holder() or self.bots[0]).kill()

    async def stop(self) -> None:
        """Kill all processes for good; `start` may follow."""
        for bot in self.bots:
            self.thaw(bot)
        await asyncio.gather(*(bot.stop() for bot in self.bots))
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def log_tail(self, lines: int = 12) -> str:
        return "\n".join(f"── {bot.folder.name}\n{bot.log_tail(lines)}" for bot in self.bots)

    @property
    def faults(self) -> Sequence[tuple[int, Fault]]:
        """Hang a process for longer than its lease, and break connections."""
        return ((1, self._hang), (2, self._cut))

    async def _hang(self, rng: random.Random) -> str:
        bot = rng.choice(self.bots)
        self.freeze(bot)
        asyncio.get_running_loop().call_later(rng.uniform(0.5, FROZEN), self.thaw, bot)
        return "a process that hangs"

    async def die_deaf(self, rng: random.Random) -> None:
        """Hang one process, to which events are still delivered; it dies without having read
        them."""
        bot = rng.choice(self.bots)
        self.freeze(bot)
        await asyncio.sleep(rng.uniform(1.0, 4.0))
        await bot.kill()

    async def _cut(self, rng: random.Random) -> str:
        """Cut half of the connections to the database."""
        self.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE random() < ?"
            " AND datname = current_database() AND pid <> pg_backend_pid()",
            rng.choice((0.3, 1.0)),
        )
        return "broken connections"

    # ── single processes ──────────────────────────────────────────────────────────────────────
    def bot_of(self, process: str) -> RestartingBot | None:
        """The bot whose newest run has this process id in its log."""
        for bot in self.bots:
            found = JOINED.findall((bot.folder / "bot.log").read_text(errors="replace"))
            if found and found[-1] == process:
                return bot
        return None

    def holder(self, turn: int | None = None) -> RestartingBot | None:
        """The process that holds this turn, or any turn if None."""
        rows = self.query(
            "SELECT holder FROM turns WHERE state <> 'done' AND holder IS NOT NULL"
            " AND id = coalesce(?::bigint, id) ORDER BY id DESC",
            turn,
        )
        return self.bot_of(rows[0][0]) if rows else None

    def freeze(self, bot: RestartingBot) -> None:
        """Send SIGSTOP, as if the machine hung."""
        with contextlib.suppress(ProcessLookupError):  # it died, and is being restarted
            os.kill(bot.pid, signal.SIGSTOP)

    def thaw(self, bot: RestartingBot) -> None:
        """Send SIGCONT."""
        if bot.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(bot.pid, signal.SIGCONT)

    # ── the database ──────────────────────────────────────────────────────────────────────────
    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Current rows; none while the server is down or before the tables exist."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self.url, autocommit=True)
            return self._connection.execute(translate(sql), parameters or None).fetchall()
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            self._connection = None
            return []

    @property
    def database(self) -> Path:
        """A copy in SQLite."""
        copy = self.folder / "copy.db"
        copy.unlink(missing_ok=True)
        create(copy)
        with closing(sqlite3.connect(copy)) as db, psycopg.connect(self.url) as source, db:
            db.execute("PRAGMA foreign_keys = OFF")
            tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                # The search tables are built from the others, and differ between the databases.
                if table not in _OWN and not table.startswith("search_"):
                    _copy(source, db, table)
        return copy


def _copy(source: psycopg.Connection[Any], db: sqlite3.Connection, table: str) -> None:
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    names = ", ".join(columns)
    rows = source.execute(f"SELECT {names} FROM {table}".encode()).fetchall()
    marks = ", ".join("?" * len(columns))
    db.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
