"""Catches up with Slack at every start, and after the connection was lost for some minutes.

Slack redelivers an unacknowledged event, the last time after about six minutes. After a short loss,
nothing needs to be read: the watermarks only wait until all redeliveries have arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial

import structlog

from adapters.slack.edits import SlackEditListener
from adapters.slack.events import PLATFORM
from adapters.slack.history import RepeatedReads, SlackHistory
from adapters.slack.outages import REDELIVERY_SECONDS, MissedRedeliveries
from adapters.slack.recheck import report_changes
from adapters.slack.workspace import Workspace
from bot.catchup.backfill import Backfill
from bot.catchup.gap_reader import GapReader
from bot.catchup.watermark_saver import WatermarkSaver
from bot.domain.errors import LostOwnership
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)

# How far the workspace's watermark stays behind its newest message, in microseconds: events of
# different channels arrive only roughly in the order of their ts. One minute.
LAG = 60_000_000

KEEPER_SECONDS = 0.5
"""How long `connected` waits for this process to become the one that catches up; if another process
has that role, it continues without."""


class SlackBackfill:
    """Decides when to read a workspace.

    While a process is inside `alone`, no other one reads the workspace or moves its watermarks.
    Slack gives each event to one of the processes, so they share the work: events that one misses
    reach another, and the next process inside reads the gap that a dead one leaves. `members` are
    the live processes.
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        inbox: Inbox,
        saver: WatermarkSaver,
        clock: Clock,
        alone: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
        members: Callable[[], int] = lambda: 1,
    ) -> None:
        self._alone = alone
        self._keeping: asyncio.Task[None] | None = None
        self._is_keeper = asyncio.Event()
        self._gaps = GapReader(
            name=f"{PLATFORM} {workspace.me.team}",
            inbox=inbox,
            clock=clock,
            read=self.read_again,
            catch_up=self._catch_up,
        )
        self._slack, self._tracker, self._clock = workspace, saver.tracker, clock
        self._history = SlackHistory(
            workspace=workspace,
            inbox=inbox,
            tracker=saver.tracker,
            clock=clock,
            members=members,
        )
        edits = SlackEditListener(workspace=workspace, inbox=inbox)
        self._backfill = Backfill(
            platform=PLATFORM,
            inbox=inbox,
            saver=saver,
            clock=clock,
            report_changes=partial(report_changes, workspace, edits),
            owns=lambda other: other == workspace.me.team,
        )
        self.workspace = workspace.me.team
        self._missed = MissedRedeliveries(clock)

    def connection_lost(self, seconds: float) -> None:
        """Stop the watermarks: for at most `seconds`, events no longer arrive."""
        self._tracker.open_gap(self.workspace)
        self._missed.begin(seconds)

    def events_lost(self, seconds: float, lasts: float) -> None:
        """See `Workspaces`."""
        self._gaps.report_loss(seconds, lasts=lasts)

    async def connected(self) -> None:
        """Catch up, because events arrive again or for the first time."""
        if not self._missed.end() and self._history.newest:
            self._backfill.close_later(self.workspace, REDELIVERY_SECONDS)
            return
        self._slack.posts.restart()
        if self._is_keeper.is_set():
            await self._catch_up()
        elif self._keeping is None:
            self._tracker.open_gap(self.workspace)
            self._keeping = asyncio.create_task(self._keep(), name="slack catch-up")
            # Alone, the reads begin before unfinished turns continue.
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEPER_SECONDS):
                    await self._is_keeper.wait()

    async def _keep(self) -> None:
        """Catch up, and save the watermarks, whenever no other process does."""
        while True:
            try:
                async with self._alone():
                    await self._gaps.run(self._is_keeper.set)
            except LostOwnership:
                log.warning("another process may catch up", workspace=self.workspace)
            finally:
                self._is_keeper.clear()
                self._tracker.open_gap(self.workspace)

    async def _catch_up(self) -> None:
        await self.catch_up(self._clock.time())

    async def catch_up(self, until: float) -> None:
        """Start reading what was missed until `until`, in Unix seconds; no other process may do so
        now."""
        self._history.read_until(until)
        await self._backfill.restart()
        self._backfill.start(self._history)

    async def read_again(self, since: float, everything: bool) -> bool:
        """Read everything after `since`, in Unix seconds, regardless of the watermarks.

        Returns whether that was complete; no other process may do so now. Without `everything`,
        skips threads for which the database has as many messages as Slack.
        """
        self._history.read_until(self._clock.time())
        again = RepeatedReads(self._history, everything)
        return await self._backfill.read_again(again, int(since * 1_000_000))

    @property
    def busy(self) -> bool:
        """Whether anything is being read."""
        return self._backfill.busy

    async def wait_until_idle(self) -> None:
        """Return once everything is read."""
        await self._backfill.wait_until_idle()

    async def aclose(self) -> None:
        """Stop all reads."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        await self._backfill.aclose()
