"""Erases a person's messages, files and names, and text that repeats them.

Invariant: a conversation that belonged to the person alone disappears. In one with other people,
the person's messages become empty, but keep their places. Answers to the others stay, unless they
repeat the person's words. See docs/decisions/2026-11-30-forgetting-a-person.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Change, Effect
from bot.domain.privacy import ERASED, Erased, Person
from bot.domain.repetition import Repetition
from bot.store import attachment_rows, edits, sharing
from bot.store.database import Database, Row, batches, marks

TOMBSTONE_SECONDS = 3_600.0  # as in bot.store.edits: a late redelivery must not restore a message

_EXTRACT_CHARACTERS = 200_000  # the part of one file that is compared with other people's replies


@dataclass(frozen=True, slots=True)
class ErasedHere:
    """The result of an erasure in one conversation.

    `changes` are the affected turns; `gone` is the conversation if it was deleted.
    """

    erased: Erased = field(default_factory=Erased)
    changes: Sequence[Change] = ()
    gone: ConversationKey | None = None


def conversations_of(db: Database, person: Person, until: float) -> list[int]:
    """The row ids of the conversations that the person began or wrote in."""
    found = db.execute(
        "SELECT id, workspace FROM conversations WHERE platform = :platform AND began_by_id = :id"
        " AND created_at <= :until"
        " UNION SELECT conversations.id, workspace FROM messages"
        " JOIN conversations ON conversations.id = conversation_id"
        " WHERE author_id = :id AND platform = :platform AND messages.created_at <= :until",
        {"platform": person.platform, "id": person.id, "until": until},
    ).fetchall()
    return [row["id"] for row in found if person.covers(row["workspace"])]


def erase_in(
    db: Database, now: float, conversation: int, person: Person, until: float
) -> ErasedHere:
    """Erase the person's messages up to `until` in one conversation."""
    row = db.execute("SELECT * FROM conversations WHERE id = ?", (conversation,)).fetchone()
    if row is None:
        return ErasedHere()
    attachment_rows.lock_files(db, conversation)
    messages = _messages(db, conversation, person, until)
    if _is_alone(db, conversation, person, until):
        return _delete(db, now, row, messages)
    return _erase_among_others(db, now, row, messages, person)


def _messages(db: Database, conversation: int, person: Person, until: float) -> list[Row]:
    return db.execute(
        "SELECT * FROM messages WHERE conversation_id = ? AND author_id = ? AND created_at <= ?"
        " ORDER BY id",
        (conversation, person.id, until),
    ).fetchall()


def _is_alone(db: Database, conversation: int, person: Person, until: float) -> bool:
    """Whether no one else wrote in the conversation, nor the person after `until`."""
    found = db.execute(
        "SELECT 1 FROM messages WHERE conversation_id = ? AND author_id IS NOT NULL"
        " AND author_id <> ? AND (author_id <> ? OR created_at > ?) LIMIT 1",
        (conversation, ERASED, person.id, until),
    )
    return found.fetchone() is None


# ── a conversation that was only the person's ─────────────────────────────────────────────────
def _delete(db: Database, now: float, row: Row, messages: Sequence[Row]) -> ErasedHere:
    erased = Erased(
        1, len(messages), attachment_rows.count(db, messages), _count_replies(db, row["id"])
    )
    recent = [(m["source"], now) for m in messages if m["created_at"] > now - TOMBSTONE_SECONDS]
    known = [each for each in recent if each[0]]
    db.executemany(edits.TOMBSTONE, known)
    db.execute("DELETE FROM conversations WHERE id = ?", (row["id"],))
    key = ConversationKey(row["platform"], row["workspace"], row["channel"], row["thread"])
    return ErasedHere(erased, gone=key)


def _count_replies(db: Database, conversation: int) -> int:
    (replies,) = db.execute(
        "SELECT count(*) FROM turns WHERE conversation_id = ? AND content <> ''", (conversation,)
    ).fetchone()
    return int(replies)


