"""The port for signed-in browsers."""

from __future__ import annotations

from typing import Protocol

from bot.domain.sessions import BrowserSession


class SessionStore(Protocol):
    """Browser sessions. Methods raise StoreUnavailable."""

    async def begin_session(self, session: BrowserSession, most: int) -> None:
        """Store a new session. Deletes expired ones, and the person's oldest beyond `most`."""
        ...

    async def read_session(self, digest: str) -> BrowserSession | None:
        """The session with this digest, unless it has expired."""
        ...

    async def extend_session(self, digest: str, expires_at: float) -> None:
        """Extend a session; an expired one stays expired."""
        ...

    async def end_session(self, digest: str) -> None:
        """Sign a browser out."""
        ...
