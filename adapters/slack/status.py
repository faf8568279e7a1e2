"""The sign that the bot is at work in a thread: set while it thinks, always cleared.

It is a courtesy: no reply waits for it, and its failures are only noted in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import structlog

from adapters.slack.web import WebApi
from bot.errors import PlatformError, Unsettled
from bot.frames import Priority

log = structlog.stdlib.get_logger(__name__)

THREADS, SESSIONS = "assistant.threads.setStatus", "agents.sessions.setStatus"
SHOWN = {THREADS: "is thinking…", SESSIONS: "processing"}
CLEARED = {THREADS: "", SESSIONS: "active"}
# How long setting may wait, for its budget too, and clearing; in seconds. Words under a thread go
# away by themselves with the next post or after two minutes, a session's status never does.
SHOW_SECONDS = 3.0
CLEAR_SECONDS = 6.0


class Status:
    """One turn's status. In direct messages it is the agent session's, which offers Slack's own
    stop button; elsewhere, and where the app is no agent, it is words under the thread.
    """

    def __init__(self, *, api: WebApi, channel: str, thread: str, direct: bool) -> None:
        self._api, self._channel, self._thread = api, channel, thread
        self._ways = (SESSIONS, THREADS) if direct else (THREADS,)
        self._showing: asyncio.Task[None] | None = None
        self._set: str | None = None  # the method by which a status may be set now

    def show(self) -> None:
        """Set it, in the background."""
        if self._showing is None:
            self._showing = asyncio.create_task(self._show(), name="slack status")

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """Around a post, with which Slack clears the words that were set before it."""
        before = self._set == THREADS and self._showing is not None and self._showing.done()
        yield
        if before:
            self._set = None

    async def clear(self) -> None:
        """Take away what may be set, but not before what is on its way has arrived."""
        if self._showing is None:
            return
        if self._set is not None:
            await asyncio.wait((self._showing,), timeout=SHOW_SECONDS)
        self._showing.cancel()
        await asyncio.gather(self._showing, return_exceptions=True)
        if self._set is not None:
            await self._send(self._set, CLEARED[self._set], CLEAR_SECONDS)

    async def _show(self) -> None:
        for method in self._ways:
            if await self._send(method, SHOWN[method], SHOW_SECONDS):
                return

    async def _send(self, method: str, status: str, seconds: float) -> bool:
        """Whether that may have worked."""
        try:
            async with asyncio.timeout(seconds):
                await self._api.grants.spend(method, priority=Priority.CONTROL)
                self._set = method  # from here on until the answer nobody knows
                await self._api.write(
                    method, channel_id=self._channel, thread_ts=self._thread, status=status
                )
        except (PlatformError, TimeoutError) as error:
            log.debug("status", method=method, status=status, error=repr(error))
            if not isinstance(error, Unsettled | TimeoutError):
                self._set = None
                return False
        return True
