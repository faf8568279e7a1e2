"""Runs one turn at a time per conversation; conversations never wait for each other.

A conversation has a task only while it has a turn to run (invariant 9). The store knows which turns
are waiting: `wake` only makes the scheduler look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from bot.common.local_cluster import UNLIMITED, LocalCluster
from bot.common.retry import Backoff, retry_while_unavailable
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Down, StoreUnavailable
from bot.domain.turns import Claim, Outcome, Suspect
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster, TurnLease
from bot.ports.store import Store
from bot.ports.tracing import NullTracer, Tracer
from bot.turns.quarantine import Quarantine

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

RETRY = Backoff(first=1.0, longest=60.0)
"""Pauses after an unexpected failure of a turn or the database, so that a lasting fault neither
burns CPU nor floods the log."""


class Interrupt:
    """Ends one attempt early at a person's request; the text shown so far stays.

    With `restarting`, the attempt ends without a result, because the turn was reopened.
    """

    def __init__(self, turn: int = 0, key: ConversationKey | None = None) -> None:
        self.turn, self.key = turn, key
        self.reason: Outcome | None = None
        self.restarting = False
        self.is_lost = False
        self.lease: TurnLease = UNLIMITED
        self._work: asyncio.Task[Any] | None = None
        self._attempt: asyncio.Future[None] | None = None

    def __call__(self, reason: Outcome) -> None:
        """End the attempt. Only the first reason counts."""
        if self.reason is None:
            self.reason = reason
            self._cancel()

    def restart(self) -> None:
        """End the attempt so that a new one starts; an earlier reason no longer counts."""
        self.reason, self.restarting = None, True
        self._cancel()

    def lose(self) -> None:
        """End the attempt without storing or showing anything: another process has the turn."""
        self.is_lost = True
        if self._attempt is not None:
            self._attempt.cancel()

    async def run(self, attempt: Awaitable[None]) -> None:
        """Run the whole attempt until it ends or is lost.

        The attempt is a separate task, so that losing it does not cancel the conversation's task.
        """
        self._attempt = asyncio.ensure_future(attempt)
        try:
            if self.is_lost:
                self._attempt.cancel()
            await self._attempt
        except asyncio.CancelledError:
            if not self.is_lost or _is_cancelled_from_outside():
                raise
        finally:
            self._attempt = None

    def _cancel(self) -> None:
        if self._work is not None:
            self._work.cancel()

    async def guard(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of `work`; None if it was interrupted, even before it started."""
        if self.restarting or self.reason is not None:
            work.close()
            return None
        task: asyncio.Task[T] = asyncio.create_task(work)
        self._work = task
        try:
            return await task
        except asyncio.CancelledError:
            if not (self.restarting or self.reason) or _is_cancelled_from_outside():
                raise
            return None
        finally:
            self._work = None


