"""Records which messages were commands, so that a redelivered command is not executed twice.

Invariant: a command and its record are one transaction.
"""

from __future__ import annotations

from bot.domain.errors import CommandDone
from bot.store.database import Database

COMMAND_SECONDS = 30 * 86_400.0
"""How long to keep a record. Slack redelivers for hours; a backfill may read weeks of messages, but
none from before its watermark."""


def record_command(db: Database, now: float, source: str) -> None:
    """See `Store.record_command`. Does nothing if `source` is "", because no message issued the
    command.

    Slack sends `app_mention` again when a message is edited, so a stored question is not a command.
    """
    if not source:
        return
    known = db.execute(
        "SELECT 1 FROM commands WHERE source = :source"
        " UNION ALL SELECT 1 FROM tombstones WHERE source = :source"
        " UNION ALL SELECT 1 FROM messages WHERE source = :source",
        {"source": source},
    )
    if known.fetchone() is not None:
        raise CommandDone(source)
    db.execute("INSERT INTO commands (source, done_at) VALUES (?, ?)", (source, now))


def forget_old_commands(db: Database, now: float) -> None:
    """Delete records of commands too old to be redelivered. Scans the table, so it runs once per
    start."""
    db.execute("DELETE FROM commands WHERE done_at < ?", (now - COMMAND_SECONDS,))
