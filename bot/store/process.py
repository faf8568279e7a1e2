"""The transitions of the process's own life: what was running when the one before died.

Invariant: a turn is held exactly while a process works on it, so that a start finds the held turns
of a process that died; one that ended as it should holds nothing.
"""

from __future__ import annotations

import sqlite3

from bot.domain.turns import LONE_FROM, SUSPECT, Death, Fence, Suspect


def begin(db: sqlite3.Connection) -> Death | None:
    """A process starts: count the death of the one before, if it died. See `Store`."""
    (alive,) = db.execute("SELECT alive FROM process").fetchone()
    (running,) = db.execute(
        "SELECT count(*) FROM turns WHERE state <> 'done' AND held = 1"
    ).fetchone()
    if alive:
        _count(db, running)
    _release(db)
    db.execute("UPDATE process SET alive = 1")
    return Death(running) if alive else None


def _count(db: sqlite3.Connection, running: int) -> None:
    """One with a single turn may be its doing; one with none was no turn's."""
    if not running:
        db.execute(
            "UPDATE turns SET lone_deaths = 0 WHERE state <> 'done' AND lone_deaths > 0",
        )
        return
    db.execute(
        "UPDATE turns SET lone_deaths = lone_deaths + (:running = 1 AND deaths >= :from),"
        " deaths = deaths + 1 WHERE state <> 'done' AND held = 1",
        {"running": running, "from": LONE_FROM},
    )


def leave(db: sqlite3.Connection) -> None:
    """See `Store.leave`."""
    _release(db)
    db.execute("UPDATE process SET alive = 0")


def _release(db: sqlite3.Connection) -> None:
    db.execute("UPDATE turns SET held = 0 WHERE state <> 'done' AND held = 1")


def hold(db: sqlite3.Connection, fence: Fence, held: bool) -> None:
    """See `Store.hold`."""
    db.execute(
        "UPDATE turns SET held = ? WHERE id = ? AND attempt = ? AND state <> 'done'",
        (held, fence.turn, fence.attempt),
    )


def suspects(db: sqlite3.Connection) -> list[Suspect]:
    """See `Store.suspects`."""
    found = db.execute(
        "SELECT conversation_id, id, deaths, lone_deaths FROM turns"
        " WHERE state <> 'done' AND (deaths >= ? OR lone_deaths > 0) ORDER BY id",
        (SUSPECT,),
    )
    return [Suspect(*row) for row in found]
