"""The transition that lets a message in.

Invariants: the same platform message is stored once; a message that is not stored leaves no mark;
every question that is stored belongs to the one turn of its conversation that waits.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.domain.conversations import Visibility
from bot.domain.inbox import Accepted, Address, Incoming, Receipt
from bot.store import rows

NAME_LENGTH = 80  # characters of a conversation's name: a line in a list


def accept(
    db: sqlite3.Connection, incoming: Incoming, backlog: Sequence[Incoming], now: float
) -> Accepted:
    """See `Store.accept`. `now` is in Unix seconds."""
    known = _known(db, incoming.source)
    if known is not None:
        return known
    if _is_deleted(db, incoming.source):
        return Accepted(Receipt.KNOWN)
    row = rows.find(db, incoming.key)
    if row is not None:
        return _go_on(db, _Place(row["id"], row["epoch"], now), incoming)
    if incoming.address.begins:
        return _begin(db, incoming, backlog, now)
    return Accepted(Receipt.IGNORED)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where and when a message is stored."""

    conversation: int
    epoch: int
    now: float


def _known(db: sqlite3.Connection, source: str) -> Accepted | None:
    row = db.execute(
        "SELECT conversation_id, turn_id FROM messages WHERE source = ?", (source,)
    ).fetchone()
    return None if row is None else Accepted(Receipt.KNOWN, row["conversation_id"], row["turn_id"])


def _is_deleted(db: sqlite3.Connection, source: str) -> bool:
    """Whether its deletion arrived before the message itself."""
    found = db.execute("SELECT 1 FROM tombstones WHERE source = ?", (source,))
    return found.fetchone() is not None


# ── the two ways in ───────────────────────────────────────────────────────────────────────────
def _begin(
    db: sqlite3.Connection, incoming: Incoming, backlog: Sequence[Incoming], now: float
) -> Accepted:
    place = _Place(_create(db, incoming, now), 1, now)
    accepted = _ask(db, place, incoming)
    for earlier in backlog:  # after the question, which may be among them: it is no history
        if _is_deleted(db, earlier.source):
            continue
        _insert(db, place, earlier, kind="history", turn=None)
    return accepted


def _go_on(db: sqlite3.Connection, place: _Place, incoming: Incoming) -> Accepted:
    # A place that was private once stays so here: what was said then must not come to light.
    db.execute(
        "UPDATE conversations SET updated_at = ?,"
        " name = CASE WHEN name = '' THEN ? ELSE name END,"  # made before anybody spoke in it
        " visibility = CASE WHEN ? = 'private' THEN 'private' ELSE visibility END WHERE id = ?",
        (place.now, name_of(incoming.text), incoming.visibility, place.conversation),
    )
    if incoming.address is Address.ASIDE:
        _insert(db, place, incoming, kind="history", turn=None)
        return Accepted(Receipt.HISTORY, place.conversation)
    return _ask(db, place, incoming)


def _ask(db: sqlite3.Connection, place: _Place, incoming: Incoming) -> Accepted:
    turn = waiting_turn(db, place.conversation, place.epoch, place.now)
    _insert(db, place, incoming, kind="question", turn=turn)
    return Accepted(Receipt.QUESTION, place.conversation, turn)


# ── rows ──────────────────────────────────────────────────────────────────────────────────────
def _create(db: sqlite3.Connection, incoming: Incoming, now: float) -> int:
    key, author = incoming.key, incoming.author
    values = {
        "platform": key.platform,
        "workspace": key.workspace,
        "channel": key.channel,
        "thread": key.thread,
        "name": name_of(incoming.text),
        "visibility": Visibility(incoming.visibility).value,
        "began_by_id": author.id,
        "began_by_name": rows.storable(author.name),
        "created_at": now,
        "updated_at": now,
    }
    return insert_row(db, "conversations", values)


def name_of(text: str) -> str:
    """A conversation's name: the first question in one line."""
    line = " ".join(rows.storable(text).split())
    return line if len(line) <= NAME_LENGTH else f"{line[: NAME_LENGTH - 1].rstrip()}…"


def waiting_turn(db: sqlite3.Connection, conversation: int, epoch: int, now: float) -> int:
    """The turn of a conversation that waits, made when there is none."""
    row = db.execute(
        "SELECT id FROM turns WHERE conversation_id = ? AND state = 'waiting'", (conversation,)
    ).fetchone()
    if row is not None:
        return int(row["id"])
    values = {
        "conversation_id": conversation,
        "epoch": epoch,
        "state": "waiting",
        "created_at": now,
    }
    return insert_row(db, "turns", values)


def _insert(
    db: sqlite3.Connection, place: _Place, incoming: Incoming, *, kind: str, turn: int | None
) -> None:
    values = {
        "conversation_id": place.conversation,
        "turn_id": turn,
        "epoch": place.epoch,
        "role": "user",
        "kind": kind,
        "content": rows.storable(incoming.text),
        "author_id": incoming.author.id,
        "author_name": rows.storable(incoming.author.name),
        "source": incoming.source,
        "channel": incoming.channel,
        "message_id": incoming.message_id,
        "position": incoming.position,
        "route": json.dumps(dict(incoming.route)),
        "unusable": json.dumps(incoming.unusable),
        "sent_at": incoming.sent_at,
        "late": incoming.late,
        "edited_at": incoming.edited_at,
        "created_at": place.now,
    }
    insert_row(db, "messages", values, "ON CONFLICT (source) DO NOTHING")


def insert_row(
    db: sqlite3.Connection, table: str, values: Mapping[str, object], on_conflict: str = ""
) -> int:
    """Insert and return the id. Table and columns are this module's own words."""
    columns = ", ".join(values)
    marks = ", ".join(f":{column}" for column in values)
    sql = f"INSERT INTO {table} ({columns}) VALUES ({marks}) {on_conflict}"  # noqa: S608
    identity = db.execute(sql, values).lastrowid
    assert identity is not None  # noqa: S101 - an INSERT always sets it
    return identity
