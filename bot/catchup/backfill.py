"""What makes up for a time without events, on every platform: watermarks kept, reads carried out.

Invariant: a message is behind the stored watermark only when it was decided, so a process may die
at any moment and the next start finds what this one did not get to.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import structlog

from bot.catchup.watermarks import ChannelRef, WatermarkTracker
from bot.domain.errors import Gone, PlatformError, Refused, StoreUnavailable, Throttled
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# Watermarks are stored so long after the first change: what a crash loses of them costs a read or
# two at the next start, and a commit a second costs nothing. Seconds.
SAVE_SECONDS = 1.0
# Between attempts at something that fails, in seconds, doubled each time.
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0
ATTEMPTS = 7  # about two minutes; afterwards it is given up for now
LATER_SECONDS = 300.0  # until what was given up is read once more
# The longest that one request may take, its wait for the budget included: a 429 closes a budget for
# a minute at most.
ATTEMPT_SECONDS = 90.0
AT_ONCE = 4  # reads under way: enough to fill the time that each is on its way


class WatermarkSaver:
    """The watermarks of one platform, stored in batches. `marks` is told what happens."""

    def __init__(self, *, platform: str, lag: int, inbox: Inbox, clock: Clock) -> None:
        self.marks = WatermarkTracker(platform, lag=lag)
        self._platform, self._inbox, self._clock = platform, inbox, clock
        self._loading: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None

    async def loaded(self) -> None:
        """Return once the stored watermarks are known; tries as long as the database fails."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load(), name="watermarks")
        await asyncio.shield(self._loading)

    def seen(self, spot: ChannelRef, position: int) -> None:
        """A message arrived."""
        self.marks.seen(spot, position)

    def decided(self, spot: ChannelRef, position: int) -> None:
        """It was accepted, or is of no use."""
        self.marks.decided(spot, position)
        self.save_soon()

    def save_soon(self) -> None:
        """See that changes are stored."""
        if self.marks.dirty and (self._saving is None or self._saving.done()):
            self._saving = asyncio.create_task(self._save_later(), name="watermarks")

    async def save(self) -> None:
        """Store what has changed; a failure is logged, and it is tried again with the next."""
        changes = self.marks.changes()
        if not changes:
            return
        try:
            await self._inbox.move_watermarks(changes)
        except StoreUnavailable as error:
            self.marks.unsaved(changes)
            log.debug("watermarks could not be stored", error=str(error))

    async def aclose(self) -> None:
        """Store the last of them."""
        for task in (self._loading, self._saving):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self.save()

    async def _save_later(self) -> None:
        while self.marks.dirty:
            await self._clock.sleep(SAVE_SECONDS)
            await self.save()

    async def _load(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                self.marks.load(await self._inbox.watermarks(self._platform))
                return
            except StoreUnavailable as error:
                log.error("watermarks could not be read", error=str(error), again_in=pause)
            await self._clock.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)


# ── reads ─────────────────────────────────────────────────────────────────────────────────────
@dataclass(order=True, slots=True)
class _Job:
    rank: tuple[float, ...]
    number: int
    what: str = field(compare=False)
    work: Callable[[], Awaitable[bool]] = field(compare=False)
    ended: asyncio.Future[bool] = field(compare=False)
    failures: int = field(default=0, compare=False)


class BackfillQueue:
    """Carries reads out, those of the lowest rank first and a few at once; what fails, again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: list[_Job] = []
        self._numbers = count()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._serving = 0

    def add(
        self, what: str, rank: tuple[float, ...], work: Callable[[], Awaitable[bool]]
    ) -> asyncio.Future[bool]:
        """Whether it was carried out in the end, or is never to be; False when it was given up.

        `what` is for the log. `work` sends one request, says whether there is more to read, and
        may raise a PlatformError or StoreUnavailable; it is called until there is no more.
        """
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._push(_Job(rank, next(self._numbers), what, work, ended))
        return ended

    def _push(self, job: _Job) -> None:
        heapq.heappush(self._jobs, job)
        if self._serving < AT_ONCE:
            self._serving += 1
            self.begin(self._serve(), name="reads")

    async def get(
        self, what: str, rank: tuple[float, ...], work: Callable[[], Awaitable[T]]
    ) -> T | None:
        """What `work` gives in the end, or None when it was given up."""
        results: list[T] = []

        async def once() -> bool:
            results.append(await work())
            return False

        await self.add(what, rank, once)
        return results[0] if results else None

    def begin(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """A task that ends with these reads."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Give up what is under way and what waits."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in self._jobs:
            job.ended.cancel()
        self._jobs.clear()

    async def _serve(self) -> None:
        while self._jobs:
            job = heapq.heappop(self._jobs)
            if await self._carry_out(job):
                heapq.heappush(self._jobs, job)
        self._serving -= 1

    async def _carry_out(self, job: _Job) -> bool:
        """One step of it; whether there is more to do at once."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                more = await job.work()
        except (Gone, Refused) as error:
            log.warning("skipped: it may not be read", what=job.what, error=str(error))
            return _end(job, carried_out=True)
        except (PlatformError, StoreUnavailable, TimeoutError) as error:
            self._put_off(job, error)
            return False
        except Exception:
            # A read's boundary: whatever it was, the other places are read.
            log.exception("a read failed for good", what=job.what)
            return _end(job, carried_out=False)
        job.failures = 0
        return more or _end(job, carried_out=True)

    def _put_off(self, job: _Job, error: Exception) -> None:
        """Try it again after a pause, in which others are read, or give it up."""
        job.failures += 1
        if job.failures == ATTEMPTS:
            log.error("given up for now", what=job.what)
            _end(job, carried_out=False)
            return
        pause = min(FIRST_PAUSE * 2 ** (job.failures - 1), LAST_PAUSE)
        wait = max(pause, error.retry_after if isinstance(error, Throttled) else 0.0)
        log.warning("a read failed", what=job.what, error=repr(error), again_in=wait)
        self.begin(self._push_after(job, wait), name="reads: pause")

    async def _push_after(self, job: _Job, seconds: float) -> None:
        try:
            await self._clock.sleep(seconds)
        except asyncio.CancelledError:
            job.ended.cancel()
            raise
        self._push(job)


def _end(job: _Job, *, carried_out: bool) -> bool:
    if not job.ended.done():
        job.ended.set_result(carried_out)
    return False
