"""The transitions of conversations and messages as records: made, changed, erased by programs.

Invariant: what a turn relies on stays as the turn knows it: a question of an unfinished turn is not
changed, a reply's text and its turn's agree, an index is given once, also after its message went.
"""

from __future__ import annotations

import sqlite3

from bot.domain.conversations import Author, ConversationKey, Role, Visibility
from bot.domain.errors import RecordHeld
from bot.domain.records import NewConversation, RecordScope, Unchanged
from bot.store import rows
from bot.store.accept import insert_row, name_of

HELD = "This message is being answered right now: wait for the answer, or stop it."
ROLE_FIXED = "The role of a question or an answer cannot be changed, only its content."


def create(db: sqlite3.Connection, new: NewConversation, now: float) -> ConversationKey:
    """See `Library.create`. `now` is in Unix seconds."""
    key = new.key
    if rows.find(db, key) is not None:
        return key
    values = {
        "uid": new.uid,
        "platform": key.platform,
        "workspace": key.workspace,
        "channel": key.channel,
        "thread": key.thread,
        "name": name_of(new.name),
        "model": new.model,
        "visibility": Visibility.PRIVATE.value,
        "began_by_id": new.began_by.id,
        "began_by_name": rows.storable(new.began_by.name),
        "created_at": now,
        "updated_at": now,
    }
    conversation = insert_row(db, "conversations", values)
    for role, content in new.opening:
        author = new.began_by if role is Role.USER else None
        add(db, conversation, role, content, author, now)
    return key


def update(
    db: sqlite3.Connection,
    uid: str,
    place: RecordScope,
    name: str | Unchanged,
    model: str | Unchanged | None,
    now: float,
) -> bool:
    """See `Library.update`; whether there is such a conversation."""
    changes: dict[str, object] = {"updated_at": now}
    if not isinstance(name, Unchanged):
        changes["name"] = name_of(name)
    if not isinstance(model, Unchanged):
        changes["model"] = model
    assignments = ", ".join(f"{column} = :{column}" for column in changes)
    changed = db.execute(
        f"UPDATE conversations SET {assignments}"  # noqa: S608 - the words above
        " WHERE uid = :uid AND platform = :platform AND workspace = :workspace",
        {**changes, "uid": uid, "platform": place.platform, "workspace": place.workspace},
    )
    return changed.rowcount > 0


def delete(db: sqlite3.Connection, uid: str, place: RecordScope) -> int | None:
    """See `Library.delete`. Its turns, messages and pages go with it."""
    found = db.execute(
        "DELETE FROM conversations WHERE uid = ? AND platform = ? AND workspace = ? RETURNING id",
        (uid, place.platform, place.workspace),
    ).fetchall()
    return found[0]["id"] if found else None


def add(
    db: sqlite3.Connection,
    conversation: int,
    role: Role,
    content: str,
    author: Author | None,
    now: float,
) -> int | None:
    """See `Library.add`; the message's number."""
    known = db.execute("SELECT epoch FROM conversations WHERE id = ?", (conversation,)).fetchone()
    if known is None:
        return None
    values = {
        "conversation_id": conversation,
        "epoch": known["epoch"],
        "idx": rows.take(db, conversation, 1),
        "role": role.value,
        "kind": "history",
        "content": rows.storable(content),
        "author_id": author.id if author else None,
        "author_name": rows.storable(author.name) if author else None,
        "created_at": now,
    }
    _touch(db, conversation, now)
    return insert_row(db, "messages", values)


def change(
    db: sqlite3.Connection,
    conversation: int,
    uid: str,
    role: Role | None,
    content: str | None,
    now: float,
) -> int | None:
    """See `Library.change`; the message's number."""
    row = _free(db, conversation, uid)
    if row is None:
        return None
    if role is not None and role.value != row["role"] and row["kind"] != "history":
        raise RecordHeld(ROLE_FIXED)
    text = row["content"] if content is None else rows.storable(content)
    db.execute(
        "UPDATE messages SET content = ?, role = ?, edited_at = ? WHERE id = ?",
        (text, role.value if role else row["role"], now, row["id"]),
    )
    _rewrite_turn(db, row, text)
    _touch(db, conversation, now)
    return int(row["id"])


def erase(db: sqlite3.Connection, conversation: int, uid: str, now: float) -> bool:
    """See `Library.erase`. `now` is in Unix seconds."""
    row = _free(db, conversation, uid)
    if row is None:
        return False
    db.execute("UPDATE messages SET content = '', erased_at = ? WHERE id = ?", (now, row["id"]))
    _rewrite_turn(db, row, "")
    _touch(db, conversation, now)
    return True


def _free(db: sqlite3.Connection, conversation: int, uid: str) -> sqlite3.Row | None:
    """A message that no turn works on; nothing of a concluded one is read by it any more."""
    row: sqlite3.Row | None = db.execute(
        "SELECT messages.*, state FROM messages LEFT JOIN turns ON turns.id = turn_id"
        " WHERE uid = ? AND messages.conversation_id = ? AND erased_at IS NULL",
        (uid, conversation),
    ).fetchone()
    if row is not None and row["state"] in ("waiting", "running"):
        raise RecordHeld(HELD)
    return row


def _rewrite_turn(db: sqlite3.Connection, row: sqlite3.Row, text: str) -> None:
    if row["kind"] == "reply":
        db.execute(
            "UPDATE turns SET content = ?, display = ? WHERE id = ?", (text, text, row["turn_id"])
        )


def _touch(db: sqlite3.Connection, conversation: int, now: float) -> None:
    db.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (now, conversation))
