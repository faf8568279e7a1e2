"""Votes on replies. Invariant: only the currently stored reply has votes.

Every removal of a reply's text (a retry, a deletion) deletes its votes in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain.conversations import ConversationKey
from bot.domain.feedback import MAX_COMMENT, Feedback, Vote, VoteEffect
from bot.store import locks
from bot.store.database import Database
from bot.store.operations import Operations, reads, writes_at
from bot.store.values import storable


def press(
    db: Database, now: float, key: ConversationKey, turn: int, person: str, vote: Vote
) -> VoteEffect:
    """See `FeedbackStore.press`."""
    if not _has_reply(db, key, turn):
        return VoteEffect.UNKNOWN
    earlier = db.execute(
        "SELECT vote FROM feedback WHERE turn_id = ? AND person = ?", (turn, person)
    ).fetchone()
    if earlier is not None and earlier["vote"] == vote.value:
        _delete(db, turn, person)
        return VoteEffect.TAKEN_BACK
    _put(db, now, turn, person, vote, "")
    return VoteEffect.COUNTED


def set_vote(
    db: Database,
    now: float,
    key: ConversationKey,
    turn: int,
    person: str,
    vote: Vote | None,
    comment: str = "",
) -> bool:
    """See `FeedbackStore.set_vote`. Only a thumbs-down has a comment."""
    if not _has_reply(db, key, turn):
        return False
    if vote is None:
        _delete(db, turn, person)
    else:
        _put(db, now, turn, person, vote, comment if vote is Vote.DOWN else "")
    return True


def set_comment(
    db: Database, now: float, key: ConversationKey, turn: int, person: str, text: str
) -> bool:
    """See `FeedbackStore.set_comment`."""
    if not _has_reply(db, key, turn):
        return False
    changed = db.execute(
        "UPDATE feedback SET comment = ?, updated_at = ?"
        " WHERE turn_id = ? AND person = ? AND vote = 'down'",
        (_comment(text), now, turn, person),
    )
    return changed.rowcount > 0


def votes(db: Database, key: ConversationKey, person: str) -> Mapping[int, Feedback]:
    """See `FeedbackStore.votes`."""
    found = db.execute(
        "SELECT turn_id, vote, comment FROM conversations"
        " JOIN turns ON turns.conversation_id = conversations.id"
        " JOIN feedback ON feedback.turn_id = turns.id AND person = ?"
        " WHERE platform = ? AND workspace = ? AND channel = ? AND thread = ?",
        (person, key.platform, key.workspace, key.channel, key.thread),
    )
    return {
        row["turn_id"]: Feedback(row["turn_id"], Vote(row["vote"]), row["comment"]) for row in found
    }


def turn_of(db: Database, key: ConversationKey, reply: str) -> int | None:
    """See `FeedbackStore.turn_of`."""
    row = db.execute(
        "SELECT turn_id FROM messages JOIN conversations ON conversations.id = conversation_id"
        " WHERE messages.uid = ? AND kind = 'reply' AND platform = ? AND workspace = ?"
        " AND conversations.channel = ? AND thread = ?",
        (reply, key.platform, key.workspace, key.channel, key.thread),
    ).fetchone()
    return None if row is None else int(row["turn_id"])


def forget_votes(db: Database, turn: int) -> None:
    """Delete the votes on a reply whose text is being removed."""
    db.execute("DELETE FROM feedback WHERE turn_id = ?", (turn,))


def _has_reply(db: Database, key: ConversationKey, turn: int) -> bool:
    found = db.execute(
        "SELECT 1 FROM turns JOIN conversations ON conversations.id = turns.conversation_id"
        " WHERE turns.id = ? AND state IN ('concluded', 'done') AND content <> ''"
        " AND platform = ? AND workspace = ? AND channel = ? AND thread = ?",
        (turn, key.platform, key.workspace, key.channel, key.thread),
    )
    return found.fetchone() is not None


def _put(db: Database, now: float, turn: int, person: str, vote: Vote, comment: str) -> None:
    db.execute(
        "INSERT INTO feedback (turn_id, person, vote, comment, created_at, updated_at)"
        " VALUES (:turn, :person, :vote, :comment, :now, :now)"
        " ON CONFLICT (turn_id, person) DO UPDATE SET vote = :vote, comment = :comment,"
        " updated_at = :now",
        {
            "turn": turn,
            "person": person,
            "vote": vote.value,
            "comment": _comment(comment),
            "now": now,
        },
    )


def _delete(db: Database, turn: int, person: str) -> None:
    db.execute("DELETE FROM feedback WHERE turn_id = ? AND person = ?", (turn, person))


def _comment(text: str) -> str:
    return storable(text.strip())[:MAX_COMMENT]


class SqlFeedback(Operations):
    """Implements `bot.ports.feedback.FeedbackStore`."""

    press = writes_at(press, lock=locks.by_key)
    set_vote = writes_at(set_vote, lock=locks.by_key)
    set_comment = writes_at(set_comment, lock=locks.by_key)
    turn_of = reads(turn_of)
    votes = reads(votes)
