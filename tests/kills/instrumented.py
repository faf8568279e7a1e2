"""The bot with observed commits: `python -m tests.kills.instrumented run`.

It runs `python -m bot run`, configured by environment variables that the product does not know:

- `COMMITS_LOG`: a file that gets one line for each commit, with its label (see `label_of`);
- `KILL_COMMIT`: "before accept 2" sends SIGKILL before the third commit with that transition
  ("after": once the commit is on disk);
- `SLOW_COMMITS`: "SEED MAX" delays each commit by up to MAX seconds;
- `CLOCK_OFFSET`: by how many seconds this machine's clock is wrong;
- `PLANTED`: a bug from `tests.kills.bugs`.
"""

from __future__ import annotations

import functools
import os
import random
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.kills import bugs

# Patterns that identify a statement's transition; the first match counts.
_SIGNS: tuple[tuple[str, str], ...] = (
    ("again", r"UPDATE turns SET state = '(running|concluded)'.*opened = attempt \+ 1"),
    ("stop", r"UPDATE turns SET stopping = 1"),
    ("edit", r"UPDATE messages SET content = '.+', edited_at"),
    ("erase", r"UPDATE messages SET content = '', parts = NULL"),
    ("undo", r"UPDATE messages SET epoch"),
    ("claim", r"UPDATE turns SET (state = 'running'|attempt = attempt \+ 1)"),
    ("conclude", r"UPDATE turns SET state = 'concluded'"),
    ("finish", r"UPDATE turns SET state = 'done', finished_at"),
    ("accept", r"INSERT INTO messages.*'question'"),
    ("intend", r"INSERT INTO pages.*'intended'"),
    ("shown", r"INSERT INTO pages.*'shown'"),
    ("removed", r"DELETE FROM pages"),
    ("reset", r"UPDATE conversations SET epoch = epoch \+ 1"),
    ("command", r"INSERT INTO commands"),
    ("reserve", r"INSERT INTO model_requests.*'reserved'"),
    ("settle", r"INSERT INTO model_requests.*'settled'"),
    ("migrate", r"INSERT INTO migrations"),
    ("save_bytes", r"UPDATE attachments SET digest = '"),
    ("save_extract", r"INSERT INTO extracts"),
    ("omit", r"UPDATE attachments SET state = '\w+', omission = '"),
    ("watermark", r"(INSERT|UPDATE).*watermark"),
)
_WRITES = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|REPLACE)\b[^(]*?\b(?:INTO|FROM|UPDATE)?\s+(\w+)")
NOTHING = "nothing"  # a transaction that wrote nothing, such as accepting a known question


def label_of(statements: Sequence[str]) -> str:
    """The transitions of one commit, such as "accept" or "conclude+shown"."""
    found = set()
    for statement in statements:
        known = (name for name, sign in _SIGNS if re.search(sign, statement, re.DOTALL))
        name = next(known, None)
        if name is not None:
            found.add(name)
    if found:
        return "+".join(sorted(found))
    writes = {match[1] for text in statements if (match := _WRITES.match(text))}
    return "+".join(f"write-{table}" for table in sorted(writes)) or NOTHING


class Watch:
    """Hooks that run before and after each commit of this process, on any connection."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._log = environ.get("COMMITS_LOG", "")
        self._when, self._label, skip = (environ.get("KILL_COMMIT") or "never - 0").split()
        self._left = int(skip)
        seed, most = (environ.get("SLOW_COMMITS") or "0 0").split()
        self._rng, self._slowest = random.Random(seed), float(most)

    def before(self, label: str) -> None:
        if self._slowest and label != NOTHING:
            time.sleep(self._slowest * self._rng.random() ** 3)
        self._perhaps("before", label)

    def after(self, label: str) -> None:
        if self._log:
            with Path(self._log).open("a", encoding="utf-8") as log:
                log.write(f"{label}\n")
        self._perhaps("after", label)

    def _perhaps(self, when: str, label: str) -> None:
        if when != self._when or self._label not in label.split("+"):
            return
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


class _Watched(sqlite3.Connection):
    """A connection that traces its statements, so that each commit can be labeled."""

    watch: Watch

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._statements: list[str] = []
        self.set_trace_callback(self._trace)

    def _trace(self, statement: str) -> None:
        """SQLite calls this with every statement before executing it."""
        if statement.startswith("BEGIN"):
            self._statements.clear()
        elif statement.startswith("COMMIT"):
            self.watch.before(label_of(self._statements))
        else:
            self._statements.append(statement)

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        cursor = super().execute(sql, *parameters)
        if sql.startswith("COMMIT"):
            self.watch.after(label_of(self._statements))
        return cursor


def observe(environ: Mapping[str, str]) -> None:
    """Observe every connection opened from now on, and plant the named bug, if any."""
    watch, connect = Watch(environ), sqlite3.connect

    @functools.cache
    def watched(factory: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
        bases = (_Watched,) if factory is sqlite3.Connection else (_Watched, factory)
        return type("Watched", bases, {"watch": watch})

    def connect_watched(
        *arguments: Any, factory: type[sqlite3.Connection] = sqlite3.Connection, **options: Any
    ) -> sqlite3.Connection:
        return connect(*arguments, factory=watched(factory), **options)

    sqlite3.connect = connect_watched  # type: ignore[assignment]
    offset, right = float(environ.get("CLOCK_OFFSET") or 0), time.time
    if offset:
        time.time = lambda: right() + offset
    if environ.get("PLANTED"):
        bugs.plant(environ["PLANTED"])


def main(arguments: Sequence[str]) -> int:
    from bot.__main__ import main as run

    observe(os.environ)
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
