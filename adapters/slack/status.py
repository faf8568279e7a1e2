"""The status that Slack shows in a thread while the bot works on a reply.

The status is optional: no reply or question waits for it, and its failures are only logged. It is
set only when the rate limit leaves room to clear it as well. If a turn cannot clear its status
within two seconds, a background task does, or the thread's next turn takes it over.

Invariant: while Slack may show a session's status, its turn is unfinished or a leftover is
recorded. If the process dies, the turn's next attempt or `bot.catchup.leftovers` clears it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Protocol

import structlog

from adapters.slack.api import WebApi
from bot.catchup.leftovers import Leftovers
from bot.common.lease_guard import create_task_under_same
from bot.common.retry import Backoff
from bot.domain.errors import PlatformError, Throttled, Unsettled
from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.replies import Action, Priority, Request, Reservation
from bot.ports.clock import Clock
from bot.replies.delivery import IN_FLIGHT_SECONDS

log = structlog.stdlib.get_logger(__name__)

THREADS, SESSIONS = "assistant.threads.setStatus", "agents.sessions.setStatus"
SHOWN = {THREADS: "is thinking…", SESSIONS: "processing"}
CLEARED = {THREADS: "", SESSIONS: "active"}
# How long setting a status may take, including the wait for the rate limit, in seconds.
SHOW_SECONDS = 3.0
# How long a turn waits for clearing, and how long clearing continues in the background, in seconds:
# Slack never clears a session's status on its own, and may refuse requests for five minutes.
CLEAR_SECONDS, BACKGROUND_SECONDS = 2.0, 900.0
# Pauses after a failure of unknown outcome.
RETRIES = Backoff(first=1.0, longest=30.0)

Thread = tuple[str, str]  # a channel, and a root's ts


class Statuses(Protocol):
    """The statuses of a workspace, among which one status is; `StatusRegistry` has them."""

    @property
    def leftovers(self) -> Leftovers:
        """Where a status is recorded that its turn could not clear."""
        ...

    def register(self, thread: Thread, status: ReplyStatus) -> None:
        """Record that a turn shows `status` in `thread`."""
        ...

    def drop(self, thread: Thread, status: ReplyStatus) -> None:
        """Forget a status that another process will clear."""
        ...

    def start_clearing(self, thread: Thread, status: ReplyStatus) -> asyncio.Task[None]:
        """Start the task that clears `status`; it replaces an earlier one in the same thread."""
        ...

    async def hand_over(self, thread: Thread, status: ReplyStatus) -> None:
        """Stop clearing an earlier turn's status in `thread`: `status` will clear it too."""
        ...