# ── a conversation with other people ──────────────────────────────────────────────────────────
def _erase_among_others(
    db: Database,
    now: float,
    row: Row,
    messages: Sequence[Row],
    person: Person,
) -> ErasedHere:
    said = Repetition(_texts(db, messages), {each["author_name"] or "" for each in messages})
    files = attachment_rows.count(db, messages)
    changes = [_erase_message(db, now, each) for each in messages]
    db.executemany(
        "UPDATE messages SET author_id = ?, author_name = '' WHERE id = ?",
        [(ERASED, each["id"]) for each in messages],
    )
    asked = {each["turn_id"] for each in messages if each["turn_id"] is not None}
    replies = sum(_erase_reply(db, now, turn) for turn in _repeating(db, row["id"], asked, said))
    changes += _ask_again(db, now, row["id"], asked, said)
    for other in _others(db, row["id"]):
        _erase_quotes(db, other, said)
    _rename(db, row, person, said)
    if row["began_by_id"] in (None, person.id) or said.is_in(row["instructions"]):
        sharing.forget(db, row["id"])  # both exist only for the person who began the conversation
    return ErasedHere(Erased(0, len(messages), files, replies), changes)


def _erase_message(db: Database, now: float, message: Row) -> Change:
    """Erase a message. A reply that is completely shown stays on the platform."""
    running = db.execute(
        "SELECT 1 FROM turns WHERE (id = :turn OR asks = :turn) AND state <> 'done'",
        {"turn": message["turn_id"]},
    ).fetchone()
    return edits.erase_message(db, message, running is not None, now)


def _texts(db: Database, messages: Sequence[Row]) -> Iterator[str]:
    for some in batches(messages):
        yield from (each["content"] for each in some)
        for name, text in db.execute(
            "SELECT name, substr(coalesce(text, ''), 1, ?) FROM attachments"  # noqa: S608
            " LEFT JOIN extracts ON extracts.digest = attachments.digest"
            f" WHERE message_id IN ({marks(some)})",
            (_EXTRACT_CHARACTERS, *(each["id"] for each in some)),
        ):
            yield name
            yield text


def _repeating(db: Database, conversation: int, asked: set[int], said: Repetition) -> Iterator[Row]:
    """The ended turns that answer the person, or whose reply repeats their words."""
    found = db.execute(
        "SELECT * FROM turns WHERE conversation_id = ? AND state = 'done' AND outcome IS NOT NULL",
        (conversation,),
    ).fetchall()
    for turn in found:
        text = f"{turn['content'] or ''}\n{turn['display'] or ''}"
        answers = not asked.isdisjoint((turn["id"], turn["asks"]))
        if text.strip() and (answers or said.is_in(text)):
            yield turn


def _ask_again(
    db: Database, now: float, conversation: int, asked: set[int], said: Repetition
) -> Iterator[Change]:
    """Adapt unfinished turns of other people, whose requests may contain the person's words.

    Running turns start again. A complete answer that repeats the person is taken back.
    """
    found = db.execute(
        "SELECT * FROM turns WHERE conversation_id = ? AND state IN ('running', 'concluded')",
        (conversation,),
    ).fetchall()
    for turn in found:
        if not asked.isdisjoint((turn["id"], turn["asks"])):  # `edits.erase_message` did it
            continue
        if turn["state"] == "running":
            edits.reopen_turn(db, turn)
        elif said.is_in(f"{turn['content'] or ''}\n{turn['display'] or ''}"):
            edits.take_back(db, turn, now)
        else:
            continue
        yield Change(Effect.REOPENED, conversation, turn["id"])


def _erase_reply(db: Database, now: float, turn: Row) -> int:
    db.execute("UPDATE turns SET content = '', display = '' WHERE id = ?", (turn["id"],))
    db.execute("DELETE FROM feedback WHERE turn_id = ?", (turn["id"],))
    db.execute(
        "UPDATE messages SET content = '', parts = NULL, erased_at = coalesce(erased_at, ?)"
        " WHERE turn_id = ? AND kind = 'reply'",
        (now, turn["id"]),
    )
    return 1


