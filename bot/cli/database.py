"""`threadline migrate`, `backup`, `restore` and `copy`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bot.cli.parsers import Add
from bot.config.settings import Settings
from bot.domain.errors import StoreError

USE_PG_DUMP = "The database is PostgreSQL: back it up with `pg_dump`, as docs/postgresql.md shows."
USE_PG_RESTORE = (
    "The database is PostgreSQL: restore it with `pg_restore`, as docs/postgresql.md shows."
)


def add_database_commands(add: Add) -> None:
    """Add the commands about the database as a whole."""
    add("migrate", _migrate, "update the database schema (`run` does this too)")
    backup = add("backup", _backup, "copy the database to a new file, even while the bot runs")
    backup.add_argument("file", type=Path, metavar="FILE", help="a new file")
    backup.add_argument("--force", action="store_true", help="overwrite FILE if it exists")
    restore = add("restore", _restore, "replace the database with a backup; stop the bot first")
    restore.add_argument("file", type=Path, metavar="FILE", help="a file written by `backup`")
    copy = add("copy", _copy, "copy a database to or from PostgreSQL; stop the bot first")
    copy.add_argument("source", metavar="FROM", help="sqlite:///FILE or postgresql://…")
    copy.add_argument("target", metavar="TO", help="an empty database, named in the same way")


def _migrate(settings: Settings, _options: argparse.Namespace) -> None:
    from bot.store.open_store import migrate_database

    applied = migrate_database(settings)
    print("\n".join(f"applied {name}" for name in applied) or "up to date")


def _backup(settings: Settings, options: argparse.Namespace) -> None:
    from bot.store.backup import backup

    _require_file(settings, USE_PG_DUMP)
    size = backup(settings.database_path, options.file, overwrite=options.force)
    megabytes = f"{size / 1e6:.1f} MB"
    print(f"backed up {settings.database_path} to {options.file} ({megabytes}, checked)")


def _restore(settings: Settings, options: argparse.Namespace) -> None:
    from bot.store.backup import restore

    _require_file(settings, USE_PG_RESTORE)
    kept = restore(settings.database_path, options.file)
    note = "" if kept is None else f"; the previous database is kept as {kept}"
    print(f"restored {options.file} to {settings.database_path}{note}")


def _require_file(settings: Settings, otherwise: str) -> None:
    if settings.uses_postgres:
        raise StoreError(otherwise)


def _copy(_settings: Settings, options: argparse.Namespace) -> None:
    from bot.store.postgres.copying import copy_database

    def tell(table: str, rows: int) -> None:
        print(f"{table}: {rows:,} rows", file=sys.stderr)

    rows = copy_database(options.source, options.target, tell=tell)
    print(f"copied and compared {sum(rows.values()):,} rows: now set DATABASE_URL to the copy")
