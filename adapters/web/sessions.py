"""Browsers that are signed in by a cookie instead of a token.

Invariant: a session ends with its token. Nothing stored in the database can open a session, and the
cookie never appears in a body or log, or where a script can read it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from cachetools import TTLCache
from fastapi import APIRouter, Depends, Request, Response

from adapters.web.auth import Access, User
from adapters.web.cookies import cookie_of, set_cookie
from adapters.web.places import PLATFORM
from bot.domain.errors import StoreUnavailable
from bot.domain.sessions import BrowserSession
from bot.ports.clock import Clock
from bot.ports.sessions import SessionStore

log = structlog.stdlib.get_logger(__name__)

LIFETIME_SECONDS = 30 * 86_400.0
"""A session ends this long after its last use; it survives a month's vacation."""

EXTEND_SECONDS = 86_400.0
"""A session in use is extended once a day, so that almost no request writes."""

RECHECK_SECONDS = 5.0
"""How long another process may take to notice that a session has ended."""

OUTAGE_SECONDS = 3_600.0
"""How long a session that was seen stays valid while the database does not answer."""

MOST_KNOWN = 2_000
"""How many sessions to keep in memory, about 1 MB."""

MOST_SESSIONS = 50
"""How many browsers one person may be signed in with; signing in with another ends the oldest
session."""

_SECRET = re.compile(
    r"[A-Za-z0-9_-]{43}"
)  # 256 random bits, as `secrets.token_urlsafe` writes them


@dataclass(frozen=True, slots=True)
class _Seen:
    session: BrowserSession
    until: float  # by the monotonic clock; then the database is asked again


class Sessions:
    """Begins, checks and ends the sessions of browsers."""

    def __init__(self, *, store: SessionStore, access: Access, clock: Clock) -> None:
        self._store, self._access, self._clock = store, access, clock
        self._seen: TTLCache[str, _Seen] = TTLCache(MOST_KNOWN, OUTAGE_SECONDS, clock.monotonic)

    async def begin(self, user: str) -> str:
        """Sign `user` in; returns the cookie's value. Raises StoreUnavailable."""
        secret = secrets.token_urlsafe(32)
        until = self._clock.time() + LIFETIME_SECONDS
        proof = self._access.proof(user, secret) or ""
        session = BrowserSession(_digest(secret), PLATFORM, user, proof, until)
        await self._store.begin_session(session, MOST_SESSIONS)
        return secret

    async def user_of(self, secret: str) -> str | None:
        """The user whom a cookie signs in. Raises StoreUnavailable if that cannot be known."""
        if not _SECRET.fullmatch(secret):
            return None
        session = await self._session(_digest(secret))
        if session is None or session.expires_at <= self._clock.time():
            return None
        proof = self._access.proof(session.person, secret)
        if proof is None or not hmac.compare_digest(proof, session.proof):
            return None  # the token is not one of HTTP_TOKENS any more
        await self._extend(session)
        return session.person

    async def end(self, secret: str) -> None:
        """Sign out; an unknown cookie changes nothing. Raises StoreUnavailable."""
        digest = _digest(secret)
        await self._store.end_session(digest)
        self._seen.pop(digest, None)

    async def _session(self, digest: str) -> BrowserSession | None:
        seen = self._seen.get(digest)
        if seen is not None and self._clock.monotonic() < seen.until:
            return seen.session
        try:
            found = await self._store.read_session(digest)
        except StoreUnavailable:
            if seen is None:
                raise
            return seen.session
        if found is None:
            self._seen.pop(digest, None)
        else:
            self._remember(found)
        return found

    def _remember(self, session: BrowserSession) -> None:
        until = self._clock.monotonic() + RECHECK_SECONDS
        self._seen[session.digest] = _Seen(session, until)

    async def _extend(self, session: BrowserSession) -> None:
        until = self._clock.time() + LIFETIME_SECONDS
        if until - session.expires_at < EXTEND_SECONDS:
            return
        try:
            await self._store.extend_session(session.digest, until)
        except StoreUnavailable:
            return  # one of the next requests does it
        self._seen.pop(session.digest, None)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


# ── the routes ────────────────────────────────────────────────────────────────────────────────
class SessionRoutes:
    """Signing in with a token, and out. `TokenCheck` has checked the token before."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def router(self) -> APIRouter:
        """The routes, which belong to the page and not to the API description."""
        router = APIRouter(prefix="/app/session", include_in_schema=False)
        router.add_api_route("", self.sign_in, methods=["POST"])
        router.add_api_route("", self.sign_out, methods=["DELETE"])
        return router

    async def sign_in(
        self, user: User, request: Request, response: Response, given: GivenCookie
    ) -> dict[str, Any]:
        """Exchange the request's token for a cookie."""
        secret = await self._sessions.begin(user)
        if given:
            await self._sessions.end(given)
        set_cookie(response, request.headers, request.scope["scheme"], secret)
        log.info("a browser signed in", user=user)
        return {"user": user}

    async def sign_out(
        self, user: User, request: Request, response: Response, given: GivenCookie
    ) -> dict[str, Any]:
        """End the browser's session, on every process."""
        if given:
            await self._sessions.end(given)
            log.info("a browser signed out", user=user)
        set_cookie(response, request.headers, request.scope["scheme"], "")
        return {}


def _given(request: Request) -> str:
    return cookie_of(request.headers, request.scope["scheme"])


GivenCookie = Annotated[str, Depends(_given)]
