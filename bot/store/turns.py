"""The transitions of a turn: waiting → running → concluded → done (and back: `bot.store.edits`).

Invariants: only the newest attempt moves a turn on (the fence); a claim binds the questions in the
platform's order and reserves the reply's index at once; a reply is in the history exactly when its
turn was concluded with content.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from bot.domain.conversations import ConversationKey
from bot.domain.errors import LostOwnership
from bot.domain.inbox import Change, Effect
from bot.domain.turns import LONE_DEATHS, SUSPECT, Claim, Fence, Question, TurnResult
from bot.store import edits, rows


def claim(db: sqlite3.Connection, conversation: int, now: float) -> Claim | None:
    """See `Store.claim`. `now` is in Unix seconds."""
    turn = db.execute(
        "SELECT id, state FROM turns WHERE conversation_id = ? AND state <> 'done'"
        " ORDER BY state = 'waiting', id LIMIT 1",
        (conversation,),
    ).fetchone()
    if turn is None:
        return None
    if turn["state"] == "waiting":
        _start(db, conversation, turn["id"], now)
    else:
        db.execute(
            # It is still held where the attempt before failed and did not end the process.
            "UPDATE turns SET attempt = attempt + 1, claimed_at = ?, failures = failures + held,"
            " held = deaths < ? AND lone_deaths = 0 WHERE id = ?",
            (now, SUSPECT, turn["id"]),
        )
    return _claimed(db, turn["id"])


def _start(db: sqlite3.Connection, conversation: int, turn: int, now: float) -> None:
    """Bind what came up to the last question; what was said after it waits for the next turn."""
    (last,) = db.execute(
        "SELECT max(position) FROM messages WHERE turn_id = ? AND kind = 'question'", (turn,)
    ).fetchone()
    rows.bind(db, conversation, until=last)
    db.execute(
        "UPDATE turns SET state = 'running', attempt = 1, claimed_at = ?, reply_idx = ?, held = 1"
        " WHERE id = ?",
        (now, rows.take(db, conversation, 1), turn),
    )


def _claimed(db: sqlite3.Connection, turn: int) -> Claim:
    row = db.execute("SELECT * FROM turns WHERE id = ?", (turn,)).fetchone()
    conversation = rows.conversation_from(
        db.execute("SELECT * FROM conversations WHERE id = ?", (row["conversation_id"],)).fetchone()
    )
    pages = db.execute("SELECT * FROM pages WHERE turn_id = ? ORDER BY number", (turn,))
    return Claim(
        fence=Fence(turn, row["attempt"]),
        conversation=conversation,
        questions=_questions(db, row),
        reply_index=row["reply_idx"],
        epoch=row["epoch"],
        has_history=_has_history(db, row),
        pages=tuple(rows.page_from(page) for page in pages),
        conclusion=rows.conclusion_from(row),
        tries=row["attempt"] - row["opened"],
        stopping=bool(row["stopping"]),
        failures=row["failures"],
        deaths=row["deaths"],
        lone_deaths=row["lone_deaths"],
    )


def _questions(db: sqlite3.Connection, turn: sqlite3.Row) -> tuple[Question, ...]:
    """What the turn answers; once a person asks for an answer again, nothing is late."""
    found = db.execute(
        "SELECT * FROM messages WHERE turn_id = ? AND kind = 'question' ORDER BY idx", (turn["id"],)
    )
    questions = (rows.question_from(row) for row in found)
    return tuple(replace(q, late=False) if turn["opened"] else q for q in questions)


def _has_history(db: sqlite3.Connection, turn: sqlite3.Row) -> bool:
    found = db.execute(
        "SELECT 1 FROM messages WHERE conversation_id = ? AND epoch = ? AND idx < ?"
        " AND erased_at IS NULL AND turn_id IS NOT ? LIMIT 1",
        (turn["conversation_id"], turn["epoch"], turn["reply_idx"], turn["id"]),
    )
    return found.fetchone() is not None


def stop(db: sqlite3.Connection, key: ConversationKey, turn: int | None) -> Change:
    """See `Store.stop`."""
    row = db.execute(
        "UPDATE turns SET stopping = 1 WHERE state = 'running' AND id = coalesce(?, id)"
        " AND conversation_id = (SELECT id FROM conversations"
        "  WHERE platform = ? AND workspace = ? AND channel = ? AND thread = ?)"
        " RETURNING conversation_id, id",
        (turn, key.platform, key.workspace, key.channel, key.thread),
    ).fetchone()
    return Change(Effect.UNKNOWN) if row is None else Change(Effect.STOP, *row)


# ── the ledger of pages ───────────────────────────────────────────────────────────────────────
def intend(db: sqlite3.Connection, fence: Fence, page: int) -> None:
    """See `Store.intend`. A page that was shown is forgotten: it is about to be another message."""
    _require(db, fence)
    db.execute(
        "INSERT OR REPLACE INTO pages (turn_id, number, state) VALUES (?, ?, 'intended')",
        (fence.turn, page),
    )


def shown(
    db: sqlite3.Connection, fence: Fence, page: int, channel: str, message_id: str, now: float
) -> bool:
    """See `Store.shown`. False when people deleted the message before it got here: then the reply
    is taken back, as if they had done it afterwards, and the fence is stale.
    """
    place = _require(db, fence)
    source = f"{place['platform']}/{place['workspace']}/{channel}/{message_id}"
    db.execute(
        "INSERT OR REPLACE INTO pages (turn_id, number, state, channel, message_id, source)"
        " VALUES (?, ?, 'shown', ?, ?, ?)",
        (fence.turn, page, channel, message_id, source),
    )
    if db.execute("SELECT 1 FROM tombstones WHERE source = ?", (source,)).fetchone() is None:
        return True
    edits.erase(db, source, with_reply=False, now=now)
    return False


def removed(db: sqlite3.Connection, fence: Fence, page: int) -> None:
    """See `Store.removed`."""
    _require(db, fence)
    db.execute("DELETE FROM pages WHERE turn_id = ? AND number = ?", (fence.turn, page))


def _require(db: sqlite3.Connection, fence: Fence) -> sqlite3.Row:
    """The conversation's row, if the fence holds its turn: pages follow the conclusion too."""
    row: sqlite3.Row | None = db.execute(
        "SELECT platform, workspace FROM turns"
        " JOIN conversations ON conversations.id = turns.conversation_id"
        " WHERE turns.id = ? AND attempt = ? AND state IN ('running', 'concluded')",
        (fence.turn, fence.attempt),
    ).fetchone()
    if row is None:
        raise _lost(fence)
    return row


