"""Exports everything that the database has about one person, as records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bot.domain.privacy import Person
from bot.store import erasure
from bot.store.database import Database, Row

Record = Mapping[str, Any]


def export_person(db: Database, person: Person) -> list[Record]:
    """The person's records other than messages."""
    names = erasure.names_of(db, person, 2**62)
    records: list[Record] = [{"type": "person", "person": str(person), "names": sorted(names)}]
    for row in db.execute(
        "SELECT * FROM audit WHERE platform = ? AND ? IN (actor, subject) ORDER BY id",
        (person.platform, person.id),
    ):
        if person.covers(row["workspace"]):
            records.append({
                "type": "audit", "at": row["at"], "action": row["action"],
                "channel": row["channel"], "details": json.loads(row["details"]),
            })  # fmt: skip
    records += _usage(db, person)
    records += _default_model(db, person)
    records += _channel_reads(db, person)
    records += _conversations(db, person)
    for row in db.execute(
        "SELECT feedback.*, messages.uid, workspace FROM feedback"
        " JOIN turns ON turns.id = feedback.turn_id"
        " JOIN conversations ON conversations.id = turns.conversation_id"
        " LEFT JOIN messages ON messages.turn_id = turns.id AND kind = 'reply'"
        " WHERE person = ? AND platform = ?",
        (person.id, person.platform),
    ):
        if not person.covers(row["workspace"]):
            continue
        records.append({
            "type": "feedback", "reply": row["uid"], "vote": row["vote"],
            "comment": row["comment"], "at": row["updated_at"],
        })  # fmt: skip
    records += _sessions(db, person)
    return records


def _sessions(db: Database, person: Person) -> list[Record]:
    """The browsers in which the person is signed in."""
    found = db.execute(
        "SELECT created_at, expires_at FROM sessions WHERE platform = ? AND person = ?"
        " ORDER BY created_at",
        (person.platform, person.id),
    )
    return [
        {"type": "session", "from": row["created_at"], "until": row["expires_at"]} for row in found
    ]


def _default_model(db: Database, person: Person) -> list[Record]:
    """The person's default model for new conversations."""
    found = db.execute(
        "SELECT * FROM personal_defaults WHERE platform = ? AND person = ?",
        (person.platform, person.id),
    )
    return [{"type": "default_model", "model": row["model"], "at": row["set_at"]} for row in found]


def _channel_reads(db: Database, person: Person) -> list[Record]:
    """The time up to which the person has seen shared channels of the page."""
    found = db.execute(
        "SELECT * FROM channel_reads WHERE platform = ? AND person = ? ORDER BY channel",
        (person.platform, person.id),
    )
    return [
        {"type": "channel_read", "channel": row["channel"], "until": row["read_at"]}
        for row in found
        if person.covers(row["workspace"])
    ]


def _conversations(db: Database, person: Person) -> list[Record]:
    """The conversations that the person began, one record each, with the choices made there."""
    found = db.execute(
        "SELECT conversations.*, shares.uid AS link, shared_at FROM conversations"
        " LEFT JOIN shares ON shares.conversation_id = conversations.id"
        " AND shared_by = began_by_id"
        " WHERE platform = ? AND began_by_id = ? ORDER BY conversations.id",
        (person.platform, person.id),
    )
    return [_conversation(row) for row in found if person.covers(row["workspace"])]


def _conversation(row: Row) -> Record:
    return {
        "type": "conversation",
        "id": row["uid"],
        "at": row["created_at"],
        "name": row["name"],
        "model": row["model"],
        "effort": row["effort"],
        "instructions": row["instructions"],
        "temperature": row["temperature"],
        "pinned": bool(row["on_top"]),
        "archived": bool(row["archived"]),
        "read_until": row["read_at"] or None,
        "shared_as": row["link"],
        "shared_at": row["shared_at"],
    }


def _usage(db: Database, person: Person) -> list[Record]:
    """The person's usage, by day."""
    found = db.execute(
        "SELECT * FROM usage_by_day WHERE platform = ? AND person = ? ORDER BY day",
        (person.platform, person.id),
    )
    return [
        {"type": "usage", **{name: row[name] for name in row.keys() if name not in _OWN}}  # noqa: SIM118 - rows are no mappings
        for row in found
        if person.covers(row["workspace"])
    ]


_OWN = ("platform", "person")  # columns that are the same in all records


def export_messages(
    db: Database, person: Person, *, after: int, limit: int
) -> tuple[list[Record], int]:
    """The person's messages with a row id above `after`, with their files and replies.

    Also returns the last row id, or 0 if there are no more.
    """
    found = db.execute(
        "SELECT messages.*, platform, workspace, thread, conversations.uid AS conversation"
        " FROM messages JOIN conversations ON conversations.id = conversation_id"
        " WHERE author_id = ? AND platform = ? AND messages.id > ? ORDER BY messages.id LIMIT ?",
        (person.id, person.platform, after, limit),
    ).fetchall()
    records: list[Record] = []
    for row in found:
        if person.covers(row["workspace"]) and row["erased_at"] is None:
            records += [_message(db, row), *_replies(db, row)]
    return records, found[-1]["id"] if found else 0


def _message(db: Database, row: Row) -> Record:
    return {
        "type": "message",
        "id": row["uid"],
        "conversation": row["conversation"],
        "place": f"{row['platform']}/{row['workspace']}/{row['channel'] or ''}/{row['thread']}",
        "at": row["created_at"],
        "name": row["author_name"],
        "text": row["content"],
        "files": _files(db, row["id"]),
    }


def _files(db: Database, message: int) -> Sequence[Record]:
    found = db.execute(
        "SELECT name, attachments.media_type, size, attachments.digest, text FROM attachments"
        " LEFT JOIN extracts ON extracts.digest = attachments.digest"
        " WHERE message_id = ? ORDER BY number",
        (message,),
    )
    return [
        {
            "name": each["name"],
            "media_type": each["media_type"],
            "size": each["size"],
            "sha256": each["digest"],
            "text": each["text"],
        }
        for each in found
    ]


def _replies(db: Database, row: Row) -> list[Record]:
    """The replies to a question, including those that are not shown. If a turn has several
    questions, its reply comes with the last of them."""
    if row["kind"] != "question":
        return []
    found = db.execute(
        "SELECT content, model, concluded_at FROM turns"
        " WHERE (id = :turn OR asks = :turn) AND content <> ''"
        " AND :message = (SELECT max(id) FROM messages WHERE turn_id = :turn"
        "  AND kind = 'question' AND author_id = :author) ORDER BY id",
        {"turn": row["turn_id"], "message": row["id"], "author": row["author_id"]},
    )
    return [
        {
            "type": "reply",
            "to": row["uid"],
            "at": each["concluded_at"],
            "model": each["model"],
            "text": each["content"],
        }
        for each in found
    ]
