"""Transitions at the start and end of the process, which reveal the turns a dead process worked on.

Invariant: a turn is held only while a process works on it. So a start finds the turns that a dead
process held, while a process that ends normally leaves none.
"""

from __future__ import annotations

from bot.domain.turns import LONE_DEATHS_FROM, SUSPECT_DEATHS, Death, Fence, Suspect
from bot.store import spending
from bot.store.database import Database


def record_start(db: Database) -> Death | None:
    """Record a start. If the previous process died, count its death and return it.

    Settles its reservations for requests to models by estimate.
    """
    (alive,) = db.execute("SELECT alive FROM process").fetchone()
    (running,) = db.execute(
        "SELECT count(*) FROM turns WHERE state <> 'done' AND held = 1"
    ).fetchone()
    if alive:
        _count(db, running)
    _release(db)
    spending.settle_all(db)
    db.execute("UPDATE process SET alive = 1")
    return Death(running) if alive else None


def _count(db: Database, running: int) -> None:
    """Count a death for the turns that were held; if none was held, no turn was the cause."""
    if not running:
        db.execute(
            "UPDATE turns SET lone_deaths = 0 WHERE state <> 'done' AND lone_deaths > 0",
        )
        return
    db.execute(
        "UPDATE turns SET lone_deaths = lone_deaths"
        " + CASE WHEN ? = 1 AND deaths >= ? THEN 1 ELSE 0 END,"
        " deaths = deaths + 1 WHERE state <> 'done' AND held = 1",
        (running, LONE_DEATHS_FROM),
    )


def record_shutdown(db: Database, process: str | None = None) -> None:
    """Record a normal end. `process` names the ending process if several share the database,
    because the others still hold turns."""
    if process is not None:
        db.execute(
            "UPDATE turns SET held = 0 WHERE state <> 'done' AND held = 1 AND holder = ?",
            (process,),
        )
        return
    _release(db)
    db.execute("UPDATE process SET alive = 0")


def _release(db: Database) -> None:
    # A database that was copied from PostgreSQL may name processes that no longer exist.
    db.execute(
        "UPDATE turns SET held = 0, holder = NULL, lease_until = NULL"
        " WHERE state <> 'done' AND (held = 1 OR holder IS NOT NULL)"
    )


def hold(db: Database, fence: Fence, *, held: bool = True) -> None:
    db.execute(
        "UPDATE turns SET held = ? WHERE id = ? AND attempt = ? AND state <> 'done'",
        (held, fence.turn, fence.attempt),
    )
    if not held:  # another process may have what the turn waits for
        db.execute(
            "UPDATE turns SET holder = NULL, lease_until = NULL"
            " WHERE id = ? AND attempt = ? AND state <> 'done'",
            (fence.turn, fence.attempt),
        )


def suspects(db: Database) -> list[Suspect]:
    found = db.execute(
        "SELECT conversation_id, id, deaths, lone_deaths FROM turns"
        " WHERE state <> 'done' AND (deaths >= ? OR lone_deaths > 0) ORDER BY id",
        (SUSPECT_DEATHS,),
    )
    return [Suspect(*row) for row in found]
