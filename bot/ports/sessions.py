"""The port of the browsers that are signed in."""

from __future__ import annotations

from typing import Protocol

from bot.domain.sessions import BrowserSession


class SessionStore(Protocol):
    """The sessions of browsers. Methods raise StoreUnavailable."""

    async def begin_session(self, session: BrowserSession, most: int) -> None:
        """Store a new session. Deletes expired ones, and the person's oldest beyond `most`."""
        ...

    async def read_session(self, digest: str) -> BrowserSession | None:
        """The session with this digest, unless it has expired."""
        ...

    async def extend_session(self, digest: str, expires_at: float) -> None:
        """Move the end of a session; one that has ended stays ended."""
        ...

    async def end_session(self, digest: str) -> None:
        """Sign a browser out."""
        ...
