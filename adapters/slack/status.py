"""The sign that the bot is at work in a thread: set while it thinks, always cleared.

It is a courtesy: no reply waits for it, and its failures are only noted in the log. It is set only
where the budget has room to clear it, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import structlog

from adapters.slack.web import WebApi
from bot.errors import PlatformError, Throttled, Unsettled
from bot.frames import Action, Priority, Request
from bot.ports import Clock
from bot.reply.delivery import LANDED
from bot.reply.stakes import Stake

log = structlog.stdlib.get_logger(__name__)

THREADS, SESSIONS = "assistant.threads.setStatus", "agents.sessions.setStatus"
SHOWN = {THREADS: "is thinking…", SESSIONS: "processing"}
CLEARED = {THREADS: "", SESSIONS: "active"}
# How long setting may wait, for its budget too, in seconds.
SHOW_SECONDS = 3.0
# And clearing: a session's status does not go away by itself, and after a restart the minute's
# budget may be used up. The turn waits for it, so that one that dies meanwhile clears it later.
CLEAR_SECONDS = 75.0
# After a failure of which nobody knows what it left, in seconds.
RETRY_SECONDS = 1.0


class Status:
    """One turn's status: the agent session's, which offers Slack's own stop button, or where the
    app is no agent, words under the thread.

    `left_over` says that a process that died may have left either, or have it on its way.
    """

    def __init__(
        self, *, api: WebApi, channel: str, thread: str, left_over: bool, clock: Clock
    ) -> None:
        self._api, self._channel, self._thread, self._clock = api, channel, thread, clock
        self._landed = clock.monotonic() + LANDED if left_over else 0.0
        self._stake = Stake(over=True)  # holds one request for clearing it
        self._showing: asyncio.Task[None] | None = None
        # The methods by which a status may be set now.
        self._set: set[str] = {SESSIONS, THREADS} if left_over else set()
        self._sure = False  # Slack has answered that it is

    @property
    def stoppable(self) -> bool:
        """Whether Slack offers people to stop what is being written here."""
        return self._sure and SESSIONS in self._set

    def show(self) -> None:
        """Set it, in the background."""
        if self._showing is None:
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
        """Take away what may be set, but not before what is on its way has arrived."""
        if self._showing is not None:
            if self._set:
                await asyncio.wait((self._showing,), timeout=SHOW_SECONDS)
            self._showing.cancel()
            await asyncio.gather(self._showing, return_exceptions=True)
        try:
            async with asyncio.timeout(CLEAR_SECONDS):
                if self._set:
                    await self._clock.sleep(max(self._landed - self._clock.monotonic(), 0.0))
                while self._set:
                    await self._clear(min(self._set))
        except TimeoutError:
            log.warning("a status could not be cleared", thread=self._thread)
        finally:
            self._api.grants.leave(self._stake)

    async def _show(self) -> None:
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

    async def _clear(self, method: str) -> None:
        try:
            await self._granted(method, clears=True)
            await self._write(method, CLEARED[method])
        except Throttled:
            return None  # the budget says when
        except Unsettled:
            return await self._clock.sleep(RETRY_SECONDS)
        except PlatformError as error:
            log.debug("no status to clear", method=method, error=repr(error))
        self._set.discard(method)
        return None

    async def _write(self, method: str, status: str) -> None:
        try:
            await self._api.write(
                method, channel_id=self._channel, thread_ts=self._thread, status=status
            )
        except Throttled as error:
            self._api.grants.throttled(error.retry_after, *error.scopes)
            self._api.grants.refund(method)
            raise

    async def _granted(self, method: str, *, clears: bool) -> None:
        """Wait for the budget; setting keeps one more for clearing."""
        keeps = () if clears else (method,)
        request = Request(Action.EDIT, 0, (method,), keeps=keeps)
        priority = Priority.FINAL if clears else Priority.FIRST
        await self._api.grants.grant(lambda: request, lambda: (priority, 0.0), self._stake)
