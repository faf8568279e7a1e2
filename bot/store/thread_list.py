"""A person's list of conversations: sorted by last activity, with marks, and with deletion that can
be undone.

Invariant: a deleted conversation is hidden immediately and erased later, either completely or not
at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.records import EntryPosition, RecordScope, ThreadEntry
from bot.store import record_edits, rows
from bot.store.database import Database
from bot.store.views import ENTRY, entry_from

MOST_HELD_SECONDS = 600.0
"""From a deletion on: the page's notice stays as long, and a script that continues to ask does not
keep what it deleted."""

_OWN = " WHERE uid = ? AND platform = ? AND workspace = ?"
_LISTED = (
    " WHERE platform = :platform AND workspace = :workspace AND channel = :channel"
    " AND archived = :archived AND deleted_at IS NULL AND active_at IS NOT NULL"
)
_ORDER = " ORDER BY on_top DESC, active_at DESC, uid DESC LIMIT :limit"


# ── queries ───────────────────────────────────────────────────────────────────────────────────
def entries(
    db: Database,
    scope: RecordScope,
    *,
    archived: bool,
    after: EntryPosition | None,
    limit: int,
) -> list[ThreadEntry]:
    """See `Library.entries`."""
    below = "" if after is None else " AND (on_top, active_at, uid) < (:top, :active_at, :uid)"
    values: dict[str, object] = {
        "platform": scope.platform,
        "workspace": scope.workspace,
        "channel": scope.channel,
        "archived": int(archived),
        "limit": limit,
    }
    if after is not None:
        values |= {"top": int(after.pinned), "active_at": after.active_at, "uid": after.uid}
    found = db.execute(f"{ENTRY}{_LISTED}{below}{_ORDER}", values)
    return [entry_from(row) for row in found]


def hidden(db: Database, *, before: float, limit: int) -> Sequence[str]:
    """See `Library.hidden`."""
    found = db.execute(
        "SELECT uid FROM conversations WHERE deleted_at IS NOT NULL AND deleted_at <= ?"
        " ORDER BY deleted_at LIMIT ?",
        (before, limit),
    )
    return [row["uid"] for row in found]


# ── transitions ───────────────────────────────────────────────────────────────────────────────
def mark_read(db: Database, uid: str, scope: RecordScope, until: float) -> bool:
    """See `Library.mark_read`."""
    marked = db.execute(
        f"UPDATE conversations SET read_at = ?{_OWN} AND read_at < ?",  # noqa: S608 - our words
        (until, uid, scope.platform, scope.workspace, until),
    )
    return marked.rowcount > 0


def hide(db: Database, now: float, uid: str, scope: RecordScope) -> bool:
    """See `Library.hide`. Questions that wait for a turn are not answered."""
    found = db.execute(
        "UPDATE conversations SET deleted_at = ?, hidden_at = ?"  # noqa: S608 - our words
        f"{_OWN} AND deleted_at IS NULL RETURNING id",
        (now, now, uid, scope.platform, scope.workspace),
    ).fetchone()
    if found is None:
        return False
    rows.bind(db, found["id"], until=rows.EVERYTHING)
    db.execute(
        "UPDATE turns SET state = 'done', outcome = 'stopped', concluded_at = ?, finished_at = ?"
        " WHERE conversation_id = ? AND state = 'waiting'",
        (now, now, found["id"]),
    )
    return True


def unhide(db: Database, uid: str, scope: RecordScope) -> bool:
    """See `Library.unhide`."""
    found = db.execute(
        "UPDATE conversations SET deleted_at = NULL, hidden_at = NULL"  # noqa: S608 - our words
        f"{_OWN} AND deleted_at IS NOT NULL",
        (uid, scope.platform, scope.workspace),
    )
    return found.rowcount > 0


def hold(db: Database, now: float, uid: str, scope: RecordScope) -> bool:
    """See `Library.hold`."""
    found = db.execute(
        "UPDATE conversations SET deleted_at = ?, hidden_at = coalesce(hidden_at, deleted_at)"  # noqa: S608
        f"{_OWN} AND deleted_at IS NOT NULL AND coalesce(hidden_at, deleted_at) > ?",
        (now, uid, scope.platform, scope.workspace, now - MOST_HELD_SECONDS),
    )
    return found.rowcount > 0


def erase_hidden(db: Database, uid: str, *, before: float) -> bool:
    """See `Library.erase_hidden`."""
    found = db.execute(
        "SELECT id FROM conversations WHERE uid = ? AND deleted_at <= ?", (uid, before)
    ).fetchone()
    return found is not None and record_edits.remove(db, found["id"]) > 0
