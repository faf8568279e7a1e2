"""What ends the process is found, and nothing else is given up: processes die on a real database.

Time runs two hundred times as fast; a death cancels everything and leaves the store as it is.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.domain.errors import LostOwnership, StoreUnavailable
from bot.domain.turns import LONE_DEATHS, Claim, Death, Outcome, TurnResult
from bot.store import process
from bot.store.sqlite import SqliteStore
from bot.turns.scheduler import Interrupt, Scheduler
from tests.support.store_kit import key, look, said

SCALE = 200.0
OUTCOMES = "SELECT outcome, count(*) FROM turns GROUP BY outcome ORDER BY outcome"


class FastClock:
    """The Clock port, `SCALE` times as fast."""

    def time(self) -> float:
        return time.monotonic() * SCALE

    monotonic = time

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SCALE)


CLOCK = FastClock()


@dataclass
class Machine:
    """Runs one process after the other. `poison` maps threads to the seconds until they kill;
    every answer takes `seconds`.
    """

    path: Path
    poison: dict[str, float] = field(default_factory=dict)
    seconds: float = 3.0
    deaths: int = 0
    alone: list[str] = field(default_factory=list)
    most_beside: int = 0
    _running: set[str] = field(default_factory=set)
    _dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, store: SqliteStore, threads: Iterable[str]) -> list[int]:
        """New questions, one in each thread."""
        asked = []
        for thread in threads:
            number = sum(ord(letter) * 131**place for place, letter in enumerate(thread))
            accepted = await store.accept(said(number, where=key(thread)))
            assert accepted.conversation is not None
            asked.append(accepted.conversation)
        return asked

    @asynccontextmanager
    async def life(self) -> AsyncIterator[tuple[SqliteStore, Scheduler]]:
        """A process that dies at the end, unless it has nothing left to do."""
        self._dead.clear()
        self._running.clear()
        async with SqliteStore.open(self.path, clock=CLOCK) as store:
            scheduler = Scheduler(
                store=store,
                work=lambda claim, interrupt: self._work(store, claim, interrupt),
                clock=CLOCK,
                suspects=await store.suspects(),
            )
            for conversation in await store.unfinished("sim"):
                scheduler.wake(conversation)
            try:
                yield store, scheduler
            finally:
                if scheduler.busy:
                    store.leave = _nothing  # type: ignore[method-assign]
                    self.deaths += 1
                    await scheduler.drain(0)

    async def until_dead_or_done(self, scheduler: Scheduler) -> None:
        """Let it run until it kills itself, or nothing is left."""
        while scheduler.busy and not self._dead.is_set():
            await asyncio.sleep(0.001)

    async def until_running(self, count: int) -> None:
        """Wait until so many turns are being worked on."""
        while len(self._running) < count:
            await asyncio.sleep(0.001)

    async def _work(self, store: SqliteStore, claim: Claim, _interrupt: Interrupt) -> None:
        thread = claim.conversation.key.thread
        given_up = claim.lone_deaths >= LONE_DEATHS
        self._running.add(thread)
        if claim.deaths and not given_up:
            self.most_beside = max(self.most_beside, len(self._running))
        try:
            if claim.conclusion is None:
                if not given_up:
                    await self._answer(thread)
                outcome = Outcome.FAILED if given_up else Outcome.ANSWERED
                await store.conclude(claim.fence, TurnResult(outcome, "x", "x"))
            await store.finish(claim.fence)
        except LostOwnership:
            pass
        finally:
            self._running.discard(thread)

    async def _answer(self, thread: str) -> None:
        fuse = self.poison.get(thread)
        if fuse is None or fuse > self.seconds:
            await CLOCK.sleep(self.seconds)
        else:
            await CLOCK.sleep(fuse)
            if len(self._running) == 1:
                self.alone.append(thread)
            self._dead.set()
            await asyncio.Event().wait()

    async def lives_until_done(self, most: int) -> None:
        """Start it again after each death; at most so many deaths."""
        while True:
            async with self.life() as (_, scheduler):
                await self.until_dead_or_done(scheduler)
                if not scheduler.busy:
                    return
            assert self.deaths <= most, look(self.path, OUTCOMES)


async def _nothing() -> None:
    """A process that is killed says nothing."""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "threadline.db")


def threads(count: int) -> list[str]:
    return [f"t{number}" for number in range(count)]


async def start(machine: Machine, names: Iterable[str]) -> None:
    """Have the questions in the database, and no process."""
    async with SqliteStore.open(machine.path, clock=CLOCK) as store:
        await machine.ask(store, names)


async def test_a_question_that_kills_the_process_is_given_up_alone_and_all_others_answered(
    machine: Machine,
) -> None:
    machine.poison = {"t7": 0.5}
    await start(machine, threads(21))
    await machine.lives_until_done(most=10)  # seven where the machine keeps time
    assert look(machine.path, OUTCOMES) == [("answered", 20), ("failed", 1)]
    assert set(machine.alone) == {"t7"}
    assert machine.most_beside == 21


async def test_one_that_asks_alone_is_given_up_after_four_deaths(machine: Machine) -> None:
    """And a person who asks for it again costs one more, not four."""
    machine.poison = {"t0": 0.5}
    await start(machine, threads(1))
    await machine.lives_until_done(most=4)
    assert (machine.deaths, look(machine.path, OUTCOMES)) == (4, [("failed", 1)])
    async with machine.life() as (store, scheduler):
        await store.reopen(key("t0"), None)
        scheduler.wake(1)
        await machine.until_dead_or_done(scheduler)
    await machine.lives_until_done(most=5)
    assert (machine.deaths, look(machine.path, OUTCOMES)) == (5, [("failed", 1)])


async def test_several_that_kill_are_all_found(machine: Machine) -> None:
    """At different times after their start, one of them later than an examination lasts."""
    machine.poison = {"t1": 0.1, "t4": 2.0, "t6": 45.0}
    machine.seconds = 50.0
    await start(machine, threads(9))
    await machine.lives_until_done(most=30)
    assert look(machine.path, OUTCOMES) == [("answered", 6), ("failed", 3)]


async def test_new_questions_are_answered_while_one_that_kills_is_looked_for(
    machine: Machine,
) -> None:
    """Three more come with each start; each costs itself at most a few more attempts."""
    machine.poison = {"t2": 1.0}
    await start(machine, threads(5))
    done = False
    while not done:
        async with machine.life() as (store, scheduler):
            if machine.deaths < 8:
                fresh = [f"n{machine.deaths}-{number}" for number in range(3)]
                for conversation in await machine.ask(store, fresh):
                    scheduler.wake(conversation)
            await machine.until_dead_or_done(scheduler)
            done = not scheduler.busy
        assert machine.deaths <= 16
    ((_, answered), failed) = look(machine.path, OUTCOMES)
    assert failed == ("failed", 1)
    assert answered == len(look(machine.path, "SELECT 1 FROM turns")) - 1


@pytest.mark.parametrize("questions", [1, 12])
async def test_kills_from_outside_give_nothing_up(machine: Machine, questions: int) -> None:
    """Six within fifteen seconds, and once more six."""
    await start(machine, threads(questions))
    for _ in range(12):
        async with machine.life():
            await CLOCK.sleep(2.4)
    await machine.lives_until_done(most=12)
    assert look(machine.path, OUTCOMES) == [("answered", questions)]


async def test_three_deaths_cost_no_time(machine: Machine) -> None:
    """The turns of a process that was killed run side by side, as ever."""
    await start(machine, threads(8))
    for _ in range(3):
        async with machine.life():
            await CLOCK.sleep(1.0)
    machine.most_beside = 0
    await machine.lives_until_done(most=3)
    assert machine.most_beside == 8


async def test_a_process_that_was_told_to_end_did_not_die(machine: Machine) -> None:
    """However often it is, and though it is killed because it takes its time."""
    await start(machine, threads(2))
    for _ in range(9):
        async with machine.life() as (store, _):
            await CLOCK.sleep(1.0)
            await store.leave()
    assert look(machine.path, "SELECT DISTINCT deaths, failures, held FROM turns") == [(0, 0, 0)]
    await machine.lives_until_done(most=9)
    assert look(machine.path, OUTCOMES) == [("answered", 2)]


async def test_who_is_held_back_does_not_hold_up_a_drain(machine: Machine) -> None:
    """Of two that are to be examined alone one waits: that is no work to be waited for."""
    machine.seconds = 60.0
    await start(machine, threads(2))
    for _ in range(5):
        async with machine.life():
            await machine.until_running(2)
    async with machine.life() as (_, scheduler):
        await machine.until_running(1)
        assert scheduler.busy == 2
        assert await scheduler.drain(0) == 1


async def test_deaths_count_though_the_disk_was_full_at_every_start(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are no failures of the turns, which would be given up after four."""
    begin, full = process.begin, True

    def begin_when_there_is_room(db: sqlite3.Connection) -> Death | None:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        return begin(db)

    monkeypatch.setattr(process, "begin", begin_when_there_is_room)
    await start(machine, threads(1))
    for number in range(5):
        full = True
        async with SqliteStore.open(machine.path, clock=CLOCK) as store:
            with pytest.raises(StoreUnavailable):
                await store.claim(1)
            full = False
            claim, _ = await asyncio.gather(store.claim(1), store.claim(2))
            assert claim is not None
            assert (claim.failures, claim.deaths) == (0, number)
            store.leave = _nothing  # type: ignore[method-assign]
            await store.hold(claim.fence)
