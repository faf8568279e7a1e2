"""Reads the usage of a database, also while the bot runs, for the command line."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bot.domain.errors import StoreUnavailable
from bot.domain.spending import UsageField, UsageQuery, UsageRow
from bot.store.daily_usage import usage
from bot.store.errors import translate_errors

MOST_ROWS = 10_000_000


def read_usage(path: Path, query: UsageQuery, by: Sequence[UsageField]) -> list[UsageRow]:
    """The usage of each group. Raises StoreUnavailable."""
    if not path.exists():
        raise StoreUnavailable(f"There is no database at {path}.")
    with (
        translate_errors(path),
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db,
    ):
        db.row_factory = sqlite3.Row
        return usage(db, query, by, limit=MOST_ROWS)
