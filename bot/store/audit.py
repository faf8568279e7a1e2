"""Appends entries to the audit, in the transaction they record or in a separate one, and reads
them.

Invariant: no entry changes or disappears (triggers of 0012_privacy.sql). Erasing a person replaces
their id with the id of the erasure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from bot.domain.conversations import ConversationKey
from bot.domain.privacy import AuditEntry
from bot.store import locks, rows
from bot.store.database import Database, Row
from bot.store.operations import Operations, reads, writes_at


def record(
    db: Database,
    now: float,
    action: str,
    *,
    key: ConversationKey,
    actor: str,
    details: Mapping[str, object],
    subject: str = "",
) -> None:
    """Record that the person `actor` performed `action` in the channel of `key`."""
    values = {
        "at": now,
        "action": action,
        "platform": key.platform,
        "workspace": key.workspace,
        "channel": key.channel,
        "actor": actor,
        "subject": subject,
        "details": json.dumps(details, ensure_ascii=False),
    }
    rows.insert_row(db, "audit", values)


def append(db: Database, now: float, entry: AuditEntry) -> None:
    """Append an entry."""
    record(
        db,
        now,
        entry.action,
        key=entry.key,
        actor=entry.actor,
        details=entry.details,
        subject=entry.subject,
    )


def entries(
    db: Database, *, after: int = 0, since: float = 0.0, limit: int = 1_000
) -> list[AuditEntry]:
    """See `AuditLog.entries`."""
    found = db.execute(
        "SELECT * FROM audit WHERE id > ? AND at >= ? ORDER BY id LIMIT ?", (after, since, limit)
    )
    return [_entry(row) for row in found]


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(
        action=row["action"],
        key=ConversationKey(row["platform"], row["workspace"], row["channel"], ""),
        actor=row["actor"],
        subject=row["subject"],
        details=json.loads(row["details"]),
        at=row["at"],
        id=row["id"],
    )


class SqlAudit(Operations):
    """Implements `bot.ports.audit.AuditLog`."""

    record = writes_at(append, lock=locks.nothing)
    entries = reads(entries)
