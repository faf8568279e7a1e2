"""The list of erasures beside the database, which restoring a backup does not revert.

Invariants: an erasure is in the list before it changes the database. The list contains digests, but
no names. A database is used only after every entry of the list was applied to it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Self

import structlog

from bot.domain.errors import StoreError
from bot.domain.privacy import Erasure, Person
from bot.store import erasure, files, personal_records, search_fts5
from bot.store.connection import StoringConnection
from bot.store.database import Database
from bot.store.errors import translate_errors

log = structlog.stdlib.get_logger(__name__)

_CHECKPOINT_SECONDS = 10.0


class ErasureList:
    """The file `threadline.erased` beside `threadline.db`, or the copy named by ERASURE_LIST."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_suffix(".erased")
        self._known: dict[str, list[Erasure]] | None = None  # by digest, loaded on first use
        self._known_salt: bytes | None = None

    def add(self, person: Person, at: float) -> Erasure:
        """Append an erasure and flush it to disk. Raises StoreError."""
        entry = Erasure(
            secrets.token_hex(6), self.digest(person.platform, person.id), person.platform,
            person.workspace, at,
        )  # fmt: skip
        if not self._lines():  # someone deleted the file: other entries need the same salt
            self._append(json.dumps({"salt": self._salt().hex()}))
        self._append(json.dumps(asdict(entry)))
        self._known = None
        return entry

    @classmethod
    def at(cls, path: Path) -> Self:
        """Open the list in the file `path`."""
        erased = cls(path)
        erased.path = path
        return erased

    @property
    def salt(self) -> str:
        """The file's salt in hex; "" if there is no file."""
        lines = self._lines()
        return str(json.loads(lines[0])["salt"]) if lines else ""

    def mirror(self, salt: str, entries: Sequence[Erasure]) -> None:
        """Append those of `entries` that the file lacks. Raises StoreError."""
        if not self._lines():
            self._append(json.dumps({"salt": salt}))
        known = {entry.id for entry in self.entries()}
        for entry in entries:
            if entry.id not in known:
                self._append(json.dumps(asdict(entry)))

    def has(self, platform: str, workspace: str, user: str, sent_at: float) -> bool:
        """Whether the author of a message sent at this time was erased later.

        Platforms still have the message, and may deliver it again or return it in a thread's
        history.
        """
        if self._known is None:
            self._known = {}
            for entry in self.entries():
                self._known.setdefault(entry.person, []).append(entry)
        if not self._known:
            return False
        erasures = self._known.get(self.digest(platform, user), ())
        return any(
            sent_at <= entry.at and Person(platform, entry.workspace, user).covers(workspace)
            for entry in erasures
        )

    def entries(self) -> Sequence[Erasure]:
        """All erasures, oldest first. Raises StoreError."""
        return [Erasure(**entry) for line in self._lines()[1:] if (entry := _parse(line))]

    def digest(self, platform: str, user: str) -> str:
        """The digest of a person, salted with the file's salt against precomputed tables."""
        return _digest(self._salt(), platform, user)

    def _salt(self) -> bytes:
        if self._known_salt is None:
            lines = self._lines()
            if not lines:
                self._append(json.dumps({"salt": secrets.token_hex(16)}))
                lines = self._lines()
            self._known_salt = bytes.fromhex(json.loads(lines[0])["salt"])
        return self._known_salt

    def _lines(self) -> list[str]:
        if not self.path.exists():
            return []
        with self._translate_errors():
            return [
                line for line in self.path.read_text().splitlines(keepends=True) if line[-1] == "\n"
            ]

    def _append(self, line: str) -> None:
        with self._translate_errors():
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                is_cut = size and os.pread(descriptor, 1, size - 1) != b"\n"
                data = f"{chr(10) if is_cut else ''}{line}\n".encode()
                if os.write(descriptor, data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}.") from error


def _parse(line: str) -> dict[str, Any] | None:
    """Parse an entry; None for a line that was only partly written when the machine stopped."""
    try:
        entry: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        log.warning("the list of erasures has a line that was not written completely")
        return None
    return entry


def _digest(salt: bytes, platform: str, user: str) -> str:
    name = json.dumps([platform, user]).encode()
    return hashlib.blake2b(name, key=salt, digest_size=20).hexdigest()


# ── applying ──────────────────────────────────────────────────────────────────────────────────
def apply_missing(path: Path, erased: ErasureList, now: float) -> int:
    """Apply the listed erasures that the database at `path` lacks, and return how many there were.

    No other connection may be open. Raises StoreError and StoreUnavailable.
    """
    entries = erased.entries()
    if not entries or not path.exists():
        return 0
    with translate_errors(path), closing(_connect(path)) as db:
        if not erasure.has_erasures(db):  # the start's migration comes first
            return 0
        done = erasure.applied(db)
        missing = [entry for entry in entries if entry.id not in done]
        if missing:
            _apply_all(db, erased, missing, now)
            log.warning("the database contained people who had been erased", erasures=len(missing))
    if missing:
        truncate_log(path)
    return len(missing)


def _apply_all(
    db: sqlite3.Connection, erased: ErasureList, missing: Sequence[Erasure], now: float
) -> None:
    people = {erased.digest(*each): each for each in personal_records.people(db)}
    for entry in missing:
        platform, user = people.get(entry.person, (entry.platform, ""))
        person = Person(platform, entry.workspace, user)
        erase_person(db, person, entry, now, step=partial(_transaction, db))
    while files.has_discarded(db):
        files.purge_chunk(db)
    search_fts5.overwrite(db)


def erase_person(
    db: Database,
    person: Person,
    entry: Erasure,
    now: float,
    *,
    step: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> None:
    """Erase a person from a database that is not in use, each conversation in a `step`."""
    if person.id:
        names = erasure.names_of(db, person, entry.at)
        for conversation in erasure.conversations_of(db, person, entry.at):
            with step():
                erasure.erase_in(db, now, conversation, person, entry.at)
        with step():
            erasure.erase_quotes(db, now, erasure.quoting(db, person.platform, names), names)
    with step():
        personal_records.erase_rest(db, now, person, entry)


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, factory=StoringConnection)
    db.row_factory = sqlite3.Row
    for pragma in ("foreign_keys = ON", "secure_delete = ON", "synchronous = FULL"):
        db.execute(f"PRAGMA {pragma}")
    return db


def truncate_log(path: Path) -> bool:
    """Write SQLite's log into the database and empty it, because it still has the old pages.

    Returns whether this was possible; readers may prevent it.
    """
    with translate_errors(path), closing(_connect(path)) as db:
        db.execute(f"PRAGMA busy_timeout = {int(_CHECKPOINT_SECONDS * 1_000)}")
        busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