class ReplyStatus:
    """One turn's status.

    This is the agent session's, which comes with Slack's own stop button, or words under the thread
    if the app is not an agent.
    """

    def __init__(
        self,
        *,
        registry: Statuses,
        api: WebApi,
        thread: Thread,
        conversation: int,
        left_over: bool,
        clock: Clock,
    ) -> None:
        self._registry, self._api, self._thread, self._clock = registry, api, thread, clock
        self._leftover = Leftover(conversation, LeftoverKind.STATUS, *thread)
        self._recorded = False  # the leftover is, or is about to be
        self._landed_at = clock.monotonic() + IN_FLIGHT_SECONDS if left_over else 0.0
        self._reservation = Reservation(over=True)  # holds one request for clearing it
        self._showing: asyncio.Task[None] | None = None
        # The methods whose status may be set at the moment.
        self._maybe_set: set[str] = {SESSIONS, THREADS} if left_over else set()
        self._confirmed = False  # Slack acknowledged the status

    @property
    def stoppable(self) -> bool:
        """Whether Slack shows a stop button in this thread."""
        return self._confirmed and SESSIONS in self._maybe_set

    @property
    def may_be_set(self) -> bool:
        """Whether Slack may still show the session's status; it removes words under a thread on
        its own."""
        return SESSIONS in self._maybe_set

    def assume_session(self) -> ReplyStatus:
        """Assume a session status that another process recorded as left."""
        self._maybe_set, self._recorded = {SESSIONS}, True
        return self

    def inherit(self, earlier: ReplyStatus) -> None:
        """Take over what `earlier` has not cleared."""
        self._maybe_set |= earlier._maybe_set
        self._landed_at = max(self._landed_at, earlier._landed_at)
        self._recorded |= earlier._recorded
        earlier._maybe_set, earlier._recorded = set(), False

    def show(self) -> None:
        """Set the status in the background, using the caller's lease."""
        if self._showing is None:
            self._registry.register(self._thread, self)
            self._showing = create_task_under_same(self._show())

    @contextlib.contextmanager
    def cleared_by_post(self) -> Iterator[None]:
        """Wrap a post, after which Slack removes the words that were set before it."""
        set_before = self._showing is None or self._showing.done()
        yield
        if set_before:
            self._discard(THREADS)

    @contextlib.contextmanager
    def cleared_by_stop(self, final: bool) -> Iterator[str | None]:
        """Wrap chat.stopStream; yields the session status to send with it, if any."""
        clears = final and self.stoppable
        yield CLEARED[SESSIONS] if clears else None
        if clears:
            self._discard(SESSIONS)

    def _discard(self, method: str) -> None:
        """Record that a status is cleared, unless a dead process's request may still set it."""
        if self._clock.monotonic() >= self._landed_at:
            self._maybe_set.discard(method)

    def abandon(self) -> None:
        """Send nothing more: another process will clear the status."""
        self._registry.drop(self._thread, self)
        if self._showing is not None:
            self._showing.cancel()
        self._api.rate_limiter.release(self._reservation)
        if self._recorded:
            self.release()

    async def clear(self) -> None:
        """Clear every status that may be set.

        After two seconds, it is recorded as a leftover, and clearing continues in the background.
        """
        task = self._registry.start_clearing(self._thread, self)
        landing = max(self._landed_at - self._clock.monotonic(), 0.0) if self._maybe_set else 0.0
        await asyncio.wait({task}, timeout=landing + CLEAR_SECONDS)
        if not self.may_be_set:
            return
        self._recorded = True  # before the commit: a later turn may take the status over
        await self._registry.leftovers.record(self._leftover)
        if task.done():
            await self._settle()

    async def _settle(self) -> None:
        """Finish clearing: forget the leftover if nothing is left, otherwise leave it to other
        processes."""
        if not self._recorded:
            return
        if self.may_be_set:
            self.release()
        else:
            self._recorded = False
            await self._registry.leftovers.settle(self._leftover)

    def release(self) -> None:
        """Stop claiming the recorded leftover for this process."""
        self._registry.leftovers.release(self._leftover)

    async def finish(self) -> None:
        """Clear the status once every request that may set it has arrived, and retry on failure."""
        pauses = iter(RETRIES)
        try:
            await self._stop_showing()
            async with asyncio.timeout(BACKGROUND_SECONDS):
                if self._maybe_set:
                    await self._clock.sleep(max(self._landed_at - self._clock.monotonic(), 0.0))
                while self._maybe_set:
                    if not await self._try_clear(min(self._maybe_set)):
                        await self._clock.sleep(next(pauses))
        except TimeoutError:
            log.warning("could not clear a status", thread=self._thread)
        finally:
            self._api.rate_limiter.release(self._reservation)
        await self._settle()

    async def _stop_showing(self) -> None:
        if self._showing is None:
            return
        try:
            if self._maybe_set:
                await asyncio.wait((self._showing,), timeout=SHOW_SECONDS)
        finally:
            if not self._showing.done() and self._maybe_set:
                self._may_land_late()
            self._showing.cancel()
            await asyncio.gather(self._showing, return_exceptions=True)

    async def _show(self) -> None:
        await self._registry.hand_over(self._thread, self)
        for method in (SESSIONS, THREADS):
            if await self._try_show(method):
                return

    async def _try_show(self, method: str) -> bool:
        """Try to set the status; returns whether it may be set now. A left-over status stays
        set if Slack throttles."""
        before = method in self._maybe_set
        try:
            async with asyncio.timeout(SHOW_SECONDS):
                await self._acquire(method, clears=False)
                self._maybe_set.add(method)  # uncertain until Slack answers
                await self._write(method, SHOWN[method])
                self._confirmed = True
        except (PlatformError, TimeoutError) as error:
            log.debug("could not set a status", method=method, error=repr(error))
            unknown = isinstance(error, Unsettled | TimeoutError)
            if unknown and method in self._maybe_set:
                self._may_land_late()
            if not unknown and not (before and isinstance(error, Throttled)):
                self._maybe_set.discard(method)
        return method in self._maybe_set

    def _may_land_late(self) -> None:
        """Whether a request with an unknown outcome may still take effect after a clearing one,
        so that it must wait."""
        self._landed_at = max(self._landed_at, self._clock.monotonic() + IN_FLIGHT_SECONDS)

    async def _try_clear(self, method: str) -> bool:
        """Send the clearing request; returns False if the caller must pause before the next
        attempt."""
        try:
            await self._acquire(method, clears=True)
            await self._write(method, CLEARED[method])
        except Throttled:
            return True  # `_acquire` waits next time
        except Unsettled:
            return False
        except PlatformError as error:
            log.debug("Slack refused to clear a status", method=method, error=repr(error))
        self._maybe_set.discard(method)
        return True

    async def _write(self, method: str, status: str) -> None:
        channel, thread = self._thread
        try:
            await self._api.write(method, channel_id=channel, thread_ts=thread, status=status)
        except Throttled as error:
            self._api.rate_limiter.throttled(error.retry_after, *error.scopes)
            self._api.rate_limiter.refund(method)
            raise

    async def _acquire(self, method: str, *, clears: bool) -> None:
        """Wait for the rate limit; setting a status also reserves a request for clearing it."""
        keeps = () if clears else (method,)
        request = Request(Action.EDIT, 0, (method,), keeps=keeps)
        priority = Priority.FINAL if clears else Priority.FIRST
        await self._api.rate_limiter.acquire(
            lambda: request, lambda: (priority, 0.0), self._reservation
        )
