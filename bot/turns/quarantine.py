"""Which turns may run beside which, once the process has died with them.

Invariant: the question that ends the process is found and every other one is answered. A turn that
was running at four deaths is a suspect; suspects run a few at a time. One that was running at
another death, or that had the process to itself when it died, is examined alone, before anything
else: when the process dies with nothing else running again, that turn did it and is given up.
Turns that are not suspects wait only while one is examined alone, and for no longer than its share
of time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import structlog

from bot.domain.turns import LONE_DEATHS, SUSPECT, Claim, Suspect
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

PRIME = 5
"""Deaths after which a suspect is examined alone."""

TOGETHER = 4
"""Suspects that begin together, the next when one has ended or has run for `ALONE_SECONDS`: one
death leaves about four to be examined alone."""

ALONE_SECONDS = 5.0
"""For so long nothing begins beside one that is examined alone, twice as long with each of its
further deaths: what ends the process only after a while is found as well."""
MOST_ALONE_SECONDS = 480.0

QUIET_SECONDS = 5.0
"""Once in its life a process waits so long with nothing running, before it examines a turn that was
alone at a death: one that is killed from outside dies in that time, too, which acquits the turn."""

PATIENCE_SECONDS = 10.0
"""The longest that an examination waits for what runs already to end; it goes on beside it then."""

_Key = tuple[int, int, int]


class Quarantine:
    """Lets turns run: `suspects` are those that the deaths of earlier processes left."""

    def __init__(self, clock: Clock, suspects: Iterable[Suspect] = ()) -> None:
        self._clock = clock
        self._primes = {one.conversation: _key(one) for one in suspects if _is_prime(one)}
        self._due: dict[int, _Key] = {}  # conversations whose turn is to be examined alone, by rank
        self._alone: int | None = None  # the conversation that is
        self._together = asyncio.Semaphore(TOGETHER)
        self._running = 0
        self._was_quiet = False
        self._waiters: set[asyncio.Future[None]] = set()
        self._held_back: set[asyncio.Task[object]] = set()

    @property
    def held_back(self) -> frozenset[asyncio.Task[object]]:
        """The tasks that wait here: they work on nothing."""
        return frozenset(self._held_back)

    def expect(self, conversation: int) -> None:
        """A conversation is about to ask for its turn: others wait where that is examined alone."""
        if conversation in self._primes:
            self._due[conversation] = self._primes.pop(conversation)

    @asynccontextmanager
    async def admitted(self, conversation: int) -> AsyncIterator[None]:
        """Wait until nothing is examined alone, unless this is; within, a turn runs."""
        await self._until(lambda: conversation in self._due or not self._due)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._pass(conversation)

    @asynccontextmanager
    async def examined(self, claim: Claim) -> AsyncIterator[bool]:
        """Within `admitted`: wait for its time, if the turn is a suspect, and say whether it is."""
        conversation = claim.conversation.id
        suspect = Suspect(conversation, claim.fence.turn, claim.deaths, claim.lone_deaths)
        if _is_prime(suspect):
            async with self._examined_alone(suspect):
                yield True
        elif claim.deaths < SUSPECT or claim.lone_deaths >= LONE_DEATHS:
            self._pass(conversation)
            yield False
        else:
            self._pass(conversation)
            async with self._examined_together():
                yield True

    @asynccontextmanager
    async def _examined_together(self) -> AsyncIterator[None]:
        self._leave()
        try:
            with self._holding_back():
                await self._together.acquire()
        finally:
            self._running += 1
        place = asyncio.create_task(self._keep_place())
        try:
            await self._until_open()
            yield
        finally:
            place.cancel()

    async def _keep_place(self) -> None:
        try:
            await self._clock.sleep(ALONE_SECONDS)
        finally:
            self._together.release()

    async def _until_open(self) -> None:
        self._leave()
        try:
            await self._until(lambda: not self._due)
        finally:
            self._running += 1

    @asynccontextmanager
    async def _examined_alone(self, suspect: Suspect) -> AsyncIterator[None]:
        conversation = suspect.conversation
        self._due[conversation] = _key(suspect)
        self._leave()
        try:
            with self._holding_back():
                await self._alone_at_last(suspect)
        finally:
            self._running += 1
        log.warning("a turn runs alone: the process died with it", turn=suspect.turn)
        share = asyncio.create_task(self._share(suspect))
        try:
            yield
        finally:
            share.cancel()
            self._pass(conversation)

    async def _alone_at_last(self, suspect: Suspect) -> None:
        conversation = suspect.conversation
        await self._until(
            lambda: self._alone is None and min(self._due, key=self._rank) == conversation
        )
        self._alone = conversation
        timer = asyncio.create_task(self._clock.sleep(PATIENCE_SECONDS))
        timer.add_done_callback(lambda _: self._notify())
        try:
            await self._until(lambda: self._running == 0 or timer.done())
        finally:
            timer.cancel()
        if suspect.lone_deaths and not self._was_quiet:
            await self._clock.sleep(QUIET_SECONDS)
            self._was_quiet = True

    def _rank(self, conversation: int) -> _Key:
        return self._due[conversation]

    async def _share(self, suspect: Suspect) -> None:
        """Let others go on after a while: a turn may take long, and that is no crime."""
        doubled = ALONE_SECONDS * 2 ** max(0, min(suspect.deaths - PRIME, 10))
        await self._clock.sleep(min(doubled, MOST_ALONE_SECONDS))
        self._pass(suspect.conversation)

    # ── waiting ───────────────────────────────────────────────────────────────────────────────
    def _leave(self) -> None:
        self._running -= 1
        self._notify()

    def _pass(self, conversation: int) -> None:
        """Nothing waits for this conversation's examination (any more)."""
        self._due.pop(conversation, None)
        if self._alone == conversation:
            self._alone = None
        self._notify()

    def _notify(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _until(self, true: Callable[[], bool]) -> None:
        with self._holding_back():
            while not true():
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiters.discard(waiter)

    def _holding_back(self) -> _HeldBack:
        return _HeldBack(self._held_back)


class _HeldBack:
    """The current task is in `tasks` as long as this is entered, once or more often."""

    def __init__(self, tasks: set[asyncio.Task[object]]) -> None:
        self._tasks, self._task = tasks, asyncio.current_task()
        self._outer = self._task in tasks

    def __enter__(self) -> None:
        if self._task is not None:
            self._tasks.add(self._task)

    def __exit__(self, *_: object) -> None:
        if self._task is not None and not self._outer:
            self._tasks.discard(self._task)


def _is_prime(suspect: Suspect) -> bool:
    return suspect.lone_deaths < LONE_DEATHS and (
        suspect.deaths >= PRIME or suspect.lone_deaths > 0
    )


def _key(suspect: Suspect) -> _Key:
    """Who died alone comes last, so that deaths from outside spread over all."""
    return suspect.lone_deaths, suspect.deaths, suspect.turn
