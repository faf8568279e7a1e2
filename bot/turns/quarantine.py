"""Decides which turns may run at the same time after the process died while running them.

Invariant: the turn that kills the process is found, and every other turn is answered. A turn that
was running at four deaths is a suspect; suspects start a few at a time. After one more death, or
after a death while nothing else was running, a suspect runs in isolation before any other turn
starts. If the process then dies again with nothing else running, that turn is the cause and is
given up. Other turns wait only while one is isolated, and at most for its share of time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import structlog

from bot.common.retry import Backoff
from bot.domain.turns import MAX_LONE_DEATHS, SUSPECT_DEATHS, Claim, Suspect
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

ISOLATION_DEATHS = 5
"""Deaths after which a suspect is isolated."""

SUSPECTS_AT_ONCE = 4
"""Suspects that start together. The next one starts when one of them has ended or has run for the
first period of `ISOLATION`. So one more death leaves about four turns to isolate."""

ISOLATION = Backoff(first=5.0, longest=480.0)
"""Seconds during which nothing starts next to an isolated turn, doubled with each further death, to
catch a turn that kills the process only after a while."""

IDLE_SECONDS = 5.0
"""Seconds without any work, once per process, before a turn that died alone is isolated. If
something outside kills the process, it does so during this time, too, which clears the turn."""

WAIT_FOR_OTHERS_SECONDS = 10.0
"""An isolated turn waits at most this long for running turns to end, then starts beside them."""

_Rank = tuple[int, int, int]


class Quarantine:
    """Admits turns. `suspects` are the turns that were running when earlier processes died."""

    def __init__(self, clock: Clock, suspects: Iterable[Suspect] = ()) -> None:
        self._clock = clock
        self._unannounced = {s.conversation: _rank(s) for s in suspects if _needs_isolation(s)}
        self._to_isolate: dict[int, _Rank] = {}  # conversations; the lowest rank is next
        self._isolated: int | None = None  # the conversation whose turn is in isolation
        self._suspect_slots = asyncio.Semaphore(SUSPECTS_AT_ONCE)
        self._running = 0
        self._was_idle = False
        self._waiters: set[asyncio.Future[None]] = set()
        self._waiting_tasks: set[asyncio.Task[object]] = set()

    @property
    def waiting_tasks(self) -> frozenset[asyncio.Task[object]]:
        """The tasks that wait for admission or isolation, and do no work."""
        return frozenset(self._waiting_tasks)

    def announce(self, conversation: int) -> None:
        """Announce that a conversation will claim a turn; if it must be isolated, others wait."""
        if conversation in self._unannounced:
            self._to_isolate[conversation] = self._unannounced.pop(conversation)

    @asynccontextmanager
    async def admission(self, conversation: int) -> AsyncIterator[None]:
        """Delay the block, which runs a turn, until no other turn must be isolated."""
        await self._wait_until(lambda: conversation in self._to_isolate or not self._to_isolate)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._end_isolation(conversation)

    @asynccontextmanager
    async def isolation(self, claim: Claim) -> AsyncIterator[bool]:
        """Inside `admission`, wait as a suspect must; yield whether the turn is a suspect."""
        conversation = claim.conversation.id
        suspect = Suspect(conversation, claim.fence.turn, claim.deaths, claim.lone_deaths)
        if _needs_isolation(suspect):
            async with self._isolate(suspect):
                yield True
        elif claim.deaths < SUSPECT_DEATHS or claim.lone_deaths >= MAX_LONE_DEATHS:
            self._end_isolation(conversation)
            yield False
        else:
            self._end_isolation(conversation)
            async with self._suspect_slot():
                yield True

    # ── suspects ──────────────────────────────────────────────────────────────────────────────
    @asynccontextmanager
    async def _suspect_slot(self) -> AsyncIterator[None]:
        self._pause()
        try:
            with self._waiting():
                await self._suspect_slots.acquire()
        finally:
            self._running += 1
        timer = asyncio.create_task(self._release_slot_later())
        try:
            await self._wait_for_isolation()
            yield
        finally:
            timer.cancel()

    async def _release_slot_later(self) -> None:
        try:
            await self._clock.sleep(ISOLATION.first)
        finally:
            self._suspect_slots.release()

    async def _wait_for_isolation(self) -> None:
        self._pause()
        try:
            await self._wait_until(lambda: not self._to_isolate)
        finally:
            self._running += 1

    # ── isolation ─────────────────────────────────────────────────────────────────────────────
    @asynccontextmanager
    async def _isolate(self, suspect: Suspect) -> AsyncIterator[None]:
        conversation = suspect.conversation
        self._to_isolate[conversation] = _rank(suspect)
        self._pause()
        try:
            with self._waiting():
                await self._wait_to_be_alone(suspect)
        finally:
            self._running += 1
        log.warning("isolating a turn: the process died while running it", turn=suspect.turn)
        timer = asyncio.create_task(self._end_isolation_later(suspect))
        try:
            yield
        finally:
            timer.cancel()
            self._end_isolation(conversation)

    async def _wait_to_be_alone(self, suspect: Suspect) -> None:
        conversation = suspect.conversation
        await self._wait_until(
            lambda: (
                self._isolated is None
                and min(self._to_isolate, key=self._to_isolate.__getitem__) == conversation
            )
        )
        self._isolated = conversation
        timer = asyncio.create_task(self._clock.sleep(WAIT_FOR_OTHERS_SECONDS))
        timer.add_done_callback(lambda _: self._notify())
        try:
            await self._wait_until(lambda: self._running == 0 or timer.done())
        finally:
            timer.cancel()
        if suspect.lone_deaths and not self._was_idle:
            await self._clock.sleep(IDLE_SECONDS)
            self._was_idle = True

    async def _end_isolation_later(self, suspect: Suspect) -> None:
        """Let other turns start after a while: running for long does not make a turn suspicious."""
        await self._clock.sleep(ISOLATION.after(suspect.deaths - ISOLATION_DEATHS + 1))
        self._end_isolation(suspect.conversation)

    # ── waiting ───────────────────────────────────────────────────────────────────────────────
    def _pause(self) -> None:
        """Stop counting the current turn as running while it waits."""
        self._running -= 1
        self._notify()

    def _end_isolation(self, conversation: int) -> None:
        """Stop holding back other turns for this conversation's turn."""
        self._to_isolate.pop(conversation, None)
        if self._isolated == conversation:
            self._isolated = None
        self._notify()

    def _notify(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        with self._waiting():
            while not condition():
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiters.discard(waiter)

    def _waiting(self) -> _WaitingTask:
        return _WaitingTask(self._waiting_tasks)


class _WaitingTask:
    """Keeps the current task in `tasks` while entered; may be nested."""

    def __init__(self, tasks: set[asyncio.Task[object]]) -> None:
        self._tasks, self._task = tasks, asyncio.current_task()
        self._nested = self._task in tasks

    def __enter__(self) -> None:
        if self._task is not None:
            self._tasks.add(self._task)

    def __exit__(self, *_: object) -> None:
        if self._task is not None and not self._nested:
            self._tasks.discard(self._task)


def _needs_isolation(suspect: Suspect) -> bool:
    return suspect.lone_deaths < MAX_LONE_DEATHS and (
        suspect.deaths >= ISOLATION_DEATHS or suspect.lone_deaths > 0
    )


def _rank(suspect: Suspect) -> _Rank:
    """Rank turns that died alone last, to spread deaths with an outside cause over all turns."""
    return suspect.lone_deaths, suspect.deaths, suspect.turn