def _lost(fence: Fence) -> LostOwnership:
    return LostOwnership(f"turn {fence.turn} is not attempt {fence.attempt}'s to go on with")


# ── the end ───────────────────────────────────────────────────────────────────────────────────
def conclude(db: sqlite3.Connection, fence: Fence, conclusion: TurnResult, now: float) -> None:
    """See `Store.conclude`. `now` is in Unix seconds."""
    values = _values(conclusion) | {"turn": fence.turn, "attempt": fence.attempt, "now": now}
    ended = db.execute(
        "UPDATE turns SET state = 'concluded', concluded_at = :now, outcome = :outcome,"
        " error = :error, display = :display, content = :content, model = :model,"
        " finish_reason = :finish_reason, input_tokens = :input, output_tokens = :output,"
        " first_token_at = :first_token_at"
        " WHERE id = :turn AND attempt = :attempt AND state = 'running'",
        values,
    ).rowcount
    if not ended:
        raise _lost(fence)
    if conclusion.content:
        _remember(db, values)
    db.execute(
        "UPDATE conversations SET updated_at = :now"
        " WHERE id = (SELECT conversation_id FROM turns WHERE id = :turn)",
        values,
    )


def _values(conclusion: TurnResult) -> dict[str, object]:
    usage = conclusion.usage
    return {
        "outcome": conclusion.outcome.value,
        "error": None if conclusion.error is None else rows.storable(conclusion.error),
        "display": rows.storable(conclusion.display),
        "content": rows.storable(conclusion.content),
        "model": conclusion.model,
        "first_token_at": conclusion.first_token_at,
        "finish_reason": conclusion.finish_reason,
        "input": None if usage is None else usage.input_tokens,
        "output": None if usage is None else usage.output_tokens,
    }


def _remember(db: sqlite3.Connection, values: dict[str, object]) -> None:
    """The reply takes the index that was reserved for it, in the epoch of its questions."""
    db.execute(
        "INSERT INTO messages"
        " (conversation_id, turn_id, epoch, idx, role, kind, content, created_at)"
        " SELECT conversation_id, id, epoch, reply_idx, 'assistant', 'reply', :content, :now"
        " FROM turns WHERE id = :turn",
        values,
    )


def finish(db: sqlite3.Connection, fence: Fence, now: float) -> None:
    """See `Store.finish`. `now` is in Unix seconds.

    What it came to its end with is forgotten. One that was given up stays a suspect: should people
    ask for it again, one more death that it is alone with is enough.
    """
    ended = db.execute(
        "UPDATE turns SET state = 'done', finished_at = :now, held = 0,"
        " deaths = iif(lone_deaths < :most, 0, deaths),"
        " lone_deaths = iif(lone_deaths < :most, 0, :most - 1)"
        " WHERE id = :turn AND attempt = :attempt AND state = 'concluded'",
        {"now": now, "most": LONE_DEATHS, "turn": fence.turn, "attempt": fence.attempt},
    ).rowcount
    if not ended:
        raise _lost(fence)
