"""The statuses of one workspace: which turn shows one in a thread, and which is being cleared."""

from __future__ import annotations

import asyncio

from adapters.slack.api import WebApi
from adapters.slack.status import ReplyStatus, Thread
from bot.catchup.leftovers import Leftovers
from bot.domain.errors import Unsettled
from bot.domain.leftovers import Leftover
from bot.ports.clock import Clock

# How long a shutdown waits for all statuses that are being cleared, in seconds.
SHUTDOWN_SECONDS = 2.0

Clearing = tuple[ReplyStatus, asyncio.Task[None]]


class StatusRegistry:
    """One workspace's statuses that are shown or being cleared, by thread."""

    def __init__(self, *, api: WebApi, clock: Clock, leftovers: Leftovers) -> None:
        self._api, self._clock, self.leftovers = api, clock, leftovers
        self._clearing: dict[Thread, Clearing] = {}
        self._live: dict[Thread, ReplyStatus] = {}

    @property
    def busy(self) -> bool:
        """Whether a status is shown or being cleared."""
        return bool(self._live or self._clearing)

    def status(self, thread: Thread, conversation: int, *, left_over: bool) -> ReplyStatus:
        """A turn's status; `left_over` means that a dead process may have set one."""
        return ReplyStatus(
            registry=self,
            api=self._api,
            thread=thread,
            conversation=conversation,
            left_over=left_over,
            clock=self._clock,
        )

    def register(self, thread: Thread, status: ReplyStatus) -> None:
        """See `Statuses`."""
        self._live[thread] = status

    def drop(self, thread: Thread, status: ReplyStatus) -> None:
        """See `Statuses`."""
        if self._live.get(thread) is status:
            del self._live[thread]

    def start_clearing(self, thread: Thread, status: ReplyStatus) -> asyncio.Task[None]:
        """See `Statuses`."""
        if self._live.get(thread) is status:
            del self._live[thread]
        earlier = self._clearing.pop(thread, None)
        task = asyncio.create_task(self._clear(status, earlier), name="slack status")
        self._clearing[thread] = (status, task)
        task.add_done_callback(lambda _: self._forget(thread, status))
        return task

    async def hand_over(self, thread: Thread, status: ReplyStatus) -> None:
        """See `Statuses`."""
        earlier = self._clearing.get(thread)
        if earlier is not None and earlier[0] is not status:  # its turn may have ended already
            del self._clearing[thread]
            await _hand_over(earlier, status)

    async def remove(self, leftover: Leftover) -> None:
        """Clear a session's status left by another process or session.

        Raises Unsettled if a turn is showing or clearing a status in the thread.
        """
        thread = (leftover.channel, leftover.name)
        if thread in self._live or thread in self._clearing:
            raise Unsettled("a turn is at work in the thread")
        left = self.status(thread, leftover.conversation, left_over=False).assume_session()
        await asyncio.wait({self.start_clearing(thread, left)})
        if left.may_be_set:
            raise Unsettled("Slack has not cleared the status")

    async def aclose(self) -> None:
        """Stop clearing after a short wait; whatever is left is recorded, or its turn is
        unfinished."""
        clearing = list(self._clearing.values())
        tasks = [task for _, task in clearing]
        if tasks:
            await asyncio.wait(tasks, timeout=SHUTDOWN_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for status, _ in clearing:
            status.release()

    async def _clear(self, status: ReplyStatus, earlier: Clearing | None) -> None:
        if earlier is not None:
            await _hand_over(earlier, status)
        await status.finish()

    def _forget(self, thread: Thread, status: ReplyStatus) -> None:
        if thread in self._clearing and self._clearing[thread][0] is status:
            del self._clearing[thread]


async def _hand_over(earlier: Clearing, later: ReplyStatus) -> None:
    status, task = earlier
    task.cancel()
    later.inherit(status)  # before any wait: the later turn may end during it
    await asyncio.gather(task, return_exceptions=True)
