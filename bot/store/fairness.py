"""Queries for recent askers, used when the process starts.

Invariant: the queries read only the newest rows, ordered by id, so they need no index on times.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from bot.domain.conversations import ConversationKey
from bot.domain.inbox import CountedQuestion
from bot.store import rows
from bot.store.database import Database, Row

_PAGE = 500  # rows per statement


def recent_questions(db: Database, since: float) -> list[CountedQuestion]:
    """See `Store.recent_questions`."""
    return [*_asked(db, since), *_asked_again(db, since)]


def _asked(db: Database, since: float) -> Iterator[CountedQuestion]:
    newest = _newest(
        db,
        "SELECT messages.id, messages.created_at AS stored_at, kind, messages.late, author_id,"
        " sent_at, platform, workspace, conversations.channel, thread"
        " FROM messages JOIN conversations ON conversations.id = conversation_id"
        " WHERE messages.id < ? ORDER BY messages.id DESC LIMIT ?",
    )
    for row in takewhile(lambda row: row["stored_at"] >= since, newest):
        if row["kind"] == "question" and not row["late"]:
            yield CountedQuestion(_key(row), row["author_id"], row["sent_at"])


def _asked_again(db: Database, since: float) -> Iterator[CountedQuestion]:
    """Retries and edits, dated by the first model request that each caused, because nothing else
    records their time. They count for the author of the first question."""
    newest = _newest(
        db,
        "SELECT model_requests.id, model_requests.created_at AS sent_at, purpose, person,"
        " opened > 0 AND model_requests.attempt > 1 AS is_again, turn_id, model_requests.attempt,"
        " model_requests.platform, model_requests.workspace, model_requests.channel, '' AS thread"
        " FROM model_requests LEFT JOIN turns ON turns.id = turn_id"
        " WHERE model_requests.id < ? ORDER BY model_requests.id DESC LIMIT ?",
    )
    attempts = set()
    for row in takewhile(lambda row: row["sent_at"] >= since, newest):
        attempt = (row["turn_id"], row["attempt"])
        if row["purpose"] == "answer" and row["is_again"] and attempt not in attempts:
            attempts.add(attempt)
            yield CountedQuestion(_key(row), row["person"], row["sent_at"])


def _newest(db: Database, select: str) -> Iterator[Row]:
    """Yield the rows of `select` page by page, because a PostgreSQL client fetches all rows of a
    statement."""
    before = rows.EVERYTHING
    while page := db.execute(select, (before, _PAGE)).fetchall():
        yield from page
        before = page[-1]["id"]


def _key(row: Row) -> ConversationKey:
    return ConversationKey(row["platform"], row["workspace"], row["channel"], row["thread"])


def has_several_workspaces(db: Database) -> bool:
    """See `Store.has_several_workspaces`. Does two look-ups in the index of owners."""
    found = db.execute(
        "SELECT * FROM (SELECT platform, workspace FROM conversations"
        "  ORDER BY platform, workspace LIMIT 1) AS first"
        " UNION SELECT * FROM (SELECT platform, workspace FROM conversations"
        "  ORDER BY platform DESC, workspace DESC LIMIT 1) AS last"
    )
    return len(found.fetchall()) > 1
