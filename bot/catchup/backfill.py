"""Reads the messages of a gap from the platform and accepts them like live ones.

Invariant: a watermark moves only over messages that the inbox has accepted. So the process may die
at any moment: the next start reads the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import structlog

from bot.catchup.backfill_queue import USUAL_PAUSES, BackfillQueue, ReadPauses
from bot.catchup.recheck import EditRecheck
from bot.catchup.watermark_saver import WatermarkSaver
from bot.catchup.watermarks import IsMeant
from bot.domain.conversations import Conversation
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Asked
from bot.ports.clock import Clock
from bot.ports.history import ChannelRef, History, HistoryReader, PageReader, ReportChanges
from bot.ports.inbox import CatchUpInbox

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class _Progress:
    """How far one history has been read."""

    ref: ChannelRef
    next: PageReader
    reached: int = 0
    threads: list[History] = field(default_factory=list)


class Backfill:
    """Catches up on one platform, in background tasks; live messages never wait for it."""

    def __init__(
        self,
        *,
        platform: str,
        inbox: CatchUpInbox,
        saver: WatermarkSaver,
        clock: Clock,
        report_changes: ReportChanges,
        pauses: ReadPauses = USUAL_PAUSES,
        owns: IsMeant = lambda _: True,
        since: float = 0.0,
    ) -> None:
        """`owns` selects the workspaces to catch up on. This process has followed them since the
        monotonic time `since`; stored watermarks count only if they were read at that time or
        later."""
        self._pauses, self._owns, self._since = pauses, owns, since
        self._platform, self._inbox, self._clock = platform, inbox, clock
        self._saver, self._tracker = saver, saver.tracker
        self._recheck = EditRecheck(platform=platform, inbox=inbox, report_changes=report_changes)
        self._queue = BackfillQueue(clock, pauses)
        self._runs: dict[str, asyncio.Task[bool]] = {}  # name → whether the read was complete
        self._conversations: asyncio.Task[Sequence[Conversation]] | None = None
        self._rereads: dict[ChannelRef, int | None] = {}  # the lowest `since` of each

    async def restart(self) -> None:
        """Drop all reads and open a gap in every own workspace; `start` must follow for each."""
        self._tracker.open_gaps(self._owns)
        earlier, self._queue = self._queue, BackfillQueue(self._clock, self._pauses)
        self._conversations = None
        self._runs.clear()
        self._rereads.clear()
        await earlier.aclose()

    def start(self, reader: HistoryReader, since: int | None = None) -> None:
        """Catch up on a workspace that may have missed events until now.

        Reads everything after the watermarks and, whatever the watermarks say, after position
        `since`.
        """
        workspace = reader.workspace
        self._tracker.open_gap(workspace)
        work = self._catch_up(reader, self._tracker.gap(workspace), since)
        self._runs[workspace] = self._start_task(work)

    async def read_again(self, reader: HistoryReader, since: int) -> bool:
        """Catch up as `start` does, from position `since` on; return whether all was read.

        Replaces a running catch-up, which may already have passed messages written after it began.
        Reading known messages again changes nothing.
        """
        await self.restart()
        self.start(reader, since)
        run = self._runs[reader.workspace]
        await asyncio.wait((run,))  # `restart` may cancel it
        return not run.cancelled() and run.result()

    def close_later(self, workspace: str, seconds: float) -> None:
        """Close a gap after `seconds` without reading: the platform redelivers its events."""
        self._tracker.open_gap(workspace)
        self._start_task(self._close_later(workspace, self._tracker.gap(workspace), seconds))

    def reread(self, history: History, seconds: float, since: int | None = None) -> None:
        """Read a channel again after `seconds`; further calls before then start no other read.

        Reads everything after the watermark and, whatever the watermark says, after position
        `since`: a message of the very first start may be older than the first watermark.
        """
        is_waiting = history.ref in self._rereads
        self._rereads[history.ref] = _lower(self._rereads.get(history.ref), since)
        if not is_waiting:
            gap = self._tracker.gap(history.ref.workspace)
            self._start_task(self._read_later(history, gap, seconds))

    @property
    def busy(self) -> bool:
        """Whether a read is running or waiting."""
        return self._queue.busy

    async def wait_until_idle(self) -> None:
        """Return once nothing is left to read."""
        await self._queue.join()

    async def aclose(self) -> None:
        """Stop. The next start reads the rest, from the stored watermarks on."""
        await self._queue.aclose()

    def _start_task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return self._queue.start(work, name="catch up")

    # ── workspaces ────────────────────────────────────────────────────────────────────────────
    async def _catch_up(self, reader: HistoryReader, gap: int, since: int | None) -> bool:
        await self._saver.load(since=self._since)
        if self._tracker.knows(reader.workspace):
            return await self._read_workspace(reader, gap, since)
        self._tracker.start_at(reader.workspace, reader.newest)
        self._tracker.close_gap(reader.workspace, gap)
        await self._saver.save()  # immediately, or the next start would again be the first
        return True

    async def _read_workspace(self, reader: HistoryReader, gap: int, since: int | None) -> bool:
        workspace = reader.workspace
        histories, questions = await self._find_histories(reader)
        complete = await asyncio.gather(*(self._read_channel(one, gap, since) for one in histories))
        self._tracker.close_gap(workspace, gap)
        self._saver.save_soon()
        log.info("caught up", workspace=workspace, channels=len(complete), complete=all(complete))
        await self._recheck.schedule(questions, self._queue)
        return all(complete)

    async def _find_histories(
        self, reader: HistoryReader
    ) -> tuple[Sequence[History], Sequence[Asked]]:
        """The histories to read, and the questions to check for edits afterwards."""
        conversations = await self._load_conversations()
        questions = await self._recheck.load_questions(reader.workspace, self._queue)
        find = partial(reader.find_histories, conversations)
        return await self._queue.fetch("channels", find), questions

    async def _load_conversations(self) -> Sequence[Conversation]:
        """The platform's latest conversations, loaded once for all workspaces."""
        if self._conversations is None:
            work = self._queue.fetch("conversations", partial(self._inbox.active, self._platform))
            self._conversations = self._start_task(work)
        return await asyncio.shield(self._conversations)

    async def _close_later(self, workspace: str, gap: int, seconds: float) -> None:
        await self._clock.sleep(seconds)
        if workspace in self._runs:
            await asyncio.wait((self._runs[workspace],))
        self._tracker.close_gap(workspace, gap)
        self._saver.save_soon()

    # ── channels and threads ──────────────────────────────────────────────────────────────────
    async def _read_channel(self, history: History, gap: int, since: int | None = None) -> bool:
        """Read a channel with its threads; False if it must be read again later."""
        complete = await self._read(history, since)
        if complete:
            self._tracker.release(history.ref)
            self._tracker.close_channel(history.ref, gap)
        else:
            self._tracker.hold(history.ref)
            self._start_task(self._read_later(history, gap, self._pauses.later, since))
        self._saver.save_soon()
        return complete

    async def _read_later(
        self, history: History, gap: int, seconds: float, since: int | None = None
    ) -> None:
        await self._clock.sleep(seconds)
        await self._saver.load(
            since=self._since
        )  # without watermarks, this would read the channel's whole past
        since = _lower(since, self._rereads.pop(history.ref, None))
        await self._read_channel(history, gap, since)

    async def _read(self, history: History, since: int | None = None) -> bool:
        """Read a history from its watermark, or from `since` if that is lower."""
        after = max(history.after, self._tracker.position_of(history.ref))
        after = after if since is None else max(history.after, min(after, since))
        progress = _Progress(history.ref, partial(history.read_after, after))
        step = partial(self._read_page, progress)
        complete = await self._queue.add(history.ref.channel, history.rank, step)
        if complete and progress.reached and history.read_to is not None:
            with suppress(StoreUnavailable):  # at worst, the history is read once more
                await history.read_to(progress.reached)
        return complete and await self._read_threads(progress, since)

    async def _read_page(self, progress: _Progress) -> bool:
        """Read and accept a page; return whether another follows.

        An error leaves `progress` unchanged.
        """
        page = await progress.next()
        await self._inbox.missed(page.messages)
        for message in page.messages:
            self._recheck.mark_read(message.source)
        progress.threads.extend(page.threads)
        progress.reached = page.reached
        if not progress.threads:
            self._advance(progress.ref, page.reached)
        if page.next is None:
            return False
        progress.next = page.next
        return True

    async def _read_threads(self, progress: _Progress, since: int | None) -> bool:
        """Read the threads on the pages; the channel's watermark follows the lowest one."""
        unread = {thread.ref: thread.after for thread in progress.threads}

        async def read(thread: History) -> bool:
            complete = await self._read(thread, since)
            if complete:
                unread.pop(thread.ref, None)
                self._advance(progress.ref, min((progress.reached, *unread.values())))
            return complete

        return all(await asyncio.gather(*map(read, progress.threads)))

    def _advance(self, ref: ChannelRef, position: int) -> None:
        self._tracker.advance(ref, position)
        self._saver.save_soon()


def _lower(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)
