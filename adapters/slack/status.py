"""The sign that the bot is at work in a thread: set while it thinks, always cleared.

It is a courtesy: no reply and no question waits for it, and its failures are only noted in the log.
It is set only where the budget has room to clear it, too. What a turn cannot clear within a moment
is cleared behind it, unless the thread's next turn takes over; what a process leaves is cleared by
the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

import structlog

from adapters.slack.api import WebApi
from bot.domain.conversations import Conversation
from bot.domain.errors import PlatformError, Throttled, Unsettled
from bot.domain.replies import Action, Priority, Request, Reservation
from bot.ports.clock import Clock
from bot.replies.delivery import LANDED

log = structlog.stdlib.get_logger(__name__)

THREADS, SESSIONS = "assistant.threads.setStatus", "agents.sessions.setStatus"
SHOWN = {THREADS: "is thinking…", SESSIONS: "processing"}
CLEARED = {THREADS: "", SESSIONS: "active"}
# How long setting may wait, for its budget too, in seconds.
SHOW_SECONDS = 3.0
# And how long a turn waits for clearing, which goes on behind it for as long as that: a session's
# status does not go away by itself, and Slack may refuse it for five minutes.
CLEAR_SECONDS, BEHIND_SECONDS = 2.0, 900.0
# Pauses after a failure of unknown outcome, in seconds, doubled each time up to the last.
RETRY_SECONDS, LAST_RETRY = 1.0, 30.0
# At shutdown, for all that is being cleared together, in seconds.
LEAVING_SECONDS = 2.0
# Where a process that died may have left a status: the threads in which something was said within
# so many seconds before the last word anywhere, and so many at most.
LEFT_SECONDS, MOST_LEFT = 900.0, 100

Thread = tuple[str, str]  # a channel, and a root's ts
Clearing = tuple["Status", "asyncio.Task[None]"]


class Statuses:
    """The statuses of one workspace that are being cleared, by thread."""

    def __init__(self, *, api: WebApi, clock: Clock) -> None:
        self._api, self._clock = api, clock
        self._clearing: dict[Thread, Clearing] = {}
        self._live: dict[Thread, Status] = {}

    def of(self, thread: Thread, *, left_over: bool) -> Status:
        """A turn's status; `left_over` says that a process that died may have left one."""
        return Status(
            board=self, api=self._api, thread=thread, left_over=left_over, clock=self._clock
        )

    def began(self, thread: Thread, status: Status) -> None:
        """A turn shows its status there."""
        self._live[thread] = status

    def end(self, thread: Thread, status: Status) -> asyncio.Task[None]:
        """Clear it; gives the task that does."""
        if self._live.get(thread) is status:
            del self._live[thread]
        earlier = self._clearing.pop(thread, None)
        task = asyncio.create_task(self._end(status, earlier), name="slack status")
        self._clearing[thread] = (status, task)
        task.add_done_callback(lambda _: self._forget(thread, status))
        return task

    async def take_over(self, thread: Thread, status: Status) -> None:
        """Give up clearing for an earlier turn: the later one sets, and clears, what that left."""
        earlier = self._clearing.pop(thread, None)
        if earlier is not None:
            await _give_up(earlier, status)

    def sweep(self, conversations: Sequence[Conversation]) -> None:
        """Clear what an earlier process may have left, in the threads where it was at work last."""
        newest = max((one.updated_at for one in conversations), default=0.0)
        late = [one for one in conversations if one.updated_at >= newest - LEFT_SECONDS]
        for conversation in late[:MOST_LEFT]:
            thread = (conversation.key.channel, conversation.key.thread)
            if thread not in self._live and thread not in self._clearing:
                self.end(thread, self.of(thread, left_over=True).only_session())

    async def aclose(self) -> None:
        """Give up what cannot be cleared in a moment: the next process does it."""
        tasks = [task for _, task in self._clearing.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=LEAVING_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _end(self, status: Status, earlier: Clearing | None) -> None:
        if earlier is not None:
            await _give_up(earlier, status)
        await status.finish()

    def _forget(self, thread: Thread, status: Status) -> None:
        if thread in self._clearing and self._clearing[thread][0] is status:
            del self._clearing[thread]


async def _give_up(earlier: Clearing, later: Status) -> None:
    status, task = earlier
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    later.inherit(status)


class Status:
    """One turn's status: the agent session's, which offers Slack's own stop button, or where the
    app is no agent, words under the thread.
    """

    def __init__(
        self, *, board: Statuses, api: WebApi, thread: Thread, left_over: bool, clock: Clock
    ) -> None:
        self._board, self._api, self._thread, self._clock = board, api, thread, clock
        self._landed = clock.monotonic() + LANDED if left_over else 0.0
        self._reservation = Reservation(over=True)  # holds one request for clearing it
        self._showing: asyncio.Task[None] | None = None
        self._urgency = Priority.FINAL
        # The methods by which a status may be set now.
        self._set: set[str] = {SESSIONS, THREADS} if left_over else set()
        self._sure = False  # Slack has answered that it is

    @property
    def stoppable(self) -> bool:
        """Whether Slack offers people to stop what is being written here."""
        return self._sure and SESSIONS in self._set

    def only_session(self) -> Status:
        """Of an earlier process: words under the thread go away by themselves; nothing waits."""
        self._set, self._urgency = {SESSIONS}, Priority.BACKGROUND
        return self

    def inherit(self, earlier: Status) -> None:
        """What an earlier turn's status has left."""
        self._set |= earlier._set
        self._landed = max(self._landed, earlier._landed)

    def show(self) -> None:
        """Set it, in the background."""
        if self._showing is None:
            self._board.began(self._thread, self)
            self._showing = asyncio.create_task(self._show(), name="slack status")

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """Around a post, with which Slack clears the words that were set before it."""
        before = self._showing is None or self._showing.done()
        yield
        if before:
            self._gone(THREADS)

    @contextlib.contextmanager
    def ended(self, final: bool) -> Iterator[str | None]:
        """Around a stream's close, which sets the session's status to what it gives."""
        clears = final and self.stoppable
        yield CLEARED[SESSIONS] if clears else None
        if clears:
            self._gone(SESSIONS)

    def _gone(self, method: str) -> None:
        """It is away now; but what a dead process sent may still set it."""
        if self._clock.monotonic() >= self._landed:
            self._set.discard(method)

    async def clear(self) -> None:
        """Take away what may be set; what takes longer goes on behind the turn."""
        task = self._board.end(self._thread, self)
        on_its_way = max(self._landed - self._clock.monotonic(), 0.0) if self._set else 0.0
        await asyncio.wait({task}, timeout=on_its_way + CLEAR_SECONDS)

    async def finish(self) -> None:
        """Clear it, but not before what is on its way has arrived."""
        try:
            await self._stop_showing()
            async with asyncio.timeout(BEHIND_SECONDS):
                if self._set:
                    await self._clock.sleep(max(self._landed - self._clock.monotonic(), 0.0))
                wait = RETRY_SECONDS
                while self._set:
                    if not await self._clear(min(self._set)):
                        await self._clock.sleep(wait)
                        wait = min(2 * wait, LAST_RETRY)
        except TimeoutError:
            log.warning("a status could not be cleared", thread=self._thread)
        finally:
            self._api.rate_limiter.release(self._reservation)

    async def _stop_showing(self) -> None:
        if self._showing is None:
            return
        try:
            if self._set:
                await asyncio.wait((self._showing,), timeout=SHOW_SECONDS)
        finally:
            self._showing.cancel()
            await asyncio.gather(self._showing, return_exceptions=True)

    async def _show(self) -> None:
        await self._board.take_over(self._thread, self)
        for method in (SESSIONS, THREADS):
            if await self._shown(method):
                return

    async def _shown(self, method: str) -> bool:
        """Whether it may be set now; what a process that died left stays so when Slack is busy."""
        before = method in self._set
        try:
            async with asyncio.timeout(SHOW_SECONDS):
                await self._granted(method, clears=False)
                self._set.add(method)  # from here on until the answer nobody knows
                await self._write(method, SHOWN[method])
                self._sure = True
        except (PlatformError, TimeoutError) as error:
            log.debug("no status", method=method, error=repr(error))
            unknown = isinstance(error, Unsettled | TimeoutError)
            if not unknown and not (before and isinstance(error, Throttled)):
                self._set.discard(method)
        return method in self._set

    async def _clear(self, method: str) -> bool:
        """Whether it is settled, or the budget says when to go on."""
        try:
            await self._granted(method, clears=True)
            await self._write(method, CLEARED[method])
        except Throttled:
            return True
        except Unsettled:
            return False
        except PlatformError as error:
            log.debug("no status to clear", method=method, error=repr(error))
        self._set.discard(method)
        return True

    async def _write(self, method: str, status: str) -> None:
        channel, thread = self._thread
        try:
            await self._api.write(method, channel_id=channel, thread_ts=thread, status=status)
        except Throttled as error:
            self._api.rate_limiter.throttled(error.retry_after, *error.scopes)
            self._api.rate_limiter.refund(method)
            raise

    async def _granted(self, method: str, *, clears: bool) -> None:
        """Wait for the budget; setting keeps one more for clearing."""
        keeps = () if clears else (method,)
        request = Request(Action.EDIT, 0, (method,), keeps=keeps)
        priority = self._urgency if clears else Priority.FIRST
        await self._api.rate_limiter.acquire(
            lambda: request, lambda: (priority, 0.0), self._reservation
        )
