"""All workspaces that installed the app, each with a separate session while it is active.

Invariants: nothing of one workspace waits for another one's requests; and an idle workspace has an
entry in the index of installations and nothing else in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
from cachetools import LRUCache, TTLCache

from adapters.slack import routing
from adapters.slack.catch_ups import CONCURRENT, CatchUps
from adapters.slack.events import PLATFORM
from adapters.slack.installations import IDENTITY, identity_of
from adapters.slack.payloads import Payload
from adapters.slack.rotation import UNINSTALLED, StoredToken
from adapters.slack.session import Session, SessionMaker
from adapters.slack.vault import Vault
from bot.common.retry import retry_while_unavailable
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Down, Gone, PlatformError, StoreUnavailable
from bot.domain.installations import Installation
from bot.replies.ratelimit.limiter import AccountRateLimiter

log = structlog.stdlib.get_logger(__name__)

IDLE_SECONDS = 600.0
"""A session that is not used for so long ends. The budgets of requests are full again by then, and
the longest 429 (`errors.MAX_RETRY_AFTER`) is over."""

MAX_SESSIONS = 500
"""Above this, the longest unused sessions end earlier."""

REFRESH_SECONDS = 60.0
"""How often installations of other processes and of the command line are looked for."""

ABSENT_SECONDS = 5.0
"""How long a workspace counts as not installed without a look into the database."""

FIND_SECONDS = 1.0
"""How long a delivery waits for that look; Slack expects an acknowledgement within 3 s."""

MAX_THREADS = 20_000

MakeToken = Callable[[str], StoredToken]


class ManyWorkspaces:
    """Implements `workspaces.Workspaces`. `make_token` makes the token source of a workspace, and
    `pages` lets people install the app while entered.
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
        self._known: dict[str, Installation] = {}
        self._bots: dict[str, str] = {}  # the bot's user in a workspace → the workspace
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._looked_for: set[str] = set()
        self._absent: TTLCache[str, bool] = TTLCache(10_000, ABSENT_SECONDS, make.clock.monotonic)
        self._homes: LRUCache[tuple[str, str], str] = LRUCache(MAX_THREADS)
        self._refreshing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._catch_ups = CatchUps(
            session=self.session,
            workspaces=self._accepted,
            saver=make.saver,
            clock=make.clock,
            alone=partial(make.alone, "slack catch-up"),
            inbox=make.inbox,
        )

    # ── running ───────────────────────────────────────────────────────────────────────────────
    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """See `Workspaces`."""
        self._update(await retry_while_unavailable(self._vault.unlock, self._clock.sleep))
        log.info("serving Slack workspaces", installations=len(self._known))
        workers = [self._catch_ups.work() for _ in range(CONCURRENT)]
        for work in (self._look_after(), self._catch_ups.keep(), *workers):
            self._start(work)
        try:
            with self._pages:
                yield
        finally:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            ending = [_close(session) for session in self._sessions.values()]
            self._sessions.clear()
            await asyncio.gather(*ending)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="slack workspaces")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_after(self) -> None:
        """Notice what others installed or removed, and end idle sessions."""
        while True:
            await self._clock.sleep(REFRESH_SECONDS)
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                await self._refresh()
            self._trim()

    # ── the index of installations ────────────────────────────────────────────────────────────
    async def _refresh(self) -> None:
        """Read the index again; callers at the same time share it."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._read_index(), name="slack installations")
        await asyncio.shield(self._refreshing)

    async def _read_index(self) -> None:
        self._update(await self._vault.records.list_installations(PLATFORM))

    def _update(self, found: Sequence[Installation]) -> None:
        before, self._known = self._known, {each.workspace: _compact(each) for each in found}
        self._bots = {
            user: each.workspace
            for each in self._known.values()
            if (user := each.details.get("bot_user"))
        }
        for workspace in before.keys() - self._known.keys():
            self._start(self._forget(workspace))
        for workspace in [each for each in self._absent if each in self._known]:
            self._absent.pop(workspace, None)
        for workspace, now in self._known.items():
            earlier = before.get(workspace)
            if earlier is not None and earlier.installed_at != now.installed_at:
                self._reinstalled(workspace)
            if earlier is None or (earlier.problem and not now.problem):
                self._queue(workspace)

    def _reinstalled(self, workspace: str) -> None:
        """The next use of the workspace begins with the new token; running replies go on."""
        session = self._sessions.pop(workspace, None)
        if session is not None:
            self._start(_close(session))
        self._queue(workspace)

    async def welcome(self, _workspace: str) -> None:
        """A workspace installed the app, maybe again."""
        await self._refresh_now()
        self._start(self._inbox.connected(PLATFORM))  # turns that waited for it

    async def _refresh_now(self) -> None:
        """Read the index, not together with a read that began earlier."""
        if self._refreshing is not None:
            await asyncio.wait({self._refreshing})
        await self._refresh()

    # ── sessions ──────────────────────────────────────────────────────────────────────────────
    def session(self, workspace: str) -> Session:
        """See `Workspaces`."""
        known = self._known.get(workspace)
        if known is None:
            if workspace in self._absent:
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
        """Find out whether a workspace is installed, and then resume the turns that wait for it."""
        await retry_while_unavailable(self._refresh_now, self._clock.sleep)
        self._looked_for.discard(workspace)
        if workspace not in self._known:
            self._absent[workspace] = True
        await self._inbox.connected(PLATFORM)

    def _trim(self) -> None:
        """End sessions that are idle, or too many."""
        oldest = self._clock.monotonic() - IDLE_SECONDS
        for workspace, session in list(self._sessions.items()):
            if session.used_at > oldest and len(self._sessions) <= MAX_SESSIONS:
                return
            if not session.busy:
                self._start(_close(self._sessions.pop(workspace)))

    async def _forget(self, workspace: str, reason: str = UNINSTALLED) -> None:
        """The app is not installed there any more: end the turns, and send nothing."""
        session = self._sessions.pop(workspace, None)
        if session is not None:
            session.end(reason)
        await self._inbox.gone(ConversationKey(PLATFORM, workspace, "", ""))
        if session is not None:
            self._start(_close(session))

    # ── deliveries ────────────────────────────────────────────────────────────────────────────
    async def find(self, body: Payload) -> Session | None:
        """See `Workspaces`."""
        workspace = await self._workspace_of(body)
        if workspace is None:
            named = routing.workspaces_in(body)
            if not named or all(each in self._absent for each in named):
                return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIND_SECONDS):
                    await self._refresh_now()
            workspace = await self._workspace_of(body)
            if workspace is None:
                self._absent.update(dict.fromkeys(named, True))
                return None
        return self.session(workspace)

    async def _workspace_of(self, body: Payload) -> str | None:
        """The workspace whose installation a delivery is for."""
        named = (each for each in routing.workspaces_in(body) if each in self._known)
        first = next(named, None)
        if len(self._known) < 2:
            return first
        if (author := routing.author_of_pressed(body)) in self._bots:
            return self._bots[author]
        if not routing.is_shared(body):
            return first
        channel, thread = routing.thread_in(body)
        for bot in routing.mentioned_in(body):
            meant = self._bots.get(bot)
            if meant is not None and (meant == first or await self._is_in(meant, channel)):
                return meant
        return await self._home_of(channel, thread) or first

    async def _is_in(self, workspace: str, channel: str) -> bool:
        """Whether an installation sees a channel: anyone can write the id of any bot."""
        try:
            async with asyncio.timeout(FIND_SECONDS):
                await self.session(workspace).workspace.facts.channels.get(channel)
        except (PlatformError, TimeoutError) as error:
            log.info("a bot was mentioned elsewhere", workspace=workspace, error=repr(error))
            return False
        return True

    async def _home_of(self, channel: str, thread: str) -> str | None:
        """The workspace that has the conversation of a thread in a shared channel."""
        if not channel or not thread:
            return None
        home = self._homes.get((channel, thread))
        if home is None or home not in self._known:
            async with asyncio.timeout(FIND_SECONDS):
                found = await self._vault.records.workspaces_of(PLATFORM, channel, thread)
            home = next((each for each in found if each in self._known), None)
            if home is not None:
                self._homes[channel, thread] = home
        return home

    # ── removal ───────────────────────────────────────────────────────────────────────────────
    async def _handle_removal(self, workspace: str, body: Payload) -> None:
        """Slack says that the app was removed, or its token revoked.

        The event may arrive late, when people have installed the app again.
        """
        sent_at = body.get("event_time")
        until = float(sent_at) if isinstance(sent_at, int | float) else self._clock.time()
        if await self._vault.records.remove(PLATFORM, workspace, installed_until=until):
            self._known.pop(workspace, None)
            self._bots = {user: each for user, each in self._bots.items() if each != workspace}
            await self._forget(workspace)
        elif workspace in self._known:
            self._start(self._verify(workspace))

    async def _verify(self, workspace: str) -> None:
        """Remove an installation that seems newer than the event, if its token is dead."""
        session = self.session(workspace)
        try:
            await session.api.read("auth.test")
        except Gone as error:
            now = self._clock.time()
            await self._vault.records.remove(PLATFORM, workspace, installed_until=now)
            self._known.pop(workspace, None)
            await self._forget(workspace, error.code)
        except PlatformError as error:
            log.info("an older removal was ignored", workspace=workspace, error=str(error))

    # ── catching up ───────────────────────────────────────────────────────────────────────────
    def connection_lost(self) -> None:
        """See `Workspaces`."""
        self._catch_ups.connection_lost()

    async def connected(self) -> None:
        """See `Workspaces`."""
        if gaps := self._catch_ups.connected():
            self._start(self._catch_ups.close_gaps(gaps, self._sessions))

    def _accepted(self) -> Sequence[str]:
        """The workspaces whose tokens Slack accepts."""
        return [workspace for workspace, each in self._known.items() if not each.problem]

    def _queue(self, workspace: str) -> None:
        """Catch up with a workspace, unless Slack refuses its token: then once it does not."""
        if not self._known[workspace].problem:
            self._catch_ups.add(workspace)

    # ── health ────────────────────────────────────────────────────────────────────────────────
    def names(self) -> Sequence[str]:
        """See `Workspaces`."""
        return tuple(self._known)

    def limiters(self) -> Sequence[AccountRateLimiter]:
        """See `Workspaces`."""
        return tuple(session.limiter for session in self._sessions.values())

    @property
    def problem(self) -> str:
        """See `Workspaces`: a refused token concerns one workspace."""
        return ""

    def details(self) -> Mapping[str, str]:
        """See `Workspaces`."""
        refused = sum(
            1
            for workspace, known in self._known.items()
            if known.problem or self._refusal(workspace)
        )
        return {
            "workspaces": str(len(self._known)),
            "workspaces_active": str(len(self._sessions)),
            "workspaces_refused": str(refused),
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


def _compact(installation: Installation) -> Installation:
    """The installation as the index keeps it, without what only commands show."""
    known = installation.details
    return replace(installation, details={name: known[name] for name in IDENTITY if name in known})