def _others(db: Database, conversation: int) -> list[Row]:
    """Other people's messages that may quote someone."""
    return db.execute(
        "SELECT id, content FROM messages WHERE conversation_id = ? AND kind <> 'reply'"
        " AND instr(content, '>') > 0",
        (conversation,),
    ).fetchall()


def _erase_quotes(db: Database, message: Row, said: Repetition) -> None:
    text = said.without_quotes(message["content"])
    if text != message["content"]:
        db.execute("UPDATE messages SET content = ? WHERE id = ?", (text, message["id"]))


def _rename(db: Database, row: Row, person: Person | None, said: Repetition) -> None:
    """Remove the person from the conversation's own fields, and delete its summary."""
    db.execute("DELETE FROM summaries WHERE conversation_id = ?", (row["id"],))
    if person is not None and row["began_by_id"] == person.id:
        db.execute(
            "UPDATE conversations SET began_by_id = NULL, began_by_name = NULL WHERE id = ?",
            (row["id"],),
        )
    (name,) = db.execute("SELECT name FROM conversations WHERE id = ?", (row["id"],)).fetchone()
    if said.is_in(name):
        db.execute("UPDATE conversations SET name = '' WHERE id = ?", (row["id"],))


# ── quotes in other conversations ─────────────────────────────────────────────────────────────
def names_of(db: Database, person: Person, until: float) -> list[str]:
    """The names that the person used."""
    found = db.execute(
        "SELECT DISTINCT author_name FROM messages"
        " JOIN conversations ON conversations.id = conversation_id"
        " WHERE author_id = ? AND platform = ? AND messages.created_at <= ?",
        (person.id, person.platform, until),
    )
    return [name for (name,) in found if name]


def quoting(db: Database, platform: str, names: Sequence[str]) -> list[int]:
    """The messages on the platform that quote one of `names`. Scans every message."""
    labels = [label for name in names for label in (f"{name} wrote:", f"In reply to {name}:")]
    quoting: set[int] = set()
    for some in batches(labels):  # SQLite limits the depth of an expression
        either = " OR ".join(["instr(content, ?) > 0"] * len(some))
        found = db.execute(
            "SELECT messages.id FROM messages"  # noqa: S608 - our words
            " JOIN conversations ON conversations.id = conversation_id"
            f" WHERE platform = ? AND ({either})",
            (platform, *some),
        )
        quoting.update(row["id"] for row in found)
    return sorted(quoting)


def erase_quotes(
    db: Database, now: float, messages: Sequence[int], names: Sequence[str]
) -> ErasedHere:
    """Remove quotes of a person with these names from the messages, and take back answers that
    repeat them."""
    changes: list[Change] = []
    for conversation, quoting in _by_conversation(db, messages).items():
        found = "SELECT * FROM conversations WHERE id = ?"
        row = db.execute(found, (conversation,)).fetchone()
        quoted = Repetition((), names).quoted_in
        said = Repetition([quoted(each["content"]) for each in quoting], names)
        for message in quoting:
            _erase_quotes(db, message, said)
        for turn in _repeating(db, conversation, set(), said):
            _erase_reply(db, now, turn)
        changes += _ask_again(db, now, conversation, set(), said)
        _rename(db, row, None, said)
    return ErasedHere(changes=changes)


def _by_conversation(db: Database, messages: Sequence[int]) -> Mapping[int, Sequence[Row]]:
    """The messages that still exist, by conversation: its replies are compared once with all
    quotes, because it may have thousands."""
    grouped: defaultdict[int, list[Row]] = defaultdict(list)
    for some in batches(messages):
        found = db.execute(
            f"SELECT id, conversation_id, content FROM messages WHERE id IN ({marks(some)})"  # noqa: S608
            " ORDER BY id",
            tuple(some),
        )
        for row in found:
            grouped[row["conversation_id"]].append(row)
    return grouped


def applied(db: Database) -> set[str]:
    """The ids of the erasures that were already applied to this database."""
    return {row["id"] for row in db.execute("SELECT id FROM erasures")}


def has_erasures(db: Database) -> bool:
    """Whether the schema is new enough for this module."""
    found = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'erasures'")
    return found.fetchone() is not None
