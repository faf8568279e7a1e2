# ruff: noqa: S608 - every fragment is a constant of this module or a question mark
"""Records which process holds which turn, if several share one PostgreSQL.

Invariants: a turn that another process holds cannot be claimed. Only `reap` ends an expired lease,
and counts the death of its process. Times come from the database's clock. On SQLite nothing has a
holder.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.cluster import Look
from bot.domain.turns import LONE_DEATHS_FROM
from bot.ports.cluster import GAP_MARGIN_SECONDS, LEASE_SECONDS
from bot.store import gaps, spending
from bot.store.database import Database, marks

_NOW = "extract(epoch FROM clock_timestamp())"
_HELD = "state <> 'done' AND holder = ?"


def look(db: Database, platforms: Sequence[str], process: str, limit: int) -> Look:
    """Find up to `limit` conversations of these platforms, in random order, so that the processes
    share them."""
    found = db.execute(
        "SELECT conversation_id FROM turns"
        " JOIN conversations ON conversations.id = conversation_id"
        f" WHERE state <> 'done' AND holder IS NULL AND platform IN ({marks(platforms)})"
        " AND NOT EXISTS (SELECT 1 FROM turns AS held WHERE held.state <> 'done'"
        "  AND held.conversation_id = turns.conversation_id AND held.holder IS NOT NULL)"
        " GROUP BY conversation_id ORDER BY random() LIMIT ?",
        (*platforms, limit),
    )
    conversations = [row["conversation_id"] for row in found]
    waits = [row["seconds"] for row in db.execute(_ENDS, (process,))]
    (at,) = db.execute(f"SELECT {_NOW}").fetchone()
    is_dead = any(wait <= 0 for wait in waits)
    return Look(conversations, is_dead, min(waits, default=None), float(at))


_ENDS = (
    # A process that claimed a turn after its last heartbeat holds the turn a little longer than its
    # membership.
    f"SELECT greatest(members.lease_until, max(turns.lease_until)) - {_NOW} AS seconds"
    " FROM members LEFT JOIN turns ON holder = members.id AND state <> 'done'"
    " WHERE members.id <> ? GROUP BY members.id, members.lease_until"
    # Turns with an expired lease whose process still lives, or was forgotten.
    f" UNION ALL SELECT min(lease_until) - {_NOW} FROM turns"
    " WHERE state <> 'done' AND holder IS NOT NULL"
    " HAVING min(lease_until) IS NOT NULL"
)


def granted(process: str) -> tuple[str, tuple[object, ...]]:
    """Return the columns that a claim sets in the turn's row, as SQL with its parameters."""
    return f", holder = ?, lease_until = {_NOW} + ?", (process, LEASE_SECONDS)


def claim_attachment(db: Database, attachment: int, process: str) -> bool | None:
    """See `AttachmentStore.claim`."""
    row = db.execute(
        "SELECT state, EXISTS (SELECT 1 FROM members WHERE members.id = attachments.holder"
        f" AND members.id <> ? AND lease_until > {_NOW}) AS is_taken FROM attachments WHERE id = ?",
        (process, attachment),
    ).fetchone()
    if row is None or row["state"] != "pending":
        return None
    if not row["is_taken"]:
        db.execute("UPDATE attachments SET holder = ? WHERE id = ?", (process, attachment))
    return not row["is_taken"]


# ── the end of leases ─────────────────────────────────────────────────────────────────────────
LATE_SECONDS = 2.0
"""After this long, the result of `look` no longer counts: if the database is unavailable, a call
waits longer than a lease lasts."""


def reap(db: Database, seen_at: float | None = None) -> list[int]:
    """Free what dead processes held, and return the conversations with a turn to claim.

    Counts a death for the turns that the process worked on, as a start on SQLite does, and settles
    its reservations for model requests by estimate.
    """
    if seen_at is not None:
        (age,) = db.execute(f"SELECT {_NOW} - ?", (seen_at,)).fetchone()
        if age > LATE_SECONDS:
            return []
    over = db.execute(
        f"SELECT id, started_at, lease_until FROM members WHERE lease_until <= {_NOW}"
        " AND NOT EXISTS (SELECT 1 FROM turns"
        f"  WHERE holder = members.id AND state <> 'done' AND lease_until > {_NOW})"
    )
    dead = over.fetchall()
    if dead:  # nothing else shows that it received an event it did not store
        margin = LEASE_SECONDS + GAP_MARGIN_SECONDS
        gaps.record(db, min(max(row["lease_until"] - margin, row["started_at"]) for row in dead))
    freed = [conversation for row in dead for conversation in _bury(db, row["id"])]
    lost = db.execute(
        # The process lives but no longer has a task for the turn, or it was forgotten.
        "UPDATE turns SET failures = failures + held, held = 0, holder = NULL, lease_until = NULL"
        f" WHERE state <> 'done' AND holder IS NOT NULL AND lease_until <= {_NOW}"
        " AND NOT EXISTS (SELECT 1 FROM members WHERE members.id = turns.holder"
        f"  AND members.lease_until <= {_NOW}) RETURNING conversation_id"
    )
    return [*freed, *(row["conversation_id"] for row in lost.fetchall())]


def _bury(db: Database, dead: str) -> list[int]:
    (running,) = db.execute(
        f"SELECT count(*) FROM turns WHERE {_HELD} AND held = 1",
        (dead,),
    ).fetchone()
    count_death(db, running, dead)
    spending.settle_holder(db, dead)
    db.execute("DELETE FROM members WHERE id = ?", (dead,))
    # A name that was taken after the last heartbeat becomes free a little later.
    db.execute(f"DELETE FROM leases WHERE holder = ? AND lease_until <= {_NOW}", (dead,))
    return release(db, dead)


def count_death(db: Database, running: int, dead: str) -> None:
    """Count a death for the turns that were held; if none was held, no turn was the cause."""
    if not running:
        db.execute(
            f"UPDATE turns SET lone_deaths = 0 WHERE {_HELD} AND lone_deaths > 0",
            (dead,),
        )
        return
    db.execute(
        "UPDATE turns SET lone_deaths = lone_deaths + CASE WHEN ? = 1 AND deaths >= ?"
        f" THEN 1 ELSE 0 END, deaths = deaths + 1 WHERE {_HELD} AND held = 1",
        (running, LONE_DEATHS_FROM, dead),
    )


def release(db: Database, process: str) -> list[int]:
    """Release what the process holds, and return the conversations."""
    freed = db.execute(
        "UPDATE turns SET held = 0, holder = NULL, lease_until = NULL"
        f" WHERE {_HELD} RETURNING conversation_id",
        (process,),
    )
    return [row["conversation_id"] for row in freed.fetchall()]
