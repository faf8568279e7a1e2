"""Switches between versions of a question or an answer, together with everything that followed
them.

A **place** holds versions: a question and its edited forms, or the answers to one question. A
**version** is identified by its index: the question's, or the one that was reserved for the answer.
All rows that are not shown are parked with a version, and are shown again with it.

Invariants: each place has exactly one version that is not parked with itself. The shown rows form
one branch, in the order of their indexes. Nothing is parked or shown again while a turn waits or
runs. See docs/decisions/2026-11-30-branches.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain import http_texts, texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import RecordHeld
from bot.domain.inbox import Change, Effect, Incoming
from bot.store import contexts, rows, versions
from bot.store.commands import record_command
from bot.store.database import Database, Row

MOST_VERSIONS = 50
"""The most versions of one question, and answers to one question; more than people will browse."""


WHY_NOT = {
    Effect.BUSY: http_texts.MESSAGE_IN_USE,
    Effect.SUPERSEDED: texts.STARTED_OVER,
    Effect.FULL: texts.TOO_MANY_VERSIONS,
    Effect.UNKNOWN: http_texts.NOT_SHOWN,
}


# ── another answer ────────────────────────────────────────────────────────────────────────────
def answer_again(
    db: Database,
    now: float,
    key: ConversationKey,
    turn: int | None,
    *,
    model: str | None = None,
    source: str = "",
) -> Change:
    """See `Store.answer_again`. The new turn begins like a reopened one, ready to be claimed, so
    that a question that arrives now waits for its end."""
    record_command(db, now, source)
    conversation = rows.find(db, key)
    if conversation is None:
        return Change(Effect.UNKNOWN)
    if _is_busy(db, conversation["id"]):
        return Change(Effect.BUSY, conversation["id"])
    row = _answered(db, conversation["id"], turn)
    if row is None:
        return Change(Effect.UNKNOWN)
    asked = row["asks"] or row["id"]
    effect = _refused(conversation, row, len(versions.answers(db, asked)))
    if effect is not None:
        return Change(effect, conversation["id"], row["id"])
    _settle(db, now, conversation["id"])
    _park(db, conversation, row["reply_idx"])
    contexts.branch(db, conversation["id"], row["epoch"], since=row["reply_idx"])
    new = _insert(db, now, row, asked, model)
    return Change(Effect.REOPENED, conversation["id"], new)


def _answered(db: Database, conversation: int, turn: int | None) -> Row | None:
    """The shown turn, or the newest one, if at least one of its questions remains."""
    row: Row | None = db.execute(
        "SELECT * FROM turns WHERE conversation_id = :conversation AND parked IS NULL"
        " AND id = coalesce(:turn, (SELECT max(id) FROM turns"
        "  WHERE conversation_id = :conversation AND parked IS NULL)) AND reply_idx IS NOT NULL"
        " AND EXISTS (SELECT 1 FROM messages WHERE turn_id = coalesce(turns.asks, turns.id)"
        "  AND kind = 'question' AND erased_at IS NULL AND messages.parked IS NULL)",
        {"conversation": conversation, "turn": turn},
    ).fetchone()
    return row


def _insert(db: Database, now: float, row: Row, asked: int, model: str | None) -> int:
    values = {
        "conversation_id": row["conversation_id"],
        "epoch": row["epoch"],
        "state": "running",
        "attempt": 1,
        "opened": 1,
        "reply_idx": rows.take(db, row["conversation_id"], 1),
        "asks": asked,
        "wanted_model": model,
        "created_at": now,
        "claimed_at": now,
    }
    return rows.insert_row(db, "turns", values)


# ── another question ──────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Revised:
    """The question that now has another version, by row id, and the place of both."""

    message: int
    place: int


def make_room(db: Database, now: float, conversation: Row, incoming: Incoming) -> Revised:
    """Park the question that `incoming` replaces, with everything that followed it.

    Raises RecordHeld, with the reason, if this is not possible.
    """
    old = db.execute(
        "SELECT * FROM messages WHERE source = ? AND conversation_id = ? AND author_id = ?"
        " AND kind = 'question' AND erased_at IS NULL AND parked IS NULL",
        (incoming.revises, conversation["id"], incoming.author.id),
    ).fetchone()
    if _is_busy(db, conversation["id"]):
        raise RecordHeld(WHY_NOT[Effect.BUSY])
    if old is None:
        raise RecordHeld(WHY_NOT[Effect.UNKNOWN])
    place = old["idx"] if old["place"] is None else old["place"]
    effect = _refused(conversation, old, len(versions.questions(db, conversation["id"], place)))
    if effect is not None:
        raise RecordHeld(WHY_NOT[effect])
    db.execute("UPDATE messages SET place = ? WHERE id = ?", (place, old["id"]))
    first = _first_question(db, conversation["id"])
    _settle(db, now, conversation["id"])
    _park(db, conversation, old["idx"])
    contexts.branch(db, conversation["id"], old["epoch"], since=old["idx"])
    _rename(db, conversation, first, _first_question(db, conversation["id"]) or incoming.text)
    return Revised(old["id"], place)


# ── showing another one ───────────────────────────────────────────────────────────────────────
def show_version(
    db: Database, now: float, key: ConversationKey, version: int, *, source: str = ""
) -> Change:
    """See `Store.show_version`."""
    record_command(db, now, source)
    conversation = rows.find(db, key)
    if conversation is None:
        return Change(Effect.UNKNOWN)
    known = versions.place_of(db, conversation["id"], version)
    shown = next((each for each in known if each["parked"] is None), None)
    change = conversation["id"], 0
    if shown is None:
        return Change(Effect.UNKNOWN, *change)
    if shown["version"] == version:
        return Change(Effect.SAME, *change)
    if _is_busy(db, conversation["id"]):
        return Change(Effect.BUSY, *change)
    if shown["epoch"] != conversation["epoch"]:
        return Change(Effect.SUPERSEDED, *change)
    first = _first_question(db, conversation["id"])
    _settle(db, now, conversation["id"])
    _park(db, conversation, shown["version"])
    for table in ("messages", "turns"):
        db.execute(
            f"UPDATE {table} SET parked = NULL WHERE conversation_id = ? AND parked = ?",  # noqa: S608
            (conversation["id"], version),
        )
    since = min(shown["version"], version)
    contexts.branch(db, conversation["id"], conversation["epoch"], since=since)
    _rename(db, conversation, first, _first_question(db, conversation["id"]))
    return Change(Effect.STORED, *change)


# ── parts ─────────────────────────────────────────────────────────────────────────────────────
def _is_busy(db: Database, conversation: int) -> bool:
    found = db.execute(
        "SELECT 1 FROM turns WHERE conversation_id = ? AND state IN ('waiting', 'running') LIMIT 1",
        (conversation,),
    )
    return found.fetchone() is not None


def _refused(conversation: Row, row: Row, known: int) -> Effect | None:
    """The reason why a place with `known` versions gets no further one; None if it can."""
    if row["epoch"] != conversation["epoch"]:
        return Effect.SUPERSEDED
    return Effect.FULL if known >= MOST_VERSIONS else None


def _settle(db: Database, now: float, conversation: int) -> None:
    """End a turn whose answer is stored, and bind messages that no turn has bound.

    This only skips the answer's last edit on the page, where every tab reloads the thread anyway.
    """
    db.execute(
        "UPDATE turns SET state = 'done', attempt = attempt + 1, held = 0,"
        " holder = NULL, lease_until = NULL, finished_at = ?"
        " WHERE conversation_id = ? AND state = 'concluded'",
        (now, conversation),
    )
    rows.bind(db, conversation, until=rows.EVERYTHING)


def _park(db: Database, conversation: Row, version: int) -> None:
    """Park everything shown from this version on."""
    values = {"conversation": conversation["id"], "version": version}
    db.execute(
        "UPDATE turns SET parked = :version WHERE conversation_id = :conversation"
        " AND parked IS NULL AND coalesce(reply_idx,"
        "  (SELECT max(idx) FROM messages WHERE turn_id = turns.id)) >= :version",
        values,
    )
    db.execute(
        "UPDATE messages SET parked = :version WHERE conversation_id = :conversation"
        " AND idx >= :version AND parked IS NULL",
        values,
    )


def _first_question(db: Database, conversation: int) -> str:
    row = db.execute(
        "SELECT content FROM messages WHERE conversation_id = ? AND idx IS NOT NULL"
        " AND kind = 'question' AND parked IS NULL AND erased_at IS NULL ORDER BY idx LIMIT 1",
        (conversation,),
    ).fetchone()
    return "" if row is None else str(row["content"])


def _rename(db: Database, conversation: Row, before: str, after: str) -> None:
    """Rename the conversation after its first question, if it was named after that question
    before."""
    if after and conversation["name"] == rows.name_of(before):
        db.execute(
            "UPDATE conversations SET name = ? WHERE id = ?",
            (rows.name_of(after), conversation["id"]),
        )
