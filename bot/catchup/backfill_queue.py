"""A queue of reads that runs a few at a time and retries those that fail."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import structlog

from bot.common.retry import Backoff
from bot.domain.errors import Gone, PlatformError, Refused, StoreUnavailable, Throttled
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

ATTEMPTS = 7  # about two minutes with the usual pauses
# The longest that one request may take, in seconds, including its wait for the rate limiter: a 429
# closes a limit for a minute at most.
ATTEMPT_SECONDS = 90.0
FIRST, LAST = (-1.0,), (3.0,)  # ranks before and after every history's
CONCURRENCY = 4  # concurrent reads: enough to keep sending while others wait for their response


@dataclass(frozen=True, slots=True)
class ReadPauses:
    """Pauses before retrying a failed read, and before restarting an abandoned one."""

    retries: Backoff
    later: float


@dataclass(order=True, slots=True)
class _Job:
    rank: tuple[float, ...]
    number: int
    name: str = field(compare=False)
    step: Callable[[], Awaitable[bool]] = field(compare=False)
    done: asyncio.Future[bool] = field(compare=False)
    failures: int = field(default=0, compare=False)


USUAL_PAUSES = ReadPauses(retries=Backoff(first=1.0, longest=30.0), later=300.0)


class BackfillQueue:
    """Runs reads, the lowest rank first."""

    def __init__(self, clock: Clock, pauses: ReadPauses = USUAL_PAUSES) -> None:
        self._clock, self._pauses = clock, pauses
        self._jobs: list[_Job] = []
        self._numbers = count()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._workers = 0

    def add(
        self, name: str, rank: tuple[float, ...], step: Callable[[], Awaitable[bool]]
    ) -> asyncio.Future[bool]:
        """Queue a read; the result is False if it was given up after `ATTEMPTS` failures in a row.

        The queue calls `step`, which sends one request, until it returns False. After a
        PlatformError or StoreUnavailable it calls `step` again; but Gone and Refused end the read
        with True, because no retry would help. `name` is for the log.
        """
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._push(_Job(rank, next(self._numbers), name, step, done))
        return done

    async def fetch(self, name: str, request: Callable[[], Awaitable[T]]) -> T:
        """Send a request that everything else depends on, and retry it until it succeeds."""
        results: list[T] = []

        async def step() -> bool:
            results.append(await request())
            return False

        await self.add(name, FIRST, step)
        while not results:
            await self._clock.sleep(self._pauses.later)
            await self.add(name, FIRST, step)
        return results[0]

    def start(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start a task that `aclose` cancels."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def busy(self) -> bool:
        """Whether a read or another task is running or waiting."""
        return bool(self._tasks)

    async def join(self) -> None:
        """Wait until no task is left."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def aclose(self) -> None:
        """Cancel all reads and tasks."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in self._jobs:
            job.done.cancel()
        self._jobs.clear()

    def _push(self, job: _Job) -> None:
        heapq.heappush(self._jobs, job)
        if self._workers < CONCURRENCY:
            self._workers += 1
            self.start(self._work(), name="backfill")

    async def _work(self) -> None:
        while self._jobs:
            job = heapq.heappop(self._jobs)
            if await self._run_step(job):
                heapq.heappush(self._jobs, job)
        self._workers -= 1

    async def _run_step(self, job: _Job) -> bool:
        """Run one step; return whether the next one may run immediately."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                more = await job.step()
        except (Gone, Refused) as error:
            log.warning("skipped a read: refused", read=job.name, error=str(error))
            return _finish(job, complete=True)
        except (PlatformError, StoreUnavailable, TimeoutError) as error:
            self._retry_later(job, error)
            return False
        except Exception:
            # A bug in one read must not stop the others.
            log.exception("a read failed unexpectedly", read=job.name)
            return _finish(job, complete=False)
        job.failures = 0
        return more or _finish(job, complete=True)

    def _retry_later(self, job: _Job, error: Exception) -> None:
        job.failures += 1
        if job.failures == ATTEMPTS:
            log.error("gave up a read for now", read=job.name)
            _finish(job, complete=False)
            return
        asked = error.retry_after if isinstance(error, Throttled) else 0.0
        pause = max(self._pauses.retries.after(job.failures), asked)
        log.warning("a read failed", read=job.name, error=repr(error), retry_in=pause)
        self.start(self._push_after(job, pause), name="backfill: pause")

    async def _push_after(self, job: _Job, seconds: float) -> None:
        try:
            await self._clock.sleep(seconds)
        except asyncio.CancelledError:
            job.done.cancel()
            raise
        self._push(job)


def _finish(job: _Job, *, complete: bool) -> bool:
    """Return False, because the job has no further step."""
    if not job.done.done():
        job.done.set_result(complete)
    return False
