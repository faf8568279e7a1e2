"""Transitions after people edit or delete a question, or delete a page of a reply.

Invariants: reopening a turn or taking back its reply makes the current fence stale in the same
transaction. The database keeps nothing of an erased message except its source, so that a late
redelivery is not stored again.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.attachments import IncomingAttachment
from bot.domain.inbox import Change, Effect
from bot.store import access, attachment_rows, contexts, feedback, rows
from bot.store.database import Database, Row
from bot.store.values import storable

# How long to remember the deletion of an unknown message, in seconds. Slack redelivers an event for
# six minutes; Discord's history, which a backfill reads, has no deleted messages.
TOMBSTONE_SECONDS = 3_600.0

_TURN = "SELECT * FROM turns WHERE id = ?"
TOMBSTONE = (
    "INSERT INTO tombstones (source, erased_at) VALUES (?, ?) ON CONFLICT (source) DO NOTHING"
)


# ── edits ─────────────────────────────────────────────────────────────────────────────────────
def edit(
    db: Database,
    now: float,
    source: str,
    text: str,
    edited_at: float,
    attachments: Sequence[IncomingAttachment] | None = None,
    *,
    withheld: bool = False,
) -> Change:
    message = _message(db, source)
    if message is None:
        return Change(Effect.UNKNOWN)
    turn, text = _turn(db, message["turn_id"]), storable(text)
    known = message["edited_at"]
    if message["erased_at"] is not None or (known is not None and edited_at <= known):
        # An older edit that arrived late, or the same edit with another display name in its text.
        return _change(Effect.SAME, message)
    db.execute(
        "UPDATE messages SET content = ?, edited_at = ? WHERE id = ?",
        (text, edited_at, message["id"]),
    )
    replaced = attachments is not None and _replace(db, now, message, attachments)
    if text == message["content"] and not replaced:
        return _change(Effect.SAME, message)
    _rename(db, message, text)
    if withheld:
        access.set_withheld(db, message["id"], withheld=True)
    if turn is None or turn["reply_idx"] is None:  # not a question, or not attempted yet
        return _change(Effect.STORED, message)
    if not is_newest(db, turn):
        return _change(Effect.SUPERSEDED, message)
    reopen_turn(db, turn)
    return _change(Effect.REOPENED, message)


def _replace(
    db: Database,
    now: float,
    message: Row,
    attachments: Sequence[IncomingAttachment],
) -> bool:
    usable = attachment_rows.usable_in(message["kind"], attachments)
    return attachment_rows.replace(db, now, message["id"], usable)


# ── deletions ─────────────────────────────────────────────────────────────────────────────────
def erase(db: Database, now: float, source: str, *, with_reply: bool) -> Change:
    message = _message(db, source)
    if message is not None:
        return erase_message(db, message, with_reply, now)
    page = db.execute(
        "SELECT * FROM pages WHERE source = ? ORDER BY turn_id DESC LIMIT 1", (source,)
    ).fetchone()
    if page is not None:
        return _erase_page(db, page, now)
    db.execute("DELETE FROM tombstones WHERE erased_at < ?", (now - TOMBSTONE_SECONDS,))
    db.execute(TOMBSTONE, (source, now))
    return Change(Effect.UNKNOWN)


def keep_out(db: Database, now: float, source: str) -> None:
    """See `Store.keep_out`."""
    db.execute(
        "INSERT INTO tombstones (source, erased_at) SELECT ?, ?"
        " WHERE NOT EXISTS (SELECT 1 FROM messages WHERE source = ?)"
        " ON CONFLICT (source) DO NOTHING",
        (source, now, source),
    )


def erase_message(db: Database, message: Row, with_reply: bool, now: float) -> Change:
    """Erase the text of a stored message. `with_reply` also takes back the answers to it."""
    if message["erased_at"] is not None:
        return _strongest(
            message,
            [_erase_again(db, turn, now) for turn in _asking(db, message) if with_reply],
            least=Effect.SAME,
        )
    db.execute(
        "UPDATE messages SET content = '', parts = NULL, route = '{}', unusable = '[]',"
        " erased_at = ? WHERE id = ?",
        (now, message["id"]),
    )
    attachment_rows.delete(db, message["id"])
    _rename(db, message, "")
    changes = [_drop_question(db, turn, with_reply, now) for turn in _asking(db, message)]
    return _strongest(message, changes)


def _asking(db: Database, message: Row) -> list[Row]:
    """The turns that answer this message; there are several if people asked for another answer."""
    return db.execute(
        "SELECT * FROM turns WHERE id = :turn OR asks = :turn ORDER BY id",
        {"turn": message["turn_id"]},
    ).fetchall()


def _strongest(
    message: Row, changes: Sequence[tuple[Effect, Row]], least: Effect = Effect.STORED
) -> Change:
    """The effect that requires action (REOPENED or STOP), if there is one."""
    acting = (each for each in changes if each[0] in (Effect.REOPENED, Effect.STOP))
    effect, turn = next(acting, (changes[0] if changes else (least, None)))
    number = message["turn_id"] if turn is None else turn["id"]
    return Change(effect, message["conversation_id"], number or 0)


def _erase_again(db: Database, turn: Row, now: float) -> tuple[Effect, Row]:
    """The question was erased before, but its reply may have to be removed only now."""
    if turn["state"] == "waiting" or _remaining(db, turn):
        return Effect.SAME, turn
    shown = db.execute("SELECT 1 FROM pages WHERE turn_id = ?", (turn["id"],)).fetchone()
    return (Effect.SAME if shown is None else take_back(db, turn, now)), turn


def _remaining(db: Database, turn: Row) -> int:
    """The number of the turn's questions that are not erased."""
    (left,) = db.execute(
        "SELECT count(*) FROM messages WHERE turn_id = ? AND kind = 'question'"
        " AND erased_at IS NULL",
        (turn["asks"] or turn["id"],),
    ).fetchone()
    return int(left)


