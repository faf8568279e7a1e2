"""One turn at a time per conversation; conversations never wait for each other.

A conversation has a task only while it has a turn to work on (invariant 9). Which turns are waiting
is the store's knowledge: `wake` only says that it is worth looking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from bot.common.retry import retry_while_unavailable
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Down, StoreUnavailable
from bot.domain.turns import Claim, Outcome, Suspect
from bot.ports.clock import Clock
from bot.ports.store import Store
from bot.turns.quarantine import Quarantine

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# After a turn that failed in an unforeseen way, or a database that did not answer: seconds to wait
# before the next look, doubled with every attempt, so that a lasting fault neither burns CPU nor
# floods the log.
RETRY_SECONDS = 1.0
MOST_RETRY_SECONDS = 60.0


class Interrupt:
    """Ends a turn's work early, on a person's wish; what was shown stays.

    `again` tells that the work is to end without an outcome, because the turn begins anew.
    """

    def __init__(self, turn: int = 0, key: ConversationKey | None = None) -> None:
        self.turn, self.key = turn, key
        self.reason: Outcome | None = None
        self.again = False
        self._work: asyncio.Task[Any] | None = None

    def __call__(self, reason: Outcome) -> None:
        """End it; the first reason counts."""
        if self.reason is None:
            self.reason = reason
            self._cancel()

    def restart(self) -> None:
        """End it to begin anew; what was wished before that is done with."""
        self.reason, self.again = None, True
        self._cancel()

    def _cancel(self) -> None:
        if self._work is not None:
            self._work.cancel()

    async def guard(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of `work`, or None when it was interrupted, even before it began."""
        if self.again or self.reason is not None:
            work.close()
            return None
        task: asyncio.Task[T] = asyncio.create_task(work)
        self._work = task
        try:
            return await task
        except asyncio.CancelledError:
            if not (self.again or self.reason) or _cancelled_from_outside():
                raise
            return None
        finally:
            self._work = None


class Scheduler:
    """Runs turns: `work(claim, interrupt)` does one, from the claim to its last page."""

    def __init__(
        self,
        *,
        store: Store,
        work: Callable[[Claim, Interrupt], Awaitable[None]],
        clock: Clock,
        suspects: Sequence[Suspect] = (),
    ) -> None:
        self._store, self._work, self._clock = store, work, clock
        self._quarantine = Quarantine(clock, suspects)
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
        self._quarantine.expect(conversation)
        if conversation not in self._tasks:
            task = asyncio.create_task(self._serve(conversation), name=f"turns-{conversation}")
            self._tasks[conversation] = task

    def interrupt(self, conversation: int, reason: Outcome, turn: int | None = None) -> bool:
        """End the running turn of a conversation, if it is `turn` where given; whether it runs."""
        running = self._interrupts.get(conversation)
        if running is None or turn not in (None, running.turn):
            return False
        running(reason)
        return True

    def interrupt_at(self, key: ConversationKey, reason: Outcome, turn: int | None = None) -> bool:
        """As `interrupt`, for those who must not wait for a database to tell the conversation."""
        here = (number for number, running in self._interrupts.items() if running.key == key)
        return any(self.interrupt(number, reason, turn) for number in tuple(here))

    def interrupt_in(self, place: ConversationKey, reason: Outcome) -> int:
        """End every turn that runs in `place` (see `ConversationKey.within`); how many."""
        running = [i for i in self._interrupts.values() if i.key and i.key.within(place)]
        for interrupt in running:
            interrupt(reason)
        return len(running)

    def restart(self, conversation: int, turn: int) -> None:
        """The store opened `turn` again: end the attempt at it that runs, and look for it."""
        running = self._interrupts.get(conversation)
        if running is not None and running.turn == turn:
            running.restart()
        self.wake(conversation)

    async def drain(self, seconds: float) -> int:
        """Begin no new turn, and give the running ones `seconds`; how many were handed over.

        A turn that is handed over stays unfinished in the store, and the next start goes on with
        it in the same messages.
        """
        self._draining = True
        idle = self._quarantine.held_back
        for task in idle:
            task.cancel()
        late = set(self._tasks.values()) - idle
        if late:
            _, late = await asyncio.wait(late, timeout=seconds)
        for task in late:
            task.cancel()
        if late | idle:
            await asyncio.wait(late | idle)
        return len(late)

    async def _serve(self, conversation: int) -> None:
        try:
            while conversation in self._woken and not self._draining:
                self._woken.discard(conversation)
                async with self._quarantine.admitted(conversation):
                    await self._run_next(conversation)
        finally:
            del self._tasks[conversation]
            self._interrupts.pop(conversation, None)
            self._woken.discard(conversation)

    async def _run_next(self, conversation: int) -> None:
        """Work on the next turn, if there is one; afterwards look again."""
        attempt = 1
        try:
            claim = await retry_while_unavailable(
                lambda: self._store.claim(conversation), self._clock.sleep
            )
            if claim is None:
                return
            attempt = claim.failures + 1
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
        interrupt = self._interrupt_of(claim)
        try:
            with structlog.contextvars.bound_contextvars(
                turn=claim.fence.turn, conversation=str(claim.conversation.key)
            ):
                async with self._quarantine.examined(claim) as suspect:
                    if suspect:
                        await self._hold(claim, held=True)
                    await self._attempt(claim, interrupt)
        finally:
            if not interrupt.again:
                del self._interrupts[claim.conversation.id]

    async def _attempt(self, claim: Claim, interrupt: Interrupt) -> None:
        try:
            await self._work(claim, interrupt)
        except Down as error:
            # At once: what is woken from here on is woken because the platform is there again.
            self._woken.discard(claim.conversation.id)
            log.info("a turn waits for its platform", platform=str(error))
            await self._hold(claim, held=False)

    async def _hold(self, claim: Claim, *, held: bool) -> None:
        fence = claim.fence
        await retry_while_unavailable(lambda: self._store.hold(fence, held=held), self._clock.sleep)

    def _interrupt_of(self, claim: Claim) -> Interrupt:
        """A new one; what was wished between two attempts at one turn is wished of the second."""
        before = self._interrupts.get(claim.conversation.id)
        interrupt = Interrupt(claim.fence.turn, claim.conversation.key)
        self._interrupts[claim.conversation.id] = interrupt
        if before is not None and before.turn == interrupt.turn and before.reason is not None:
            interrupt(before.reason)
        return interrupt


def _retry_seconds(attempt: int) -> float:
    doublings = min(attempt - 1, 10)  # far beyond the cap, and no overflow
    return float(min(RETRY_SECONDS * 2**doublings, MOST_RETRY_SECONDS))


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
