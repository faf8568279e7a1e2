"""The list of erasures in a separate schema, which restoring a backup does not revert.

Invariants: an erasure is in the list before it changes the database. The list contains digests, but
no names. No process stores a message that is older than the erasure of its author.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence

from bot.domain.inbox import Accepted, Incoming, Receipt
from bot.domain.privacy import Erasure, Person
from bot.store import erasure, messages, personal_records
from bot.store.database import Database
from bot.store.postgres.session import Session

_TABLE = "threadline_erased.people"


def salt(db: Database) -> bytes:
    """The list's salt, which makes precomputed tables of digests useless."""
    (found,) = db.execute("SELECT salt FROM threadline_erased.salt").fetchall()[0]
    return bytes.fromhex(found)


def digest(db: Database, platform: str, user: str) -> str:
    """Compute the digest of a person."""
    name = json.dumps([platform, user]).encode()
    return hashlib.blake2b(name, key=salt(db), digest_size=20).hexdigest()


def add(db: Database, now: float, person: Person) -> Erasure:
    """Add an erasure.

    Its time is read here, while no other process can write: a message that was stored while this
    call waited for the lock is older than the erasure.
    """
    [row] = db.execute("SELECT extract(epoch FROM clock_timestamp())::float8 AS now").fetchall()
    entry = Erasure(
        secrets.token_hex(6), digest(db, person.platform, person.id), person.platform,
        person.workspace, max(now, row["now"]),
    )  # fmt: skip
    _insert(db, entry)
    return entry


def join(db: Database, file_salt: str, found: Sequence[Erasure]) -> bool:
    """Merge the entries of a copy of the list. Returns whether it really is a copy of this list.

    A new database with an empty list adopts the copy's salt.
    """
    if file_salt and file_salt != salt(db).hex():
        if entries(db):
            return False
        db.execute("UPDATE threadline_erased.salt SET salt = ?", (file_salt,))
    known = {entry.id for entry in entries(db)}
    for entry in found:
        if entry.id not in known:
            _insert(db, entry)
    return True


def salt_and_entries(db: Database) -> tuple[str, Sequence[Erasure]]:
    """The whole list."""
    return salt(db).hex(), entries(db)


def _insert(db: Database, entry: Erasure) -> None:
    db.execute(
        f"INSERT INTO {_TABLE} (id, person, platform, workspace, at) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
        (entry.id, entry.person, entry.platform, entry.workspace, entry.at),
    )


def entries(db: Database) -> Sequence[Erasure]:
    """All erasures, oldest first."""
    found = db.execute(f"SELECT id, person, platform, workspace, at FROM {_TABLE} ORDER BY at, id")  # noqa: S608
    return [Erasure(*row) for row in found]


def missing(db: Database) -> Sequence[Erasure]:
    """The erasures not yet applied to this database, because it is a restored backup."""
    done = erasure.applied(db)
    return [entry for entry in entries(db) if entry.id not in done]


def person_of(db: Database, entry: Erasure) -> Person:
    """The person that an erasure is about; without an id if the database does not know the
    person."""
    people = {digest(db, *each): each for each in personal_records.people(db)}
    platform, user = people.get(entry.person, (entry.platform, ""))
    return Person(platform, entry.workspace, user)


def was_erased(db: Database, incoming: Incoming) -> bool:
    """Whether a message is older than the erasure of its author."""
    found = db.execute(f"SELECT 1 FROM {_TABLE} WHERE at >= ? LIMIT 1", (incoming.sent_at,))  # noqa: S608
    if found.fetchone() is None:  # of anyone
        return False
    key, user = incoming.key, incoming.author.id
    later = db.execute(
        f"SELECT workspace FROM {_TABLE} WHERE person = ? AND at >= ?",  # noqa: S608 - our words
        (digest(db, key.platform, user), incoming.sent_at),
    )
    return any(
        Person(key.platform, row["workspace"], user).covers(key.workspace)
        for row in later.fetchall()
    )


def accept(
    db: Database,
    now: float,
    incoming: Incoming,
    backlog: Sequence[Incoming] = (),
    *,
    withheld: bool = False,
) -> Accepted:
    """Like `messages.accept`, but drops messages that are older than the erasure of their
    author."""
    if was_erased(db, incoming):
        return Accepted(Receipt.KNOWN)
    kept = [each for each in backlog if not was_erased(db, each)]
    accepted = messages.accept(db, now, incoming, kept, withheld=withheld)
    is_new = accepted.receipt in (Receipt.QUESTION, Receipt.HISTORY)
    if is_new and accepted.conversation is not None and isinstance(db, Session):
        db.remember(incoming.key, accepted.conversation, accepted.turn)
    return accepted