def _drop_question(db: Database, turn: Row, with_reply: bool, now: float) -> tuple[Effect, Row]:
    """Adapt a turn that has just lost a question."""
    return _without_question(db, turn, with_reply, now), turn


def _without_question(db: Database, turn: Row, with_reply: bool, now: float) -> Effect:
    left = _remaining(db, turn)
    if turn["state"] == "waiting":
        if not left:
            _end_waiting(db, turn, now)
        return Effect.STORED
    if left:
        if turn["state"] != "running":
            return Effect.STORED
        reopen_turn(db, turn)
        return Effect.REOPENED
    if with_reply:
        return take_back(db, turn, now)
    return Effect.STOP if turn["state"] == "running" else Effect.STORED


def _end_waiting(db: Database, turn: Row, now: float) -> None:
    """End a waiting turn without questions; its erased questions still get their indexes."""
    (last,) = db.execute(
        "SELECT max(position) FROM messages WHERE turn_id = ?", (turn["id"],)
    ).fetchone()
    rows.bind(db, turn["conversation_id"], until=last)
    db.execute(
        "UPDATE turns SET state = 'done', outcome = 'stopped', concluded_at = ?, finished_at = ?"
        " WHERE id = ?",
        (now, now, turn["id"]),
    )


def _erase_page(db: Database, page: Row, now: float) -> Change:
    """Take back the whole reply, because a page was deleted on the platform."""
    db.execute(
        "DELETE FROM pages WHERE turn_id = ? AND number = ?", (page["turn_id"], page["number"])
    )
    turn = db.execute(_TURN, (page["turn_id"],)).fetchone()
    return Change(take_back(db, turn, now), turn["conversation_id"], turn["id"])


