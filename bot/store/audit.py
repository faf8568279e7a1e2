"""Appends to the audit, in the transaction of what it records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from bot.domain.conversations import ConversationKey


def record(
    db: sqlite3.Connection,
    now: float,
    action: str,
    *,
    key: ConversationKey,
    actor: str,
    details: Mapping[str, object],
) -> None:
    """Record that the person `actor` did `action` in the channel of `key`."""
    db.execute(
        "INSERT INTO audit (at, action, platform, workspace, channel, actor, details)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            now,
            action,
            key.platform,
            key.workspace,
            key.channel,
            actor,
            json.dumps(details, ensure_ascii=False),
        ),
    )
