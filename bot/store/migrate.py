"""Applies the schema's migrations: numbered SQL files, each applied once, in order.

Invariant: a database always has the schema of some release: a migration and its row in the table
`migrations` are one transaction, and an applied file never changes.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from bot.domain.errors import MigrationError
from bot.store.errors import primary_code, translate_errors

# Next to `bot/`, in a checkout, in the container and in an installed package.
MIGRATIONS = Path(__file__).parents[2] / "migrations"
APPLICATION_ID = 0x54687264  # "Thrd": marks the file's header as Threadline's
_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_LOCK_SECONDS = 30.0  # how long to wait for another process's migration
# Result codes that mean a faulty migration, or one that does not fit the data.
_WRONG_SQL = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_AUTH)
_LEDGER = """
CREATE TABLE IF NOT EXISTS migrations (
    number     INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    applied_at REAL NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. Line ends in `sql` are \\n, on every platform."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The file's checksum, as stored in the table `migrations`."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """The names of a database's applied and missing migrations."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]


def load(directory: Path, *, first: int = 1) -> tuple[Migration, ...]:
    """Load the files of `directory`, in order.

    Raises MigrationError unless they are numbered from `first` without gaps.
    """
    found = tuple(_read(path) for path in sorted(directory.glob("*.sql")))
    if not found:
        raise MigrationError(f"There are no migrations in {directory}: reinstall Threadline.")
    for expected, migration in enumerate(found, start=first):
        if migration.number != expected:
            raise MigrationError(
                f"The migrations in {directory} are not numbered consecutively: {migration.name} "
                f"is where {expected:04d} belongs. Number them without gaps or repeats."
            )
    return found


def migrate(path: Path, directory: Path = MIGRATIONS) -> list[str]:
    """Bring the database at `path` up to date, creating it if it does not exist.

    Returns the names of the applied migrations. Safe to call from several processes. Raises
    MigrationError, which says what to do, or StoreUnavailable; both leave the database as the last
    complete migration left it.
    """
    files = load(directory)
    with suppress(OSError):  # SQLite reports the cause more precisely
        path.touch(mode=0o600)  # only the bot's user may read conversations
    with translate_errors(path), closing(_connect(path, "rwc")) as db:
        _refuse_foreign(db, path)
        done = _verified(db, path, files)  # usually all: such a start takes no lock
        return [step.name for step in files[done:] if _apply(db, path, files, step)]


def status(path: Path, directory: Path = MIGRATIONS) -> MigrationStatus:
    """The database's applied and missing migrations. Changes nothing; raises the same errors as
    `migrate`."""
    files = load(directory)
    if not path.exists():
        return MigrationStatus((), tuple(step.name for step in files))
    with translate_errors(path), closing(_connect(path, "ro")) as db:
        _refuse_foreign(db, path)
        done = _verified(db, path, files)
    return MigrationStatus(
        tuple(step.name for step in files[:done]), tuple(step.name for step in files[done:])
    )


# ── files ─────────────────────────────────────────────────────────────────────────────────────
def _read(path: Path) -> Migration:
    match = _FILE.fullmatch(path.name)
    if match is None:
        raise MigrationError(f"{path} is not named like 0002_what_it_does.sql: rename it.")
    return Migration(int(match[1]), path.stem, path.read_text(encoding="utf-8"))


def _statements(sql: str) -> Iterator[str]:
    """Split the script into statements. (`executescript` would commit the surrounding
    transaction.)"""
    statement = ""
    for piece in re.split(r"(?<=;)", sql):
        statement += piece
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if re.sub(r"--[^\n]*|/\*.*?\*/", "", statement, flags=re.DOTALL).strip():
        yield statement  # the last statement may have no semicolon


# ── the database ──────────────────────────────────────────────────────────────────────────────
def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # Foreign keys stay off: a migration that rebuilds a table needs this, and cannot turn them off
    # inside its transaction. They are checked before the commit.
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, timeout=_LOCK_SECONDS, isolation_level=None, uri=True)


def _refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    """Raise MigrationError unless the file is empty or Threadline's."""
    # In this order: another process may create the tables, and set the id, between the queries.
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID and (application or tables):
        raise MigrationError(
            f"{path} is another program's database: name another file in DATABASE_URL."
        )


def _apply(db: sqlite3.Connection, path: Path, files: Sequence[Migration], step: Migration) -> bool:
    """Apply one migration unless it was already applied. Returns whether it was applied now."""
    db.execute("BEGIN IMMEDIATE")  # lock first: another process may be migrating
    try:
        missing = _verified(db, path, files) < step.number
        if missing:
            _run(db, step)
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    return missing


def _run(db: sqlite3.Connection, step: Migration) -> None:
    try:
        _execute(db, step.sql)
        broken = db.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.Error as exc:
        if primary_code(exc) in _WRONG_SQL:
            raise MigrationError(
                f"{step.name} failed, and nothing was changed: {exc}. Report it, and keep using "
                "the previous version."
            ) from exc
        raise
    if broken is not None:
        raise MigrationError(f"{step.name} leaves rows of {broken[0]} that violate a foreign key.")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(_LEDGER)
    db.execute(
        "INSERT INTO migrations (number, name, sha256, applied_at) VALUES (?, ?, ?, ?)",
        (step.number, step.name, step.sha256, time.time()),
    )


def _execute(db: sqlite3.Connection, sql: str) -> None:
    """Run a file's statements. Rejects those that would end the surrounding transaction."""
    db.set_authorizer(_refuse_transactions)
    try:
        for statement in _statements(sql):
            db.execute(statement)
    finally:
        db.set_authorizer(None)


def _refuse_transactions(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_OK


def _verified(db: sqlite3.Connection, path: Path, files: Sequence[Migration]) -> int:
    """How many files have been applied. Raises MigrationError if they differ from the table's."""
    return verify(_ledger(db), files, name=str(path))


def verify(rows: Sequence[tuple[int, str, str]], files: Sequence[Migration], *, name: str) -> int:
    """How many of `files` were applied according to the ledger's rows (number, name, sha256).

    Raises MigrationError if a row differs from its file, or has none. `name` identifies the
    database.
    """
    if len(rows) > len(files):
        raise MigrationError(
            f"{name} was written by a newer Threadline (it has {rows[-1][1]}): "
            "install that version, or restore a backup from before the update."
        )
    for (number, applied, sha256), step in zip(rows, files, strict=False):
        if (number, sha256) != (step.number, step.sha256):
            raise MigrationError(
                f"{step.name} is not what was applied to {name} as {applied}: restore the released "
                "file, and put the change into a new migration."
            )
    return len(rows)


def _ledger(db: sqlite3.Connection) -> list[tuple[int, str, str]]:
    known = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'").fetchone()
    if known is None:
        return []
    return db.execute("SELECT number, name, sha256 FROM migrations ORDER BY number").fetchall()
