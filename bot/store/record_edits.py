"""The library's transitions: API clients create, change and erase conversations and messages.

Invariants: the questions of an unfinished turn do not change; a reply's text equals its turn's; an
index is never reused for another message.
"""

from __future__ import annotations

from bot.domain import http_texts
from bot.domain.conversations import Author, ConversationKey, Effort, Role
from bot.domain.errors import RecordHeld
from bot.domain.records import NewConversation, RecordScope, Unchanged
from bot.store import attachment_rows, rows
from bot.store.database import Database, Row


def create(db: Database, now: float, new: NewConversation) -> ConversationKey:
    key = new.key
    if rows.find(db, key) is not None:
        return key
    values = {
        "uid": new.uid,
        "platform": key.platform,
        "workspace": key.workspace,
        "channel": key.channel,
        "thread": key.thread,
        "name": rows.name_of(new.name),
        "model": new.model,
        "effort": new.effort.value if new.effort else None,
        "visibility": new.visibility.value,
        "began_by_id": new.began_by.id,
        "began_by_name": new.began_by.name,
        "created_at": now,
        "updated_at": now,
    }
    conversation = rows.insert_row(db, "conversations", values)
    for role, content in new.opening:
        author = new.began_by if role is Role.USER else None
        _append(db, now, conversation, role, content, author)
    return key


def update(
    db: Database,
    now: float,
    uid: str,
    scope: RecordScope,
    name: str | Unchanged,
    model: str | Unchanged | None,
    effort: Effort | Unchanged | None,
    instructions: str | Unchanged,
    temperature: float | Unchanged | None,
    pinned: bool | Unchanged,
    archived: bool | Unchanged,
) -> bool:
    """See `Library.update`. Returns whether the conversation exists."""
    changes: dict[str, object] = {"updated_at": now}
    if not isinstance(name, Unchanged):
        changes["name"] = rows.name_of(name)
    if not isinstance(model, Unchanged):
        changes["model"] = model
    if not isinstance(effort, Unchanged):
        changes["effort"] = effort.value if effort else None
    if not isinstance(instructions, Unchanged):
        text = instructions.strip()
        changes |= {"instructions": text, "instructions_at": now if text else None}
    if not isinstance(temperature, Unchanged):
        changes["temperature"] = temperature
    if not isinstance(pinned, Unchanged):
        changes["on_top"] = pinned
    if not isinstance(archived, Unchanged):
        changes["archived"] = archived
    assignments = ", ".join(f"{column} = :{column}" for column in changes)
    changed = db.execute(
        f"UPDATE conversations SET {assignments}"  # noqa: S608 - column names from above
        " WHERE uid = :uid AND platform = :platform AND workspace = :workspace"
        " AND deleted_at IS NULL",
        {**changes, "uid": uid, "platform": scope.platform, "workspace": scope.workspace},
    )
    return changed.rowcount > 0


def delete(db: Database, uid: str, scope: RecordScope) -> int | None:
    """See `Library.delete`. Also deletes the conversation's turns, messages, pages and files."""
    found = db.execute(
        "SELECT id FROM conversations WHERE uid = ? AND platform = ? AND workspace = ?",
        (uid, scope.platform, scope.workspace),
    ).fetchone()
    if found is None:
        return None
    return remove(db, found["id"])


def remove(db: Database, conversation: int) -> int:
    """Delete a conversation with everything in it, and return its row id."""
    attachment_rows.lock_files(db, conversation)
    db.execute("DELETE FROM conversations WHERE id = ?", (conversation,))
    return conversation


def add(
    db: Database,
    now: float,
    conversation: int,
    role: Role,
    content: str,
    author: Author | None,
) -> int | None:
    """See `Library.add`. Returns the message's row id."""
    added = _append(db, now, conversation, role, content, author)
    db.execute("UPDATE conversations SET active_at = ? WHERE id = ?", (now, conversation))
    return added


def _append(
    db: Database,
    now: float,
    conversation: int,
    role: Role,
    content: str,
    author: Author | None,
) -> int | None:
    known = db.execute("SELECT epoch FROM conversations WHERE id = ?", (conversation,)).fetchone()
    if known is None:
        return None
    values = {
        "conversation_id": conversation,
        "epoch": known["epoch"],
        "idx": rows.take(db, conversation, 1),
        "role": role.value,
        "kind": "history",
        "content": content,
        "author_id": author.id if author else None,
        "author_name": author.name if author else None,
        "created_at": now,
    }
    _touch(db, conversation, now)
    return rows.insert_row(db, "messages", values)


def change(
    db: Database,
    now: float,
    conversation: int,
    uid: str,
    role: Role | None,
    content: str | None,
) -> int | None:
    """See `Library.change`. Returns the message's row id."""
    row = _editable(db, conversation, uid)
    if row is None:
        return None
    if role is not None and role.value != row["role"] and row["kind"] != "history":
        raise RecordHeld(http_texts.ROLE_FIXED)
    text = row["content"] if content is None else content
    db.execute(
        "UPDATE messages SET content = ?, role = ?, edited_at = ? WHERE id = ?",
        (text, role.value if role else row["role"], now, row["id"]),
    )
    _rewrite_turn(db, row, text)
    _touch(db, conversation, now)
    return int(row["id"])


def erase(db: Database, now: float, conversation: int, uid: str) -> bool:
    row = _editable(db, conversation, uid)
    if row is None:
        return False
    db.execute("UPDATE messages SET content = '', erased_at = ? WHERE id = ?", (now, row["id"]))
    attachment_rows.delete(db, row["id"])
    _rewrite_turn(db, row, "")
    _touch(db, conversation, now)
    return True


def _editable(db: Database, conversation: int, uid: str) -> Row | None:
    """The message, if it exists. Raises RecordHeld if a waiting or running turn uses it."""
    row: Row | None = db.execute(
        "SELECT messages.*, EXISTS (SELECT 1 FROM turns WHERE turn_id IN (turns.id, asks)"
        "  AND turns.conversation_id = messages.conversation_id"
        "  AND state IN ('waiting', 'running')) AS is_used"
        " FROM messages WHERE uid = ? AND conversation_id = ? AND erased_at IS NULL",
        (uid, conversation),
    ).fetchone()
    if row is not None and row["is_used"]:
        raise RecordHeld(http_texts.MESSAGE_IN_USE)
    return row


def _rewrite_turn(db: Database, row: Row, text: str) -> None:
    if row["kind"] == "reply":
        db.execute(
            "UPDATE turns SET content = ?, display = ? WHERE id = ?", (text, text, row["turn_id"])
        )


def _touch(db: Database, conversation: int, now: float) -> None:
    db.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (now, conversation))
