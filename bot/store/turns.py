"""Transitions of a turn: waiting → running → concluded → done (and back: `bot.store.edits`).

Invariants: only the newest attempt changes a turn (the fence). A claim gives the questions their
indexes, in the platform's order, and the next index to the reply. The history has a turn's reply if
and only if the turn was concluded with content.
"""

from __future__ import annotations

from dataclasses import replace

from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Change, Effect
from bot.domain.turns import MAX_LONE_DEATHS, SUSPECT_DEATHS, Claim, Fence, Question, TurnResult
from bot.store import contexts, edits, leases, rows, spending
from bot.store.commands import record_command
from bot.store.database import Database, Row


def claim(db: Database, now: float, conversation: int, process: str | None = None) -> Claim | None:
    """See `Store.claim`. Also None if another process holds the conversation's running turn."""
    found = db.execute(_NEXT, (conversation,)).fetchone()
    if found is None or found["holder"] not in (None, process):
        return None
    turn = found["turn"]
    lease, holder = ("", ()) if process is None else leases.granted(process)
    if found["state"] == "waiting":
        reply = rows.bind(db, conversation, until=found["last"], more=1)
        return _claimed(db, _start(db, turn, reply, now, lease, holder), found)
    spending.settle_turn(db, turn)
    again = db.execute(
        # If the turn is still held, its last attempt failed without ending the process.
        "UPDATE turns SET attempt = attempt + 1, claimed_at = ?, failures = failures + held,"  # noqa: S608
        f" held = CASE WHEN deaths < ? AND lone_deaths = 0 THEN 1 ELSE 0 END{lease}"
        " WHERE id = ? RETURNING *",
        (now, SUSPECT_DEATHS, *holder, turn),
    ).fetchall()
    return _claimed(db, again[0], found)


_NEXT = (
    "SELECT conversations.*, turns.id AS turn, turns.state, turns.holder,"
    " (SELECT max(position) FROM messages WHERE turn_id = turns.id AND kind = 'question') AS last"
    " FROM turns JOIN conversations ON conversations.id = conversation_id"
    " WHERE conversation_id = ? AND turns.state <> 'done'"
    " ORDER BY turns.state = 'waiting', turns.id LIMIT 1"
)
"""The conversation, its next turn, and the position of that turn's last question: a claim binds all
messages up to there; later ones wait for the next turn."""


def _start(
    db: Database, turn: int, reply: int, now: float, lease: str, holder: tuple[object, ...]
) -> Row:
    started: Row = db.execute(
        "UPDATE turns SET state = 'running', attempt = 1, claimed_at = ?, reply_idx = ?, held = 1"  # noqa: S608
        f"{lease} WHERE id = ? RETURNING *",
        (now, reply, *holder, turn),
    ).fetchall()[0]
    return started


def _claimed(db: Database, row: Row, found: Row) -> Claim:
    """From the row of the turn, and the row in which its conversation was found."""
    turn, conversation = row["id"], rows.conversation_from(found)
    if row["wanted_model"] is not None:
        conversation = replace(conversation, model=row["wanted_model"])
    pages = (
        db.execute("SELECT * FROM pages WHERE turn_id = ? ORDER BY number", (turn,))
        if row["attempt"] > 1
        else ()
    )
    questions = _questions(db, row)
    return Claim(
        fence=Fence(turn, row["attempt"]),
        conversation=conversation,
        questions=questions,
        reply_index=row["reply_idx"],
        epoch=row["epoch"],
        # If the questions take up all indexes before the reply, there is no history.
        has_history=row["reply_idx"] > len(questions) and _has_history(db, row),
        pages=tuple(rows.page_from(page) for page in pages),
        result=rows.result_from(row),
        tries=row["attempt"] - row["opened"],
        stopping=bool(row["stopping"]),
        failures=row["failures"],
        deaths=row["deaths"],
        lone_deaths=row["lone_deaths"],
    )


def _questions(db: Database, turn: Row) -> tuple[Question, ...]:
    """The turn's questions. None of them counts as late once a person has asked for the turn
    again."""
    found = db.execute(
        "SELECT *,"
        " EXISTS (SELECT 1 FROM attachments WHERE message_id = messages.id) AS has_attachments"
        " FROM messages WHERE turn_id = ? AND kind = 'question' ORDER BY idx",
        (turn["asks"] or turn["id"],),
    )
    questions = (rows.question_from(row) for row in found)
    return tuple(replace(q, late=False) if turn["opened"] else q for q in questions)


def _has_history(db: Database, turn: Row) -> bool:
    found = db.execute(
        "SELECT 1 FROM messages WHERE conversation_id = ? AND epoch = ? AND idx < ?"
        " AND erased_at IS NULL AND parked IS NULL AND withheld = 0"
        " AND turn_id IS DISTINCT FROM ? LIMIT 1",
        (
            turn["conversation_id"],
            turn["epoch"],
            turn["reply_idx"],
            turn["asks"] or turn["id"],
        ),
    )
    return found.fetchone() is not None


def stop(
    db: Database,
    now: float,
    key: ConversationKey,
    turn: int | None,
    *,
    source: str = "",
) -> Change:
    record_command(db, now, source)
    row = db.execute(
        "UPDATE turns SET stopping = 1 WHERE state = 'running' AND id = coalesce(?, id)"
        " AND conversation_id = (SELECT id FROM conversations"
        "  WHERE platform = ? AND workspace = ? AND channel = ? AND thread = ?)"
        " RETURNING conversation_id, id",
        (turn, key.platform, key.workspace, key.channel, key.thread),
    ).fetchone()
    return Change(Effect.UNKNOWN) if row is None else Change(Effect.STOP, *row)


