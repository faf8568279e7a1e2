"""Processes die on a real database: the turn that kills them is found, and no other is given up.

Time runs two hundred times as fast. A death cancels all tasks and leaves the database as it is.
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
from bot.domain.turns import MAX_LONE_DEATHS, Claim, Death, Outcome, TurnResult
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
    """Runs one process after another.

    `poison` maps threads to the seconds after which their turn kills the process; every other
    answer takes `seconds`.
    """

    path: Path
    poison: dict[str, float] = field(default_factory=dict)
    seconds: float = 3.0
    deaths: int = 0
    alone: list[str] = field(default_factory=list)
    _running: set[str] = field(default_factory=set)
    _dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, store: SqliteStore, threads: Iterable[str]) -> list[int]:
        """Ask one question in each thread; returns the conversations."""
        asked = []
        for thread in threads:
            number = sum(ord(letter) * 131**place for place, letter in enumerate(thread))
            accepted = await store.accept(said(number, where=key(thread)))
            assert accepted.conversation is not None
            asked.append(accepted.conversation)
        return asked

    @asynccontextmanager
    async def life(self) -> AsyncIterator[tuple[SqliteStore, Scheduler]]:
        """A process that dies at the end of the block if turns are left."""
        self._dead.clear()
        self._running.clear()
        async with SqliteStore.open(self.path, clock=CLOCK) as store:
            scheduler = Scheduler(
                store=store,
                work=lambda claim, interrupt: self._work(store, claim, interrupt),
                clock=CLOCK,
                suspects=await store.suspects(),
            )
            for conversation in await store.list_unfinished("sim"):
                scheduler.wake(conversation)
            try:
                yield store, scheduler
            finally:
                if scheduler.busy:
                    store.record_shutdown = _do_nothing  # type: ignore[method-assign]
                    self.deaths += 1
                    await scheduler.drain(0)

    async def until_dead_or_done(self, scheduler: Scheduler) -> None:
        """Wait until a turn kills the process, or none is left."""
        while scheduler.busy and not self._dead.is_set():
            await asyncio.sleep(0.001)

    async def until_running(self, count: int) -> None:
        """Wait until `count` turns are running."""
        while len(self._running) < count:
            await asyncio.sleep(0.001)

    async def _work(self, store: SqliteStore, claim: Claim, _interrupt: Interrupt) -> None:
        thread = claim.conversation.key.thread
        given_up = claim.lone_deaths >= MAX_LONE_DEATHS
        self._running.add(thread)
        try:
            if claim.result is None:
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

    async def run_until_done(self, most: int) -> None:
        """Restart the process after each death, at most `most` times."""
        while True:
            async with self.life() as (_, scheduler):
                await self.until_dead_or_done(scheduler)
                if not scheduler.busy:
                    return
            assert self.deaths <= most, look(self.path, OUTCOMES)


async def _do_nothing() -> None:
    """Do nothing, because a killed process does not call `Store.leave`."""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "threadline.db")


def threads(count: int) -> list[str]:
    return [f"t{number}" for number in range(count)]


async def start(machine: Machine, names: Iterable[str]) -> None:
    """Put questions into the database, with no process running."""
    async with SqliteStore.open(machine.path, clock=CLOCK) as store:
        await machine.ask(store, names)


async def test_only_the_question_that_kills_the_process_is_given_up(
    machine: Machine,
) -> None:
    machine.poison = {"t7": 0.5}
    await start(machine, threads(21))
    await machine.run_until_done(most=11)  # eight on a machine that is not overloaded
    assert look(machine.path, OUTCOMES) == [("answered", 20), ("failed", 1)]
    assert set(machine.alone) == {"t7"}


async def test_a_turn_with_nothing_else_running_is_given_up_after_five_deaths(
    machine: Machine,
) -> None:
    """Retrying it costs one more death, not five."""
    machine.poison = {"t0": 0.5}
    await start(machine, threads(1))
    await machine.run_until_done(most=5)
    assert (machine.deaths, look(machine.path, OUTCOMES)) == (5, [("failed", 1)])
    async with machine.life() as (store, scheduler):
        await store.reopen(key("t0"), None)
        scheduler.wake(1)
        await machine.until_dead_or_done(scheduler)
    await machine.run_until_done(most=6)
    assert (machine.deaths, look(machine.path, OUTCOMES)) == (6, [("failed", 1)])


async def test_several_killing_turns_are_all_found(machine: Machine) -> None:
    """They kill at different times after their start, one after its isolation has ended."""
    machine.poison = {"t1": 0.1, "t4": 2.0, "t6": 45.0}
    machine.seconds = 50.0
    await start(machine, threads(9))
    await machine.run_until_done(most=30)
    assert look(machine.path, OUTCOMES) == [("answered", 6), ("failed", 3)]


async def test_new_questions_are_answered_during_the_search_for_a_killing_turn(
    machine: Machine,
) -> None:
    """Three questions arrive in each process, and each needs only a few more attempts."""
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
async def test_no_turn_is_given_up_when_something_outside_kills_the_process(
    machine: Machine, questions: int
) -> None:
    """The process is killed twelve times within half a minute."""
    await start(machine, threads(questions))
    for _ in range(12):
        async with machine.life():
            await CLOCK.sleep(2.4)
    await machine.run_until_done(most=12)
    assert look(machine.path, OUTCOMES) == [("answered", questions)]


async def test_turns_run_concurrently_after_three_deaths(machine: Machine) -> None:
    await start(machine, threads(8))
    machine.seconds = 100_000.0  # no answer ends before all turns run
    for _ in range(4):
        async with machine.life():
            await machine.until_running(8)


async def test_a_deliberate_stop_counts_no_death(machine: Machine) -> None:
    """The stop may repeat, and the process may be killed because draining takes too long."""
    await start(machine, threads(2))
    for _ in range(9):
        async with machine.life() as (store, _):
            await CLOCK.sleep(1.0)
            await store.record_shutdown()
    assert look(machine.path, "SELECT DISTINCT deaths, failures, held FROM turns") == [(0, 0, 0)]
    await machine.run_until_done(most=9)
    assert look(machine.path, OUTCOMES) == [("answered", 2)]


async def test_a_waiting_suspect_does_not_delay_a_drain(machine: Machine) -> None:
    """Two turns must be isolated; the one that waits does no work that a drain would wait for."""
    machine.seconds = 60.0
    await start(machine, threads(2))
    for _ in range(5):
        async with machine.life():
            await machine.until_running(2)
    async with machine.life() as (_, scheduler):
        await machine.until_running(1)
        assert scheduler.busy == 2
        assert await scheduler.drain(0) == 1


async def test_deaths_count_even_if_the_disk_is_full_at_every_start(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deaths must not count as failures, four of which would make a turn be given up."""
    begin, full = process.record_start, True

    def begin_when_there_is_room(db: sqlite3.Connection) -> Death | None:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        return begin(db)

    monkeypatch.setattr(process, "record_start", begin_when_there_is_room)
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
            store.record_shutdown = _do_nothing  # type: ignore[method-assign]
            await store.hold(claim.fence)
