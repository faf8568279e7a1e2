"""One turn at a time per conversation; conversations never wait for each other.

A conversation has a task only while it has a turn to work on (invariant 9). Which turns are waiting
is the store's knowledge: `wake` only says that it is worth looking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from bot.domain import Claim, Outcome
from bot.errors import StoreUnavailable
from bot.ports import Clock, Store

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# After a turn that failed in an unforeseen way, or a database that did not answer: seconds to wait
# before the next look, doubled with every attempt, so that a lasting fault neither burns CPU nor
# floods the log.
RETRY_SECONDS = 1.0
MOST_RETRY_SECONDS = 60.0


class Interrupt:
    """Ends a turn's work early, on a person's wish; what was shown stays."""

    def __init__(self) -> None:
        self.reason: Outcome | None = None
        self._work: asyncio.Task[Any] | None = None

    def __call__(self, reason: Outcome) -> None:
        """End it; the first reason counts."""
        if self.reason is None:
            self.reason = reason
            if self._work is not None:
                self._work.cancel()

    async def guard(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of `work`, or None when it was interrupted, even before it began."""
        if self.reason is not None:
            work.close()
            return None
        task: asyncio.Task[T] = asyncio.create_task(work)
        self._work = task
        try:
            return await task
        except asyncio.CancelledError:
            if self.reason is None or _cancelled_from_outside():
                raise
            return None
        finally:
            self._work = None


class Scheduler:
    """Runs turns: `work(claim, interrupt)` does one, from the claim to its last page."""

    def __init__(
        self, *, store: Store, work: Callable[[Claim, Interrupt], Awaitable[None]], clock: Clock
    ) -> None:
        self._store, self._work, self._clock = store, work, clock
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._interrupts: dict[int, Interrupt] = {}
        self._woken: set[int] = set()
        self._draining = False

    @property
    def busy(self) -> int:
        """Conversations that have a turn in work."""
        return len(self._tasks)

    def wake(self, conversation: int) -> None:
        """Look for a turn of this conversation; may be called at any time, as often as one likes.

        While draining it does nothing: the turn is in the store for the next start.
        """
        if self._draining:
            return
        self._woken.add(conversation)
        if conversation not in self._tasks:
            task = asyncio.create_task(self._serve(conversation), name=f"turns-{conversation}")
            self._tasks[conversation] = task

    def interrupt(self, conversation: int, reason: Outcome) -> bool:
        """End the running turn of a conversation; whether there was one."""
        running = self._interrupts.get(conversation)
        if running is None:
            return False
        running(reason)
        return True

    async def drain(self, seconds: float) -> int:
        """Begin no new turn, and give the running ones `seconds`; how many were handed over.

        A turn that is handed over stays unfinished in the store, and the next start goes on with
        it in the same messages.
        """
        self._draining = True
        running = set(self._tasks.values())
        if not running:
            return 0
        _, late = await asyncio.wait(running, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        return len(late)

    async def _serve(self, conversation: int) -> None:
        try:
            while conversation in self._woken and not self._draining:
                self._woken.discard(conversation)
                await self._run_next(conversation)
        finally:
            del self._tasks[conversation]
            self._woken.discard(conversation)

    async def _run_next(self, conversation: int) -> None:
        """Work on the next turn, if there is one; afterwards look again."""
        attempt = 1
        try:
            claim = await self._store.claim(conversation)
            if claim is None:
                return
            attempt = claim.fence.attempt
            self._woken.add(conversation)
            await self._run(claim)
        except StoreUnavailable as error:
            log.error("the database failed", conversation=conversation, error=str(error))
            self._woken.add(conversation)
            await self._clock.sleep(_retry_seconds(attempt))
        except Exception:
            # The turn's boundary: whatever it was, the turn stays in the store and is retried.
            log.exception("a turn failed", conversation=conversation)
            await self._clock.sleep(_retry_seconds(attempt))

    async def _run(self, claim: Claim) -> None:
        interrupt = self._interrupts[claim.conversation.id] = Interrupt()
        try:
            with structlog.contextvars.bound_contextvars(
                turn=claim.fence.turn, conversation=str(claim.conversation.key)
            ):
                await self._work(claim, interrupt)
        finally:
            del self._interrupts[claim.conversation.id]


def _retry_seconds(attempt: int) -> float:
    doublings = min(attempt - 1, 10)  # far beyond the cap, and no overflow
    return float(min(RETRY_SECONDS * 2**doublings, MOST_RETRY_SECONDS))


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
