"""Reads replies and their votes from a database, for the operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bot.domain.conversations import Role
from bot.domain.evaluation import Answer, Case, Rating, Speech
from bot.domain.feedback import Vote
from bot.store import rows, versions
from bot.store.database import Database, Row, marks
from bot.store.message_views import COST

MOST_MESSAGES = 500
"""How many of a conversation's newest messages accompany a reply; most windows hold fewer."""

_RATED = (
    "SELECT turn_id FROM feedback WHERE updated_at >= ?"
    " GROUP BY turn_id ORDER BY max(updated_at), turn_id"
)
_ENDED = "SELECT id FROM turns WHERE concluded_at >= ? AND content <> '' ORDER BY concluded_at, id"
_REPLY = (
    f"SELECT turns.*, uid, platform, workspace, channel, thread, shared, {COST}"  # noqa: S608
    " FROM turns JOIN conversations ON conversations.id = turns.conversation_id"
    " WHERE turns.id = ? AND content <> '' AND concluded_at IS NOT NULL"
)
_SAID = (
    "SELECT id, role, kind, content, author_id, author_name, turn_id FROM messages"
    " WHERE conversation_id = ? AND epoch = ? AND idx >= ? AND idx < ?"
    " AND parked IS NOT DISTINCT FROM CAST(? AS BIGINT)"
    " AND erased_at IS NULL AND withheld = 0 ORDER BY idx DESC LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects the replies that ended, or got a vote, at `since` or later.

    `since` is in Unix seconds. `rated` excludes replies without votes; `names` includes who wrote
    and voted, and where.
    """

    since: float = 0.0
    rated: bool = True
    names: bool = False


def read_cases(db: Database, selection: Selection) -> Iterator[Case]:
    """Read the selected replies, oldest first."""
    statement = _RATED if selection.rated else _ENDED
    for (turn,) in db.execute(statement, (selection.since,)).fetchall():
        case = _read_case(db, turn, names=selection.names)
        if case is not None:
            yield case


def _read_case(db: Database, turn: int, *, names: bool) -> Case | None:
    """Read one reply; None if it or its questions no longer exist."""
    row = db.execute(_REPLY, (turn,)).fetchone()
    if row is None:
        return None
    said = _said(db, row)
    questions = sum(each["turn_id"] == (row["asks"] or turn) for each in said)
    if not questions or not any(each["content"] for each in said[-questions:]):
        return None
    people = _people(said, names=names)
    place = (row["platform"], row["workspace"], row["channel"], row["thread"])
    return Case(
        turn=turn,
        conversation=row["uid"],
        epoch=row["epoch"],
        at=row["concluded_at"],
        messages=tuple(_speech(each, people) for each in said),
        questions=questions,
        reply=_answer(row),
        shared=bool(row["shared"]),
        profile=row["profile"] or "",
        prompt=row["prompt_digest"] or "",
        attachments=_count_attachments(db, said),
        place=place if names else place[:1],
        ratings=tuple(_ratings(db, row, names=names)),
    )


def _said(db: Database, row: Row) -> list[Row]:
    """The messages before the reply on its branch, oldest first."""
    conversation, start = row["conversation_id"], row["context_start"] or 0
    found: list[Row] = []
    for segment in versions.segments(db, conversation, row["parked"], row["reply_idx"]):
        found += db.execute(
            _SAID,
            (
                conversation,
                row["epoch"],
                start,
                segment.before,
                segment.parked,
                MOST_MESSAGES - len(found),
            ),
        ).fetchall()
    return found[::-1]


def _people(said: list[Row], *, names: bool) -> Mapping[str, str]:
    """The name under which each author appears."""
    found = {each["author_id"]: each["author_name"] for each in said if each["author_id"]}
    if names:
        return found
    return {person: f"person {number}" for number, person in enumerate(found, 1)}


def _speech(row: Row, people: Mapping[str, str]) -> Speech:
    return Speech(Role(row["role"]), row["content"], people.get(row["author_id"], ""))


def _answer(row: Row) -> Answer:
    begun, first, ended = row["claimed_at"], row["first_token_at"], row["concluded_at"]
    return Answer(
        text=row["content"],
        model=row["model"] or "",
        usage=rows.usage_from(row),
        cost=row["cost"] if row["input_tokens"] is not None else None,
        first_token_seconds=None if None in (begun, first) else max(0.0, first - begun),
        seconds=None if begun is None else max(0.0, ended - begun),
    )


def _count_attachments(db: Database, said: list[Row]) -> int:
    (count,) = db.execute(
        f"SELECT count(*) FROM attachments WHERE message_id IN ({marks(said)})",  # noqa: S608
        [each["id"] for each in said],
    ).fetchone()
    return int(count)


def _ratings(db: Database, reply: Row, *, names: bool) -> Iterator[Rating]:
    found = db.execute(
        "SELECT vote, comment, updated_at, person, (SELECT author_name FROM messages"
        "  WHERE conversation_id = ? AND author_id = person ORDER BY id DESC LIMIT 1) AS name"
        " FROM feedback WHERE turn_id = ? ORDER BY updated_at, person",
        (reply["conversation_id"], reply["id"]),
    )
    for row in found:
        rating = Rating(Vote(row["vote"]), row["comment"], row["updated_at"])
        yield (
            Rating(rating.vote, rating.comment, rating.at, row["person"], row["name"] or "")
            if names
            else rating
        )
