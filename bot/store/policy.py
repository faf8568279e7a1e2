"""The values that administrators set for channels by command.

Invariant: a value, the record of its command and its audit entry are written in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.conversations import Author, ConversationKey
from bot.domain.policy import Override, OverrideName
from bot.store import audit
from bot.store.commands import record_command
from bot.store.database import Database
from bot.store.operations import Operations, reads, writes_at

_PLACE = "platform = ? AND workspace = ? AND channel = ?"


def list_overrides(db: Database) -> Sequence[Override]:
    """See `PolicyStore.list_overrides`."""
    rows = db.execute("SELECT * FROM policy_overrides ORDER BY platform, workspace, channel, name")
    return [
        Override(
            ConversationKey(row["platform"], row["workspace"], row["channel"], ""),
            OverrideName(row["name"]),
            row["value"],
            Author(row["set_by"], row["set_by_name"]),
            row["set_at"],
        )
        for row in rows
    ]


def set_override(
    db: Database,
    now: float,
    channel: ConversationKey,
    name: OverrideName,
    value: str | None,
    *,
    by: Author,
    source: str = "",
) -> Override | None:
    """See `PolicyStore.set_override`."""
    record_command(db, now, source)
    place = (channel.platform, channel.workspace, channel.channel)
    earlier = db.execute(
        f"SELECT value FROM policy_overrides WHERE {_PLACE} AND name = ?",  # noqa: S608
        (*place, name.value),
    ).fetchone()
    if value is None:
        db.execute(
            f"DELETE FROM policy_overrides WHERE {_PLACE} AND name = ?",  # noqa: S608
            (*place, name.value),
        )
    else:
        db.execute(
            "INSERT INTO policy_overrides"
            " (platform, workspace, channel, name, value, set_by, set_by_name, set_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (platform, workspace, channel, name) DO UPDATE SET"
            " value = excluded.value, set_by = excluded.set_by,"
            " set_by_name = excluded.set_by_name, set_at = excluded.set_at",
            (*place, name.value, value, by.id, by.name, now),
        )
    before = earlier["value"] if earlier is not None else None
    details = {"name": name.value, "before": before, "after": value}
    audit.record(db, now, "policy.set", key=channel, actor=by.id, details=details)
    return None if value is None else Override(channel, name, value, by, now)


class SqlPolicy(Operations):
    """Implements `bot.ports.policy.PolicyStore`."""

    list_overrides = reads(list_overrides)
    set_override = writes_at(set_override)
