"""Reads which versions of questions and answers there are; `branches` says what versions are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.store.database import Database, Row

WAITING = 2**53
"""Stands for the index of a waiting version: above every index, and exact in JavaScript."""


def of_conversation(db: Database, conversation: int) -> list[list[tuple[int, bool]]]:
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
    known = [each["version"] for each in place_of(db, conversation, row["idx"])]
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
        found = place_of(db, conversation, parked)
        before = min(each["version"] for each in found if each["version"] is not None)
        current = (each["parked"] for each in found if each["parked"] != each["version"])
        parked = next(current, None)


@dataclass(frozen=True, slots=True)
class Segment:
    """The messages of one branch that are parked with `parked` and have an index below `before`."""

    parked: int | None
    before: int


# ── one place ─────────────────────────────────────────────────────────────────────────────────
def place_of(db: Database, conversation: int, version: int) -> list[Row]:
    """All versions of the place that this version belongs to."""
    found = db.execute(
        "SELECT place FROM messages WHERE conversation_id = ? AND idx = ? AND kind = 'question'",
        (conversation, version),
    ).fetchone()
    if found is not None:
        return [] if found["place"] is None else questions(db, conversation, found["place"])
    turn = db.execute(
        "SELECT coalesce(asks, id) AS asked FROM turns WHERE conversation_id = ? AND reply_idx = ?",
        (conversation, version),
    ).fetchone()
    return [] if turn is None else answers(db, turn["asked"])


def questions(db: Database, conversation: int, place: int) -> list[Row]:
    """The versions of a question."""
    return db.execute(
        "SELECT idx AS version, parked, epoch FROM messages"
        " WHERE conversation_id = ? AND place = ? ORDER BY id",
        (conversation, place),
    ).fetchall()


def answers(db: Database, asked: int) -> list[Row]:
    """The versions of the answer to the questions of the turn `asked`."""
    return db.execute(
        "SELECT reply_idx AS version, parked, epoch FROM turns"
        " WHERE (id = ? OR asks = ?) AND reply_idx IS NOT NULL ORDER BY id",
        (asked, asked),
    ).fetchall()
