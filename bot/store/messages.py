"""The transition that stores a message, its conversation and its turn.

Invariants: a platform message is stored once, with its attachments. An ignored message leaves no
trace. Every stored question joins its conversation's waiting turn, of which there is at most one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.domain.conversations import Visibility
from bot.domain.inbox import Accepted, Address, Incoming, Receipt
from bot.store import attachment_rows, branches, rows
from bot.store.database import Database, Row


def accept(
    db: Database,
    now: float,
    incoming: Incoming,
    backlog: Sequence[Incoming] = (),
    *,
    withheld: bool = False,
) -> Accepted:
    row = _look_up(db, incoming)
    if row["is_known"]:
        return Accepted(Receipt.KNOWN, row["known_conversation"], row["known_turn"])
    if row["id"] is not None:
        return _add(db, _Target(row["id"], row["epoch"], now, withheld), incoming, row)
    if incoming.address.begins:
        return _begin(db, incoming, backlog, now, withheld=withheld)
    return Accepted(Receipt.IGNORED)


@dataclass(frozen=True, slots=True)
class _Target:
    """The conversation and epoch in which a message is stored, and the time in Unix seconds."""

    conversation: int
    epoch: int
    now: float
    withheld: bool = False


def _look_up(db: Database, incoming: Incoming) -> Row:
    """Read the conversation, and whether the message is stored or its deletion arrived first.

    Columns of a row that does not exist are None.
    """
    key = incoming.key
    row: Row = db.execute(
        "SELECT coalesce(messages.source, tombstones.source) IS NOT NULL AS is_known,"
        " messages.conversation_id AS known_conversation, messages.turn_id AS known_turn,"
        " conversations.* FROM (SELECT 1 AS one) AS here"
        " LEFT JOIN messages ON messages.source = :source"
        " LEFT JOIN tombstones ON tombstones.source = :source"
        " LEFT JOIN conversations ON platform = :platform AND workspace = :workspace"
        " AND conversations.channel = :channel AND thread = :thread",
        {
            "source": incoming.source,
            "platform": key.platform,
            "workspace": key.workspace,
            "channel": key.channel,
            "thread": key.thread,
        },
    ).fetchone()
    return row


def _is_known(db: Database, source: str) -> bool:
    found = db.execute(
        "SELECT 1 FROM messages WHERE source = :source"
        " UNION ALL SELECT 1 FROM tombstones WHERE source = :source",
        {"source": source},
    )
    return found.fetchone() is not None


# ── the two ways in ───────────────────────────────────────────────────────────────────────────
def _begin(
    db: Database,
    incoming: Incoming,
    backlog: Sequence[Incoming],
    now: float,
    *,
    withheld: bool,
) -> Accepted:
    target = _Target(_create(db, incoming, now), 1, now)
    turn = _create_turn(db, target.conversation, 1, now)
    asked = replace(target, withheld=withheld)
    _insert(db, asked, incoming, kind="question", turn=turn)
    for earlier in backlog:  # stored after the question, in case the question is among them
        if _is_known(db, earlier.source):
            continue
        _insert(db, target, earlier, kind="history", turn=None)
    return Accepted(Receipt.QUESTION, target.conversation, turn)


def _add(db: Database, target: _Target, incoming: Incoming, row: Row) -> Accepted:
    # A conversation that was private once stays private: its older messages must not become public.
    db.execute(
        "UPDATE conversations SET updated_at = ?, active_at = ?, archived = 0,"
        " name = CASE WHEN name = '' THEN ? ELSE name END,"  # created without a message, by the API
        " visibility = CASE WHEN ? = 'private' THEN 'private' ELSE visibility END,"
        " shared = CASE WHEN began_by_id <> ? THEN 1 ELSE shared END WHERE id = ?",
        (
            target.now,
            target.now,
            rows.name_of(incoming.text),
            incoming.visibility,
            incoming.author.id,
            target.conversation,
        ),
    )
    if incoming.address is Address.ASIDE:
        _insert(db, target, incoming, kind="history", turn=None)
        return Accepted(Receipt.HISTORY, target.conversation)
    if incoming.revises:
        return _revise(db, target, incoming, row)
    return _ask(db, target, incoming)


def _revise(db: Database, target: _Target, incoming: Incoming, row: Row) -> Accepted:
    """Store another version of a question, with the files of this version."""
    revised = branches.make_room(db, target.now, row, incoming)
    accepted = _ask(db, target, incoming, place=revised.place)
    attachment_rows.copy(db, target.now, revised.message, incoming.source)
    return accepted


def _ask(
    db: Database, target: _Target, incoming: Incoming, *, place: int | None = None
) -> Accepted:
    turn = waiting_turn(db, target.conversation, target.epoch, target.now)
    _insert(db, target, incoming, kind="question", turn=turn, place=place)
    return Accepted(Receipt.QUESTION, target.conversation, turn)


# ── rows ──────────────────────────────────────────────────────────────────────────────────────
def _create(db: Database, incoming: Incoming, now: float) -> int:
    key, author = incoming.key, incoming.author
    values = {
        "platform": key.platform,
        "workspace": key.workspace,
        "channel": key.channel,
        "thread": key.thread,
        "name": rows.name_of(incoming.text),
        "visibility": Visibility(incoming.visibility).value,
        "began_by_id": author.id,
        "began_by_name": author.name,
        "shared": incoming.address is not Address.DIRECT,
        "created_at": now,
        "updated_at": now,
        "active_at": now,
    }
    return rows.insert_row(db, "conversations", values)


def waiting_turn(db: Database, conversation: int, epoch: int, now: float) -> int:
    """The conversation's waiting turn, which is created if there is none."""
    row = db.execute(
        "SELECT id FROM turns WHERE conversation_id = ? AND state = 'waiting'", (conversation,)
    ).fetchone()
    return _create_turn(db, conversation, epoch, now) if row is None else int(row["id"])


def _create_turn(db: Database, conversation: int, epoch: int, now: float) -> int:
    values = {
        "conversation_id": conversation,
        "epoch": epoch,
        "state": "waiting",
        "created_at": now,
    }
    return rows.insert_row(db, "turns", values)


def _insert(
    db: Database,
    target: _Target,
    incoming: Incoming,
    *,
    kind: str,
    turn: int | None,
    place: int | None = None,
) -> None:
    values = {
        "conversation_id": target.conversation,
        "turn_id": turn,
        "epoch": target.epoch,
        "role": "user",
        "kind": kind,
        "content": incoming.text,
        "author_id": incoming.author.id,
        "author_name": incoming.author.name,
        "source": incoming.source,
        "channel": incoming.channel,
        "message_id": incoming.message_id,
        "position": incoming.position,
        "route": json.dumps(dict(incoming.route)),
        "sent_at": incoming.sent_at,
        "late": incoming.late,
        "edited_at": incoming.edited_at,
        "withheld": target.withheld,
        "place": place,
        "created_at": target.now,
    }
    message = rows.insert_row(db, "messages", values)
    usable = attachment_rows.usable_in(kind, incoming.attachments)
    attachment_rows.insert(db, target.now, message, usable)