class Scheduler:
    """Runs turns. `work(claim, interrupt)` runs one, from its claim to its last page."""

    def __init__(
        self,
        *,
        store: Store,
        work: Callable[[Claim, Interrupt], Awaitable[None]],
        clock: Clock,
        suspects: Sequence[Suspect] = (),
        cluster: Cluster | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._store, self._work, self._clock = store, work, clock
        self._cluster, self._tracer = cluster or LocalCluster(), tracer or NullTracer()
        self._quarantine = Quarantine(clock, suspects)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._interrupts: dict[int, Interrupt] = {}
        self._woken: set[int] = set()
        self._draining = False

    @property
    def busy(self) -> int:
        """The number of conversations with a task."""
        return len(self._tasks)

    def wake(self, conversation: int) -> None:
        """Look for a turn of this conversation. Safe to call at any time and repeatedly.

        Does nothing while draining: the turn stays in the store for the next start.
        """
        if self._draining:
            return
        self._woken.add(conversation)
        self._quarantine.announce(conversation)
        if conversation not in self._tasks:
            task = asyncio.create_task(self._run_turns(conversation), name=f"turns-{conversation}")
            self._tasks[conversation] = task

    def interrupt(self, conversation: int, reason: Outcome, turn: int | None = None) -> bool:
        """End the conversation's running turn (only `turn`, if given); return whether it ran."""
        running = self._interrupts.get(conversation)
        if running is None or turn not in (None, running.turn):
            return False
        running(reason)
        return True

    def interrupt_at(self, key: ConversationKey, reason: Outcome, turn: int | None = None) -> bool:
        """Like `interrupt`, by key, for callers that cannot wait for a look-up of the row id."""
        here = (number for number, running in self._interrupts.items() if running.key == key)
        return any(self.interrupt(number, reason, turn) for number in tuple(here))

    def interrupt_within(self, parent: ConversationKey, reason: Outcome) -> int:
        """End all running turns within `parent` (`ConversationKey.within`); return the count."""
        running = [i for i in self._interrupts.values() if i.key and i.key.within(parent)]
        for interrupt in running:
            interrupt(reason)
        return len(running)

    def restart(self, conversation: int, turn: int) -> None:
        """End the running attempt at `turn`, which the store has reopened, and start another."""
        running = self._interrupts.get(conversation)
        if running is not None and running.turn == turn:
            running.restart()
        self.wake(conversation)

    async def drain(self, seconds: float) -> int:
        """Start no more turns, and cancel those still running after `seconds`; return the count.

        A cancelled turn stays unfinished in the store, and the next start continues it in the same
        messages.
        """
        self._draining = True
        idle = self._quarantine.waiting_tasks
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

    async def _run_turns(self, conversation: int) -> None:
        failures = 0
        try:
            while conversation in self._woken and not self._draining:
                self._woken.discard(conversation)
                async with self._quarantine.admission(conversation):
                    failures = await self._run_next(conversation, failures)
        finally:
            del self._tasks[conversation]
            self._interrupts.pop(conversation, None)
            if conversation in self._woken:
                self._woken.discard(conversation)
                self._leave(conversation)

    def _leave(self, conversation: int) -> None:
        """Called if a turn may stay in the store because this process is draining."""

    async def _run_next(self, conversation: int, failed: int) -> int:
        """Run the conversation's next turn, if any, and wake the conversation for another.

        `failed` is how many times in a row this has failed; returns the new number.
        """
        failures = failed + 1
        lease: TurnLease = UNLIMITED
        try:
            claim, since = await retry_while_unavailable(
                lambda: self._claim(conversation), self._clock.sleep
            )
            if claim is None:
                return 0
            failures = max(failures, claim.failures + 1)
            self._woken.add(conversation)
            interrupt = self._make_interrupt(claim)
            interrupt.lease = lease = self._cluster.hold(claim.fence, interrupt, since=since)
            await self._run(claim, interrupt)
            return 0
        except StoreUnavailable as error:
            log.error("the database failed", conversation=conversation, error=str(error))
            await self._pause(conversation, failures)
        except Exception:
            # The turn's boundary: the turn is still in the store, so it is retried after any error.
            log.exception("a turn failed", conversation=conversation)
            await self._pause(conversation, failures)
        finally:
            lease.release()  # only now: no other process should retry during the pause
        return failures

    async def _pause(self, conversation: int, failures: int) -> None:
        """Wait before the next attempt, which may be the conversation's only one: nothing else may
        wake it."""
        self._woken.add(conversation)
        await self._clock.sleep(RETRY.after(failures))

    async def _claim(self, conversation: int) -> tuple[Claim | None, float]:
        """The claim, and the time of the request for it: the turn's lease may begin then."""
        since = self._cluster.now()
        return await self._store.claim(conversation), since

    async def _run(self, claim: Claim, interrupt: Interrupt) -> None:
        try:
            with (
                structlog.contextvars.bound_contextvars(
                    turn=claim.fence.turn, conversation=str(claim.conversation.key)
                ),
                self._tracer.attempt(claim),
            ):
                async with self._quarantine.isolation(claim) as suspect:
                    if suspect:
                        await self._hold(claim, held=True)
                    await self._attempt(claim, interrupt)
        finally:
            if not interrupt.restarting:
                del self._interrupts[claim.conversation.id]

    async def _attempt(self, claim: Claim, interrupt: Interrupt) -> None:
        try:
            await interrupt.run(self._work(claim, interrupt))
        except Down as error:
            # Before the first await: a later wake means that the platform has connected again.
            self._woken.discard(claim.conversation.id)
            log.info("a turn waits for its platform", platform=str(error))
            await self._hold(claim, held=False)

    async def _hold(self, claim: Claim, *, held: bool) -> None:
        fence = claim.fence
        await retry_while_unavailable(lambda: self._store.hold(fence, held=held), self._clock.sleep)

    def _make_interrupt(self, claim: Claim) -> Interrupt:
        """Create this attempt's interrupt, carrying over a stop requested between attempts."""
        before = self._interrupts.get(claim.conversation.id)
        interrupt = Interrupt(claim.fence.turn, claim.conversation.key)
        self._interrupts[claim.conversation.id] = interrupt
        if before is not None and before.turn == interrupt.turn and before.reason is not None:
            interrupt(before.reason)
        return interrupt


def _is_cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
