"""Who gets the next slot: people in turn, however many questions each of them has."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from bot.domain.errors import QueueFull
from bot.turns.slots import Slots
from tests.support.clock import settle


class Hall:
    """Slots, those who hold one, and the order in which they got it."""

    def __init__(self, running: int, queued: int = 1_000) -> None:
        self.slots = Slots(running=running, queued=queued)
        self.begun: list[str] = []
        self.refused: Counter[tuple[str, bool]] = Counter()
        self.gates: dict[str, list[asyncio.Event]] = {}

    def ask(self, person: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._work(person))

    async def _work(self, person: str) -> None:
        try:
            async with self.slots.take(person, on_wait=lambda: None):
                self.begun.append(person)
                gate = asyncio.Event()
                self.gates.setdefault(person, []).append(gate)
                await gate.wait()
        except QueueFull as error:
            self.refused[person, error.own] += 1

    async def end(self, person: str) -> None:
        """One answer of theirs ends."""
        self.gates[person].pop(0).set()
        await settle()


async def test_a_flood_of_one_person_does_not_delay_another() -> None:
    """Two slots, three hundred questions: the other's first begins at once."""
    hall = Hall(2)
    tasks = [hall.ask("ann") for _ in range(300)]
    await settle()
    assert hall.begun == ["ann"]
    tasks.append(hall.ask("ben"))
    await settle()
    assert hall.begun == ["ann", "ben"]
    tasks += [hall.ask("ben"), hall.ask("cem")]
    await settle()
    await hall.end("ann")  # cem has none yet
    await hall.end("cem")
    assert hall.begun == ["ann", "ben", "cem", "ann"]
    for task in tasks:
        task.cancel()


async def test_people_take_turns_at_a_single_slot() -> None:
    hall = Hall(1)
    tasks = [hall.ask(person) for person in "aaaaabbc"]
    for _ in range(7):
        await settle()
        await hall.end(hall.begun[-1])
    assert "".join(hall.begun) == "abcabaaa"  # who waits first, then each in turn
    for task in tasks:
        task.cancel()


async def test_one_persons_queue_leaves_a_place_for_others() -> None:
    """The flood is refused with its own sentence before the queue is full."""
    hall = Hall(2, queued=50)
    tasks = [hall.ask("ann") for _ in range(300)]
    tasks += [hall.ask("ben") for _ in range(300)]
    await settle()
    assert hall.refused["ann", True] == 300 - 1 - 25
    assert hall.refused["ben", True] == 300 - 1 - 13
    tasks += [hall.ask(f"person {number}") for number in range(30)]
    await settle()
    assert hall.refused["person 0", True] + hall.refused["person 0", False] == 0
    assert not any(person.startswith("person") for person, own in hall.refused if own)
    for task in tasks:
        task.cancel()


@pytest.mark.parametrize("seed", range(20))
async def test_slots_are_neither_lost_nor_given_twice(seed: int) -> None:
    """Whatever is cancelled when, as many run as may, and everybody who waits comes to it."""
    dice = random.Random(seed)
    running = dice.choice((1, 2, 5))
    hall = Hall(running, queued=dice.choice((3, 1_000)))
    tasks: list[asyncio.Task[None]] = []
    for _ in range(200):
        if dice.random() < 0.5 or not tasks:
            tasks.append(hall.ask(dice.choice("abcd")))
        elif dice.random() < 0.5:
            dice.choice(tasks).cancel()
        else:
            held = [gate for gates in hall.gates.values() for gate in gates if not gate.is_set()]
            if held:
                dice.choice(held).set()
        if dice.random() < 0.7:
            await settle()
        assert 0 <= hall.slots._free <= running
    while any(not task.done() for task in tasks):
        for gates in hall.gates.values():
            for gate in gates:
                gate.set()
        await settle()
    assert (hall.slots._free, hall.slots._waiting, hall.slots._lines) == (running, 0, {})
    assert not +hall.slots._held
    assert hall.slots._served == {}
