"""All workspaces that installed the app, each with its session while active.

Invariants: no workspace waits for another one's requests; and an idle workspace occupies memory
only for its entry in the index of installations.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import Any

import structlog

from adapters.slack.catch_ups import CONCURRENT, CatchUps
from adapters.slack.delivery_finder import DeliveryFinder
from adapters.slack.events import PLATFORM
from adapters.slack.installation_index import Changes, InstallationIndex
from adapters.slack.installations import identity_of
from adapters.slack.payloads import Payload
from adapters.slack.rotation import LOST, UNINSTALLED, StoredToken
from adapters.slack.session import Session, SessionMaker
from adapters.slack.vault import Vault
from bot.common.retry import retry_while_unavailable
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Down, Gone, PlatformError, StoreUnavailable, Unsettled
from bot.domain.installations import Installation
from bot.replies.ratelimit.limiter import AccountRateLimiter

log = structlog.stdlib.get_logger(__name__)

IDLE_SECONDS = 600.0
"""A session unused for this long ends.

By then its rate limit budgets are full again, and the longest 429 (`errors.MAX_RETRY_AFTER`) is
over.
"""

MAX_SESSIONS = 500
"""Beyond this number, the longest-unused sessions end early.

None ends within RECENT_SECONDS of its last use: a decision about a person may be waiting for its
lookups.
"""

RECENT_SECONDS = 60.0

REFRESH_SECONDS = 60.0
"""How often to look for installations made by other processes and the command line."""

LOOK_SECONDS = 1.0
"""The pause between two attempts to look a workspace up while the database fails."""

MakeToken = Callable[[str], StoredToken]


class ManyWorkspaces:
    """Implements `workspaces.Workspaces`.

    `make_token` creates a workspace's token source; `pages`, a context, lets people install the
    app.
    """

    def __init__(
        self,
        *,
        vault: Vault,
        make: SessionMaker,
        make_token: MakeToken,
        pages: AbstractContextManager[None],
    ) -> None:
        self._vault, self._make, self._make_token = vault, make, make_token
        self._inbox, self._clock, self._pages = make.inbox, make.clock, pages
        self._index = InstallationIndex(vault=vault, changed=self._apply)
        self._finder = DeliveryFinder(
            index=self._index, records=vault.records, look_up=self._look_up_channel
        )
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._looked_for: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._catch_ups = CatchUps(
            session=self.session,
            workspaces=self._accepted,
            saver=make.saver,
            clock=make.clock,
            alone=partial(make.cluster.exclusively, "slack catch-up"),
            inbox=make.inbox,
        )

    # ── running ───────────────────────────────────────────────────────────────────────────────
    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """See `Workspaces`."""
        await self._index.load()
        log.info("serving Slack workspaces", installations=len(self._index))
        workers = [self._catch_ups.work() for _ in range(CONCURRENT)]
        for work in (self._look_after(), self._catch_ups.keep(), *workers):
            self._start(work)
        try:
            with self._pages:
                yield
        finally:
            await self._index.aclose()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            ending = [_close(session) for session in self._sessions.values()]
            self._sessions.clear()
            await asyncio.gather(*ending)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="slack workspaces")
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("work for Slack workspaces failed", exc_info=error)

    async def _look_after(self) -> None:
        """Follow installations and removals by other processes, and end idle sessions."""
        while True:
            await self._clock.sleep(REFRESH_SECONDS)
            try:
                await self._index.refresh()
            except (StoreUnavailable, Unsettled) as error:
                log.debug("the installations cannot be read", error=str(error))
            self._trim()

    # ── changes of the index ──────────────────────────────────────────────────────────────────
    def _apply(self, changes: Changes) -> None:
        for workspace in changes.removed:
            self._start(self._forget(workspace))
        for workspace in changes.replaced:  # the next use begins with the new token
            if (session := self._sessions.pop(workspace, None)) is not None:
                self._start(_close(session))
        for workspace in {*changes.replaced, *changes.accepted}:
            self._queue(workspace)

    async def welcome(self, _workspace: str) -> None:
        """Handle an installation of the app in a workspace, possibly a repeated one."""
        await self._index.refresh()
        self._start(self._inbox.connected(PLATFORM))  # turns that waited for it

    # ── sessions ──────────────────────────────────────────────────────────────────────────────
    def session(self, workspace: str) -> Session:
        """See `Workspaces`."""
        known = self._index.get(workspace)
        if known is None:
            if self._index.is_absent(workspace):
                raise Gone(code=UNINSTALLED)
            if workspace not in self._looked_for:
                self._looked_for.add(workspace)
                self._start(self._look_for(workspace))
            raise Down(PLATFORM)
        session = self._sessions.get(workspace)
        if session is None:
            session = self._sessions[workspace] = self._open(known)
            self._trim()
        session.used_at = self._clock.monotonic()
        self._sessions.move_to_end(workspace)
        return session

    def _open(self, known: Installation) -> Session:
        removed = partial(self._handle_removal, known.workspace)
        return self._make.make(identity_of(known), self._make_token(known.workspace), removed)

    async def _look_for(self, workspace: str) -> None:
        """Find out whether a workspace is installed, and then resume its waiting turns."""
        while True:
            try:
                await self._index.look_for([workspace])
                break
            except Unsettled:
                await self._clock.sleep(LOOK_SECONDS)
        self._looked_for.discard(workspace)
        await self._inbox.connected(PLATFORM)

    def _trim(self) -> None:
        """End sessions that are idle, or too many."""
        now = self._clock.monotonic()
        for workspace, session in list(self._sessions.items()):
            is_over = len(self._sessions) > MAX_SESSIONS
            if session.used_at > now - (RECENT_SECONDS if is_over else IDLE_SECONDS):
                return
            if not session.busy:
                self._start(_close(self._sessions.pop(workspace)))

    async def _forget(self, workspace: str, reason: str = UNINSTALLED) -> None:
        """Forget a workspace that removed the app: end its turns and send nothing."""
        session = self._sessions.pop(workspace, None)
        if session is not None:
            session.end(reason)
            self._start(_close(session))
        await self._inbox.gone(ConversationKey(PLATFORM, workspace, "", ""))

    # ── deliveries ────────────────────────────────────────────────────────────────────────────
    async def find(self, body: Payload) -> Session | None:
        """See `Workspaces`."""
        workspace = await self._finder.find(body)
        return None if workspace is None else self.session(workspace)

    async def _look_up_channel(self, workspace: str, channel: str) -> object:
        return await self.session(workspace).workspace.facts.channels.get(channel)

    # ── removal ───────────────────────────────────────────────────────────────────────────────
    async def _handle_removal(self, workspace: str, body: Payload) -> None:
        """Handle Slack's event that the app was removed, or its token revoked.

        The event may arrive late, after people have installed the app again.
        """
        sent_at = body.get("event_time")
        log.info("a workspace removed the app, or revoked its token", workspace=workspace)
        until = float(sent_at) if isinstance(sent_at, int | float) else self._clock.time()
        if not await self._remove(workspace, until, UNINSTALLED) and workspace in self._index:
            self._start(self._verify(workspace))

    async def _verify(self, workspace: str) -> None:
        """Remove an installation that seems newer than the event if its token no longer works.

        The operator's command may have deleted the old installation before the event arrived.
        """
        await retry_while_unavailable(self._index.refresh, self._clock.sleep)
        known = self._index.get(workspace)
        if known is None:
            return
        try:
            await self.session(workspace).api.read("auth.test")
        except PlatformError as error:
            if error.code not in LOST:
                log.info("an older removal was ignored", workspace=workspace, error=str(error))
                return
            remove = partial(self._remove, workspace, known.installed_at, error.code)
            await retry_while_unavailable(remove, self._clock.sleep)

    async def _remove(self, workspace: str, installed_until: float, reason: str) -> bool:
        """Delete an installation unless there is a newer one; returns whether one was deleted."""
        removed = await self._vault.records.remove(
            PLATFORM, workspace, installed_until=installed_until
        )
        if removed:
            self._index.remove(workspace)
            await self._forget(workspace, reason)
        return removed

    # ── catching up ───────────────────────────────────────────────────────────────────────────
    def connection_lost(self, seconds: float) -> None:
        """See `Workspaces`."""
        self._catch_ups.connection_lost(seconds)

    def events_lost(self, seconds: float, lasts: float) -> None:
        """See `Workspaces`."""
        self._catch_ups.events_lost(seconds, lasts)

    async def connected(self) -> None:
        """See `Workspaces`."""
        if gaps := self._catch_ups.connected():
            self._start(self._catch_ups.close_gaps(gaps, self._sessions))

    def _accepted(self) -> Sequence[str]:
        """The workspaces whose tokens Slack accepts."""
        return [each for each in self._index.names if not self._problem(each)]

    def _problem(self, workspace: str) -> str:
        known = self._index.get(workspace)
        return known.problem if known is not None else UNINSTALLED

    def _queue(self, workspace: str) -> None:
        """Catch up with a workspace, once Slack accepts its token."""
        if not self._problem(workspace):
            self._catch_ups.add(workspace)

    # ── health ────────────────────────────────────────────────────────────────────────────────
    def names(self) -> Sequence[str]:
        """See `Workspaces`."""
        return self._index.names

    def limiters(self) -> Sequence[AccountRateLimiter]:
        """See `Workspaces`."""
        return tuple(session.limiter for session in self._sessions.values())

    @property
    def problem(self) -> str:
        """See `Workspaces`: a refused token concerns one workspace."""
        return ""

    def details(self) -> Mapping[str, str]:
        """See `Workspaces`."""
        refused = [each for each in self._index.names if self._problem(each) or self._refusal(each)]
        return {
            "workspaces": str(len(self._index)),
            "workspaces_active": str(len(self._sessions)),
            "workspaces_refused": str(len(refused)),
        }

    def _refusal(self, workspace: str) -> str:
        session = self._sessions.get(workspace)
        verifier = session.api.token if session is not None else None
        return verifier.refusal if verifier is not None else ""


async def _close(session: Session) -> None:
    try:
        await session.aclose()
    except Exception:
        # The boundary of one workspace's end: another one's must not fail with it.
        log.exception("a session did not end")
