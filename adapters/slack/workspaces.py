"""The workspaces that the adapter serves: one with a fixed token, or all that installed the app.

`Workspaces` is their common interface; `many.py` has the second.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import islice
from typing import Protocol

import structlog

from adapters.slack import handshake
from adapters.slack.api import WebApi, new_session, web_client
from adapters.slack.budgets import workspace_limiter
from adapters.slack.payloads import Payload
from adapters.slack.session import Session, SessionMaker
from adapters.slack.token import FixedToken
from adapters.slack.workspace import Workspace
from bot.domain.errors import PlatformError, Unsettled
from bot.ports.clock import Clock
from bot.replies.ratelimit.limiter import AccountRateLimiter

log = structlog.stdlib.get_logger(__name__)

MAX_ASKED = 50
"""How many workspaces to ask about one name when a rule does not say which it means."""


class Workspaces(Protocol):
    """Finds the session of a workspace."""

    def session(self, workspace: str) -> Session:
        """The session for conversations with this workspace in their keys.

        Raises Gone if the app is not installed there, and Down until that is known.
        """
        ...

    async def find(self, body: Payload) -> Session | None:
        """The session for a delivery; None if the app is not installed there."""
        ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Serve inside this context. Raises CannotStart."""
        ...

    async def connected(self) -> None:
        """Handle that events arrive, for the first time or again."""
        ...

    def connection_lost(self, seconds: float) -> None:
        """Handle that events no longer arrive, for at most `seconds` so far."""
        ...

    def events_lost(self, seconds: float, lasts: float) -> None:
        """Read again what was written in the last `seconds`, and in the next `lasts` seconds: Slack
        gave up events while others arrived."""
        ...

    def names(self) -> Sequence[str]:
        """The workspaces that can have a session."""
        ...

    def limiters(self) -> Sequence[AccountRateLimiter]:
        """The budgets of the workspaces that currently have a session."""
        ...

    @property
    def problem(self) -> str:
        """The reason why the bot cannot work, as a sentence for /healthz; "" if it can."""
        ...

    def details(self) -> Mapping[str, str]:
        """Further details for /healthz."""
        ...


class OneWorkspace:
    """The workspace of SLACK_BOT_TOKEN."""

    def __init__(self, *, make: SessionMaker, token: str) -> None:
        self._make, self._token = make, token
        self._session: Session | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """See `Workspaces`."""
        tokens = FixedToken(self._token)
        me = await handshake.fetch_identity(self._make.api(tokens), self._token, self._make.clock)
        self._session = self._make.make(me, tokens, self._handle_removal)
        try:
            yield
        finally:
            await self._session.aclose()

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise Unsettled("Slack is not connected yet")
        return self._session

    def session(self, workspace: str) -> Session:
        """Return the session; keys with other workspaces were stored under an earlier token."""
        return self._open

    async def find(self, body: Payload) -> Session | None:
        """The session: events of other workspaces do not arrive."""
        return self._open

    async def connected(self) -> None:
        """See `Workspaces`."""
        await self._open.backfill.connected()

    def connection_lost(self, seconds: float) -> None:
        """See `Workspaces`."""
        self._open.backfill.connection_lost(seconds)

    def events_lost(self, seconds: float, lasts: float) -> None:
        """See `Workspaces`."""
        self._open.backfill.events_lost(seconds, lasts)

    def names(self) -> Sequence[str]:
        """See `Workspaces`."""
        return (self._open.workspace.me.team,)

    def limiters(self) -> Sequence[AccountRateLimiter]:
        """See `Workspaces`."""
        return (self._session.limiter,) if self._session is not None else ()

    @property
    def problem(self) -> str:
        """See `Workspaces`."""
        verifier = self._session.api.token if self._session is not None else None
        refusal = verifier.refusal if verifier is not None else ""
        return f"Slack refuses SLACK_BOT_TOKEN ({refusal})" if refusal else ""

    def details(self) -> Mapping[str, str]:
        """See `Workspaces`."""
        return {}

    async def _handle_removal(self, _body: Payload) -> None:
        """Handle Slack's event that the app was removed, or a token revoked.

        The event may concern another workspace that has the app, or an earlier token.
        """
        session = self._open
        if session.api.token is None:
            return
        try:
            is_refused = await session.api.token.is_refused()
        except PlatformError as error:  # the next requests will show it
            log.info("whether the app was removed is unknown", error=str(error))
            return
        if is_refused:
            await self._make.inbox.gone(session.workspace.key(""))


def choose(names: Iterable[str], wanted: Collection[str]) -> Sequence[str]:
    """The `names` in `wanted`, at most MAX_ASKED; "" in `wanted` stands for any."""
    found = (name for name in names if "" in wanted or name in wanted)
    return tuple(islice(found, MAX_ASKED))


@asynccontextmanager
async def open_workspace(token: str, api_url: str | None, clock: Clock) -> AsyncIterator[Workspace]:
    """Connect to a workspace for a few questions, without receiving events."""
    async with new_session() as http:
        api = WebApi(
            client=web_client("", api_url, http),
            session=http,
            rate_limiter=workspace_limiter(clock),
            clock=clock,
            tokens=FixedToken(token),
        )
        me = handshake.read_identity(await api.read("auth.test"))
        workspace = Workspace(me=me, api=api, clock=clock)
        try:
            yield workspace
        finally:
            await workspace.aclose()
