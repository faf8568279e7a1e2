"""Signed-in browsers. Invariant: a row alone cannot open a session; that takes the cookie."""

from __future__ import annotations

from bot.domain.sessions import BrowserSession
from bot.store import locks
from bot.store.database import Database
from bot.store.operations import Operations, reads, writes, writes_at


def begin_session(db: Database, now: float, session: BrowserSession, most: int) -> None:
    """See `SessionStore.begin_session`."""
    forget_expired(db, now)
    values = {
        "digest": session.digest,
        "platform": session.platform,
        "person": session.person,
        "proof": session.proof,
        "now": now,
        "expires_at": session.expires_at,
        "most": most,
    }
    db.execute(
        "INSERT INTO sessions (digest, platform, person, proof, created_at, expires_at)"
        " VALUES (:digest, :platform, :person, :proof, :now, :expires_at)",
        values,
    )
    db.execute(
        "DELETE FROM sessions WHERE platform = :platform AND person = :person AND digest NOT IN"
        " (SELECT digest FROM sessions WHERE platform = :platform AND person = :person"
        "  ORDER BY created_at DESC, digest LIMIT :most)",
        values,
    )


def read_session(db: Database, now: float, digest: str) -> BrowserSession | None:
    """See `SessionStore.read_session`."""
    row = db.execute(
        "SELECT * FROM sessions WHERE digest = ? AND expires_at > ?", (digest, now)
    ).fetchone()
    if row is None:
        return None
    return BrowserSession(digest, row["platform"], row["person"], row["proof"], row["expires_at"])


def extend_session(db: Database, digest: str, expires_at: float) -> None:
    """See `SessionStore.extend_session`."""
    db.execute("UPDATE sessions SET expires_at = ? WHERE digest = ?", (expires_at, digest))


def end_session(db: Database, digest: str) -> None:
    """See `SessionStore.end_session`."""
    db.execute("DELETE FROM sessions WHERE digest = ?", (digest,))


def end_all(db: Database, platform: str, person: str) -> None:
    """Sign a person out everywhere, as part of an erasure."""
    db.execute("DELETE FROM sessions WHERE platform = ? AND person = ?", (platform, person))


def forget_expired(db: Database, now: float) -> None:
    """Delete sessions that have expired."""
    db.execute("DELETE FROM sessions WHERE expires_at <= ?", (now,))


class SqlSessions(Operations):
    """Implements `bot.ports.sessions.SessionStore`."""

    begin_session = writes_at(begin_session)
    extend_session = writes(extend_session, lock=locks.nothing)
    end_session = writes(end_session, lock=locks.nothing)
    _read_session = reads(read_session)

    async def read_session(self, digest: str) -> BrowserSession | None:
        """See the port."""
        return await self._read_session(self._clock.time(), digest)