def take_back(db: Database, turn: Row, now: float) -> Effect:
    """Erase the turn's reply; the next claim removes its pages from the platform."""
    db.execute("DELETE FROM messages WHERE turn_id = ? AND kind = 'reply'", (turn["id"],))
    db.execute("UPDATE turns SET content = '', display = '' WHERE id = ?", (turn["id"],))
    contexts.forget_told(db, turn["conversation_id"], turn=turn["id"])
    feedback.forget_votes(db, turn["id"])
    shown = db.execute("SELECT 1 FROM pages WHERE turn_id = ?", (turn["id"],)).fetchone()
    if turn["state"] == "done" and shown is None:
        return Effect.STORED
    db.execute(
        "UPDATE turns SET state = 'concluded', outcome = coalesce(outcome, 'stopped'),"
        " attempt = attempt + 1, opened = attempt + 1, failures = 0, held = 0,"
        " concluded_at = coalesce(concluded_at, ?), finished_at = NULL WHERE id = ?",
        (now, turn["id"]),
    )
    return Effect.REOPENED


# ── shared ────────────────────────────────────────────────────────────────────────────────────
def is_newest(db: Database, turn: Row) -> bool:
    """Whether the turn is shown, and no later turn or reset exists in the conversation."""
    found = db.execute(
        "SELECT 1 FROM conversations WHERE id = :conversation AND epoch = :epoch"
        " AND NOT EXISTS (SELECT 1 FROM turns WHERE conversation_id = :conversation"
        "  AND id > :turn AND parked IS NULL)",
        {"conversation": turn["conversation_id"], "epoch": turn["epoch"], "turn": turn["id"]},
    )
    return turn["parked"] is None and found.fetchone() is not None


def reopen_turn(db: Database, turn: Row) -> None:
    """Set the turn back to running, and delete its result and its reply in the history.

    Its pages and the reply's index are kept, so that the next attempt rewrites the reply in place.
    """
    db.execute(
        "UPDATE turns SET state = 'running', attempt = attempt + 1, opened = attempt + 1,"
        " failures = 0, held = 0, stopping = 0,"
        " outcome = NULL, error = NULL, display = NULL, content = NULL,"
        " finish_reason = NULL, input_tokens = NULL, output_tokens = NULL, cached_tokens = NULL,"
        " cache_write_tokens = NULL, reasoning_tokens = NULL, estimated_tokens = NULL,"
        " first_token_at = NULL, profile = NULL, prompt_digest = NULL, context_start = NULL,"
        " concluded_at = NULL, finished_at = NULL WHERE id = ?",
        (turn["id"],),
    )
    db.execute("DELETE FROM messages WHERE turn_id = ? AND kind = 'reply'", (turn["id"],))
    contexts.forget_told(db, turn["conversation_id"], turn=turn["id"])
    feedback.forget_votes(db, turn["id"])


def _message(db: Database, source: str) -> Row | None:
    row: Row | None = db.execute("SELECT * FROM messages WHERE source = ?", (source,)).fetchone()
    return row


def _turn(db: Database, turn: int | None) -> Row | None:
    row: Row | None = db.execute(_TURN, (turn,)).fetchone()
    return row


def _change(effect: Effect, message: Row) -> Change:
    return Change(effect, message["conversation_id"], message["turn_id"] or 0)


def _rename(db: Database, message: Row, text: str) -> None:
    """If the conversation was named after this message, rename it after the new text.

    If the new text is empty, rename it after the first remaining question.
    """
    before = rows.name_of(message["content"])
    (name,) = db.execute(
        "SELECT name FROM conversations WHERE id = ?", (message["conversation_id"],)
    ).fetchall()[0]
    if name != before:
        return
    if not text:
        row = db.execute(
            "SELECT content FROM messages WHERE conversation_id = ? AND kind = 'question'"
            " AND erased_at IS NULL AND parked IS NULL AND id <> ? ORDER BY position LIMIT 1",
            (message["conversation_id"], message["id"]),
        ).fetchone()
        text = row["content"] if row is not None else ""
    db.execute(
        "UPDATE conversations SET name = ? WHERE id = ?",
        (rows.name_of(text), message["conversation_id"]),
    )
