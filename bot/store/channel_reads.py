"""The time up to which people have seen the channels they share.

Invariant: a mark only moves forward, and is erased together with its person.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.records import ChannelRead, RecordScope
from bot.store.database import Database

_NEWEST = (
    "SELECT max(active_at) AS active_at FROM conversations"
    " WHERE platform = ? AND workspace = ? AND channel = ? AND archived = 0 AND on_top = 0"
    " AND deleted_at IS NULL AND active_at IS NOT NULL"
)
_READ = (
    "SELECT read_at FROM channel_reads"
    " WHERE platform = ? AND workspace = ? AND channel = ? AND person = ?"
)


def channel_reads(db: Database, person: str, channels: Sequence[RecordScope]) -> list[ChannelRead]:
    """See `Library.channel_reads`."""
    found = []
    for each in channels:
        place = (each.platform, each.workspace, each.channel)
        newest = db.execute(_NEWEST, place).fetchone()
        read = db.execute(_READ, (*place, person)).fetchone()
        read_at = None if read is None else float(read["read_at"])
        active_at = None if newest is None else newest["active_at"]
        found.append(ChannelRead(str(each.channel), active_at, read_at))
    return found


def mark_channel_read(db: Database, person: str, channel: RecordScope, until: float) -> bool:
    """See `Library.mark_channel_read`."""
    marked = db.execute(
        "INSERT INTO channel_reads (platform, workspace, channel, person, read_at)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (platform, person, workspace, channel)"
        " DO UPDATE SET read_at = excluded.read_at"
        " WHERE channel_reads.read_at < excluded.read_at",
        (channel.platform, channel.workspace, channel.channel, person, until),
    )
    return marked.rowcount > 0
