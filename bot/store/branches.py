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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.domain import http_texts, texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import RecordHeld
from bot.domain.inbox import Change, Effect, Incoming
from bot.store import contexts, rows
from bot.store.commands import record_command
from bot.store.database import Database, Row

MOST_VERSIONS = 50
"""The most versions of one question, and answers to one question; more than people will browse."""

WAITING = 2**53
"""Stands for the index of a waiting version: above every index, and exact in JavaScript."""

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
    effect = _refused(conversation, row, len(_answers(db, asked)))
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
    effect = _refused(conversation, old, len(_questions(db, conversation["id"], place)))
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
    versions = _place_of(db, conversation["id"], version)
    shown = next((each for each in versions if each["parked"] is None), None)
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


# ── queries ───────────────────────────────────────────────────────────────────────────────────
def versions(db: Database, conversation: int) -> list[list[tuple[int, bool]]]:
    """See `Library.versions`. Runs two statements, however many places there are."""
    questions = db.execute(
        "SELECT place, idx AS version, parked FROM messages"  # noqa: S608 - our words
        " WHERE conversation_id = :conversation AND place IS NOT NULL"
        f" AND {_PRESENT}"
        f" AND (erased_at IS NULL OR parked IS NULL OR {_says_something('messages.idx')})"
        " ORDER BY place, idx IS NULL, idx",
        {"conversation": conversation},
    ).fetchall()
    answers = db.execute(
        "SELECT coalesce(asks, id) AS place, reply_idx AS version, parked FROM turns"  # noqa: S608
        " WHERE conversation_id = :conversation AND reply_idx IS NOT NULL"
        f" AND {_PRESENT}"
        f" AND (display <> '' OR parked IS NULL OR {_says_something('turns.reply_idx')})"
        " AND coalesce(asks, id) IN"
        "  (SELECT asks FROM turns WHERE conversation_id = :conversation AND asks IS NOT NULL)"
        " ORDER BY coalesce(asks, id), reply_idx",
        {"conversation": conversation},
    ).fetchall()
    places: list[list[tuple[int, bool]]] = []
    for group in (*_groups(questions), *_groups(answers)):
        shown = [each["parked"] is None for each in group]
        # A waiting question has no index yet; it comes after all others.
        numbers = [WAITING if each["version"] is None else each["version"] for each in group]
        if any(shown) and len(group) > 1:
            places.append(list(zip(numbers, shown, strict=True)))
    return places


_PRESENT = "epoch = (SELECT epoch FROM conversations WHERE id = :conversation)"


def _says_something(version: str) -> str:
    """SQL that tells whether a parked version would show anything if it were shown."""
    return (
        "(EXISTS (SELECT 1 FROM messages AS kept WHERE kept.conversation_id = :conversation"  # noqa: S608 - a column
        f"  AND kept.parked = {version} AND kept.erased_at IS NULL)"
        " OR EXISTS (SELECT 1 FROM turns AS kept WHERE kept.conversation_id = :conversation"
        f"  AND kept.parked = {version} AND kept.display <> ''))"
    )


def of_message(db: Database, conversation: int, uid: str) -> list[int]:
    """See `Library.versions_of`. Returns the indexes of a message's versions."""
    row = db.execute(
        "SELECT idx FROM messages WHERE conversation_id = ? AND uid = ? AND erased_at IS NULL"
        " AND idx IS NOT NULL",
        (conversation, uid),
    ).fetchone()
    if row is None:
        return []
    known = [each["version"] for each in _place_of(db, conversation, row["idx"])]
    return [each for each in known if each is not None] or [row["idx"]]


def _groups(found: Sequence[Row]) -> Iterator[list[Row]]:
    """Group consecutive rows that have the same place."""
    group: list[Row] = []
    for row in found:
        if group and row["place"] != group[0]["place"]:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def segments(db: Database, conversation: int, parked: int | None, before: int) -> Iterator[Segment]:
    """The parts of the branch that ends below index `before`, newest first.

    `parked` is the version with which its end is parked; None if that part is shown.
    """
    while True:
        yield Segment(parked, before)
        if parked is None:
            return
        found = _place_of(db, conversation, parked)
        before = min(each["version"] for each in found if each["version"] is not None)
        current = (each["parked"] for each in found if each["parked"] != each["version"])
        parked = next(current, None)


@dataclass(frozen=True, slots=True)
class Segment:
    """The messages of one branch that are parked with `parked` and have an index below `before`."""

    parked: int | None
    before: int


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


def _place_of(db: Database, conversation: int, version: int) -> list[Row]:
    """All versions of the place that this version belongs to."""
    found = db.execute(
        "SELECT place FROM messages WHERE conversation_id = ? AND idx = ? AND kind = 'question'",
        (conversation, version),
    ).fetchone()
    if found is not None:
        return [] if found["place"] is None else _questions(db, conversation, found["place"])
    turn = db.execute(
        "SELECT coalesce(asks, id) AS asked FROM turns WHERE conversation_id = ? AND reply_idx = ?",
        (conversation, version),
    ).fetchone()
    return [] if turn is None else _answers(db, turn["asked"])


def _questions(db: Database, conversation: int, place: int) -> list[Row]:
    return db.execute(
        "SELECT idx AS version, parked, epoch FROM messages"
        " WHERE conversation_id = ? AND place = ? ORDER BY id",
        (conversation, place),
    ).fetchall()


def _answers(db: Database, asked: int) -> list[Row]:
    return db.execute(
        "SELECT reply_idx AS version, parked, epoch FROM turns"
        " WHERE (id = ? OR asks = ?) AND reply_idx IS NOT NULL ORDER BY id",
        (asked, asked),
    ).fetchall()


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