# ── the ledger of pages ───────────────────────────────────────────────────────────────────────
def record_intent(db: Database, fence: Fence, page: int) -> None:
    """See `Store.record_intent`. Forgets the page's old message, because the new post replaces
    it."""
    rows.require(db, fence)
    db.execute(
        "INSERT INTO pages (turn_id, number, state) VALUES (?, ?, 'intended')"
        " ON CONFLICT (turn_id, number) DO UPDATE SET state = 'intended',"
        " channel = NULL, message_id = NULL, source = NULL",
        (fence.turn, page),
    )


def record_shown(
    db: Database, now: float, fence: Fence, page: int, channel: str, message_id: str
) -> bool:
    """See `Store.record_shown`. Returns False if people have already deleted the message.

    The reply is then taken back, as after any deletion of a page, and the fence is stale.
    """
    place = rows.require(db, fence)
    source = f"{place['platform']}/{place['workspace']}/{channel}/{message_id}"
    db.execute(
        "INSERT INTO pages (turn_id, number, state, channel, message_id, source)"
        " VALUES (?, ?, 'shown', ?, ?, ?) ON CONFLICT (turn_id, number) DO UPDATE SET"
        " state = excluded.state, channel = excluded.channel,"
        " message_id = excluded.message_id, source = excluded.source",
        (fence.turn, page, channel, message_id, source),
    )
    if db.execute("SELECT 1 FROM tombstones WHERE source = ?", (source,)).fetchone() is None:
        return True
    edits.erase(db, now, source, with_reply=False)
    return False


def record_removal(db: Database, fence: Fence, page: int) -> None:
    rows.require(db, fence)
    db.execute("DELETE FROM pages WHERE turn_id = ? AND number = ?", (fence.turn, page))


# ── the end ───────────────────────────────────────────────────────────────────────────────────
def conclude(db: Database, now: float, fence: Fence, result: TurnResult) -> None:
    values = _values(result) | {"turn": fence.turn, "attempt": fence.attempt, "now": now}
    turn = db.execute(
        "UPDATE turns SET state = 'concluded', concluded_at = :now, outcome = :outcome,"
        " error = :error, display = :display, content = :content, model = :model,"
        " finish_reason = :finish_reason, input_tokens = :input, output_tokens = :output,"
        " cached_tokens = :cached, cache_write_tokens = :cache_write,"
        " reasoning_tokens = :reasoning, estimated_tokens = :estimated,"
        " first_token_at = :first_token_at, profile = :profile, prompt_digest = :prompt,"
        " context_start = :context_start"
        " WHERE id = :turn AND attempt = :attempt AND state = 'running'"
        " RETURNING conversation_id, epoch",
        values,
    ).fetchone()
    if turn is None:
        raise rows.lost(fence)
    spending.settle_turn(db, fence.turn)  # nothing is left, unless a commit's outcome was unknown
    if result.content:
        _insert_reply(db, values)
    if result.tells_summary:
        contexts.record_told(db, turn["conversation_id"], epoch=turn["epoch"], turn=fence.turn)
    db.execute(
        "UPDATE conversations SET updated_at = :now, active_at = :now, answered_at = :now"
        " WHERE id = (SELECT conversation_id FROM turns WHERE id = :turn)",
        values,
    )


def _values(result: TurnResult) -> dict[str, object]:
    usage, made_with = result.usage, result.made_with
    says_cached = usage is not None and (usage.reports_cache or usage.cached_tokens > 0)
    return {
        "outcome": result.outcome.value,
        "error": None if result.failure is None else result.failure.value,
        "display": result.display,
        "content": result.content,
        "model": result.model,
        "first_token_at": result.first_token_at,
        "finish_reason": result.finish_reason,
        "input": None if usage is None else usage.input_tokens,
        "output": None if usage is None else usage.output_tokens,
        "cached": usage.cached_tokens if usage is not None and says_cached else None,
        "cache_write": None if usage is None else usage.cache_write_tokens,
        "reasoning": None if usage is None else usage.reasoning_tokens,
        "estimated": result.estimated_tokens,
        "profile": None if made_with is None else made_with.profile,
        "prompt": None if made_with is None else made_with.prompt,
        "context_start": None if made_with is None else made_with.start,
    }


def _insert_reply(db: Database, values: dict[str, object]) -> None:
    """Add the reply to the history, at its reserved index and in the epoch of its questions."""
    db.execute(
        "INSERT INTO messages"
        " (conversation_id, turn_id, epoch, idx, role, kind, content, created_at)"
        " SELECT conversation_id, id, epoch, reply_idx, 'assistant', 'reply', :content, :now"
        " FROM turns WHERE id = :turn",
        values,
    )


def finish(db: Database, now: float, fence: Fence) -> None:
    """See `Store.finish`. Resets the turn's death counts.

    A turn that was given up stays a suspect: if people ask for it again, it is given up after one
    more lone death.
    """
    ended = db.execute(
        "UPDATE turns SET state = 'done', finished_at = :now, held = 0,"
        " holder = NULL, lease_until = NULL,"
        " deaths = CASE WHEN lone_deaths < :most THEN 0 ELSE deaths END,"
        " lone_deaths = CASE WHEN lone_deaths < :most THEN 0 ELSE :most - 1 END"
        " WHERE id = :turn AND attempt = :attempt AND state = 'concluded'",
        {"now": now, "most": MAX_LONE_DEATHS, "turn": fence.turn, "attempt": fence.attempt},
    ).rowcount
    if not ended:
        raise rows.lost(fence)
