"""Catches up with many workspaces after an outage of events, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager

import structlog

from adapters.slack.events import PLATFORM
from adapters.slack.outages import REDELIVERY_SECONDS, MissedRedeliveries
from adapters.slack.session import Session
from bot.catchup.gap_reader import GapReader
from bot.catchup.watermark_saver import WatermarkSaver
from bot.domain.errors import LostOwnership, PlatformError, StoreUnavailable
from bot.ports.clock import Clock
from bot.ports.inbox import CatchUpInbox

log = structlog.stdlib.get_logger(__name__)

CONCURRENT = 8
"""How many workspaces to catch up with concurrently."""

SECONDS = 300.0
"""How long one workspace may take before the next one begins."""


class CatchUps:
    """The workspaces that need catching up. `session` raises a PlatformError if there is none;
    `workspaces` are those with a working token.

    While a process is inside `alone`, no other one reads or moves watermarks: see `SlackBackfill`.
    """

    def __init__(
        self,
        *,
        session: Callable[[str], Session],
        workspaces: Callable[[], Iterable[str]],
        saver: WatermarkSaver,
        clock: Clock,
        alone: Callable[[], AbstractAsyncContextManager[object]],
        inbox: CatchUpInbox,
    ) -> None:
        self._session, self._saver, self._clock = session, saver, clock
        self._workspaces, self._alone = workspaces, alone
        # Each workspace at most once, with the time since which its events have arrived.
        self._behind: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
        self._queued: set[str] = set()
        self._has_connected, self._is_keeper = asyncio.Event(), False
        self._missed = MissedRedeliveries(clock)
        self._gaps = GapReader(
            name=PLATFORM, inbox=inbox, clock=clock, read=self._read_again, catch_up=self._catch_up
        )

    def add(self, workspace: str) -> None:
        """Queue a workspace if this process does the catching up; `keep` begins with all of
        them."""
        if self._is_keeper and workspace not in self._queued:
            self._queued.add(workspace)
            self._behind.put_nowait((workspace, self._clock.time()))

    def connection_lost(self, seconds: float) -> None:
        """Stop all watermarks: for at most `seconds`, events no longer arrive."""
        self._saver.tracker.open_gaps()
        self._missed.begin(seconds)

    def events_lost(self, seconds: float, lasts: float) -> None:
        """See `Workspaces`."""
        self._gaps.report_loss(seconds, lasts=lasts)

    def connected(self) -> Mapping[str, int]:
        """Catch up, because events arrive again or for the first time.

        Returns the gaps for `close_gaps`, which need no reading.
        """
        if not self._missed.end() and self._has_connected.is_set():
            tracker, known = self._saver.tracker, self._workspaces() if self._is_keeper else ()
            return {each: tracker.gap(each) for each in known if each not in self._queued}
        self._has_connected.set()
        self._add_all()
        return {}

    def _add_all(self) -> None:
        for workspace in self._workspaces():
            self.add(workspace)

    async def keep(self) -> None:
        """Catch up, and save the watermarks, whenever no other process does; until cancelled."""
        await self._has_connected.wait()
        while True:
            try:
                async with self._alone():
                    self._is_keeper = True
                    await self._gaps.run()
            except LostOwnership:
                log.warning("another process may catch up")
            finally:
                self._is_keeper = False
                self._saver.tracker.open_gaps()

    async def _catch_up(self) -> None:
        self._add_all()

    async def _read_again(self, since: float, everything: bool) -> bool:
        """Read all workspaces again; one that Slack refuses does not hold up the others."""
        places = asyncio.Semaphore(CONCURRENT)

        async def read(workspace: str) -> bool:
            async with places:
                try:
                    return await self._session(workspace).backfill.read_again(since, everything)
                except PlatformError as error:
                    log.info("cannot read again", workspace=workspace, error=str(error))
                    return True

        return all(await asyncio.gather(*map(read, self._workspaces())))

    async def close_gaps(self, gaps: Mapping[str, int], sessions: Mapping[str, Session]) -> None:
        """Let watermarks advance again once Slack has redelivered the events from a short
        outage."""
        await self._clock.sleep(REDELIVERY_SECONDS)
        for workspace, gap in gaps.items():
            session = sessions.get(workspace)
            is_read = session is not None and session.backfill.busy  # which ends with the gap
            if self._is_keeper and not is_read:
                self._saver.tracker.close_gap(workspace, gap)
        self._saver.save_soon()

    async def work(self) -> None:
        """Catch up with the queued workspaces one by one, until cancelled."""
        while True:
            workspace, until = await self._behind.get()
            try:
                async with asyncio.timeout(SECONDS):
                    session = self._session(workspace)
                    self._queued.discard(workspace)
                    await session.backfill.catch_up(until)
                    await session.backfill.wait_until_idle()
            except TimeoutError:
                log.info("catching up with a workspace takes long", workspace=workspace)
            except (PlatformError, StoreUnavailable) as error:
                log.info("cannot catch up with a workspace", workspace=workspace, error=str(error))
            except Exception:
                # The boundary of one workspace: the others must be caught up with.
                log.exception("catching up failed", workspace=workspace)
            finally:
                self._queued.discard(workspace)
