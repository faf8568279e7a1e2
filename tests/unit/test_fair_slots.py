"""Slots are shared fairly between people, however many questions each person asks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from bot.common.fair_slots import FairSlots, SlotOwner, WaitReason
from bot.domain.errors import QueueFull
from tests.support.clock import settle


class Queue:
    """Turns that hold or wait for slots, and the order in which people got them.

    A person is `name` or `workspace/name`; `limits` are those of `SlotOwner`.
    """

    def __init__(self, running: int, queued: int = 1_000, **limits: int) -> None:
        self.slots = FairSlots(running=running, queued=queued)
        self.limits = limits
        self.noted: list[WaitReason] = []
        self.started: list[str] = []
        self.refused: Counter[tuple[str, bool]] = Counter()
        self.gates: dict[str, list[asyncio.Event]] = {}

    def ask(self, person: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._work(person))

    async def _work(self, person: str) -> None:
        workspace, _, name = person.rpartition("/")
        owner = SlotOwner(workspace, name, "channel", **self.limits)
        try:
            async with self.slots.take(owner, on_wait=self.noted.append):
                self.started.append(person)
                gate = asyncio.Event()
                self.gates.setdefault(person, []).append(gate)
                await gate.wait()
        except QueueFull as error:
            self.refused[person, error.own] += 1

    async def end(self, person: str) -> None:
        """End one of the person's turns."""
        self.gates[person].pop(0).set()
        await settle()


async def test_a_flood_of_one_person_does_not_delay_another() -> None:
    """Two slots and three hundred questions: the other person's first turn starts immediately."""
    queue = Queue(2)
    tasks = [queue.ask("ann") for _ in range(300)]
    await settle()
    assert queue.started == ["ann"]
    tasks.append(queue.ask("ben"))
    await settle()
    assert queue.started == ["ann", "ben"]
    tasks += [queue.ask("ben"), queue.ask("cem")]
    await settle()
    await queue.end("ann")  # cem holds none
    await queue.end("cem")
    assert queue.started == ["ann", "ben", "cem", "ann"]
    for task in tasks:
        task.cancel()


async def test_people_take_turns_at_a_single_slot() -> None:
    queue = Queue(1)
    tasks = [queue.ask(person) for person in "aaaaabbc"]
    for _ in range(7):
        await settle()
        await queue.end(queue.started[-1])
    assert "".join(queue.started) == "abcabaaa"  # the longest waiting first, then in turn
    for task in tasks:
        task.cancel()


async def test_one_person_cannot_fill_the_queue() -> None:
    """A flood is refused, with a specific sentence, before the queue is full."""
    queue = Queue(2, queued=50)
    tasks = [queue.ask("ann") for _ in range(300)]
    tasks += [queue.ask("ben") for _ in range(300)]
    await settle()
    assert queue.refused["ann", True] == 300 - 1 - 25
    assert queue.refused["ben", True] == 300 - 1 - 13
    tasks += [queue.ask(f"person {number}") for number in range(30)]
    await settle()
    assert queue.refused["person 0", True] + queue.refused["person 0", False] == 0
    assert not any(person.startswith("person") for person, own in queue.refused if own)
    for task in tasks:
        task.cancel()


async def test_a_burst_of_one_workspace_does_not_delay_another() -> None:
    """The last slot is kept for a workspace without one, the second to last for a person without
    one."""
    queue = Queue(4)
    tasks = [queue.ask("b/ben")]
    await settle()
    await queue.end("b/ben")
    tasks += [queue.ask(f"a/{number}") for number in range(50)]
    tasks += [queue.ask("a/0")]
    await settle()
    assert queue.started[1:] == ["a/0", "a/1", "a/2"]
    tasks += [queue.ask("b/ben"), queue.ask("b/ben")]
    await settle()
    assert queue.started[4:] == ["b/ben"]
    await queue.end("a/0")  # b has fewer than a, and both have a person with none or one
    assert queue.started[5:] == []  # the last slot is for a third workspace
    await queue.end("a/1")
    assert queue.started[5:] == ["a/3"]  # ben holds one, and 3 holds none
    for task in tasks:
        task.cancel()


async def test_one_workspace_cannot_fill_the_queue() -> None:
    queue = Queue(2, queued=80)
    tasks = [queue.ask("b/ben"), *(queue.ask(f"a/{number}") for number in range(300))]
    await settle()
    assert sum(queue.refused.values()) == 300 - 1 - 70
    tasks += [queue.ask(f"b/{number}") for number in range(5)]
    await settle()
    assert not any(person.startswith("b/") for person, _ in queue.refused)
    for task in tasks:
        task.cancel()


async def test_a_person_or_a_channel_has_no_more_slots_than_the_rules_allow() -> None:
    """A person who waits because of a limit holds back no one else, and gets the next slot within
    it."""
    queue = Queue(9, most=2, channel_most=3)
    tasks = [queue.ask(person) for person in ("ann",) * 5 + ("ben",) * 2]
    await settle()
    assert queue.started == ["ann", "ann", "ben"]
    other = asyncio.create_task(_take_elsewhere(queue))
    await other
    await queue.end("ben")
    assert queue.started[3:] == ["ben"]
    await queue.end("ann")
    assert queue.started[4:] == ["ann"]
    for task in tasks:
        task.cancel()


async def _take_elsewhere(queue: Queue) -> None:
    async with queue.slots.take(SlotOwner("", "cem", "elsewhere")):
        pass


@pytest.mark.parametrize("seed", range(20))
async def test_slots_are_neither_lost_nor_granted_twice(seed: int) -> None:
    """Random cancellations leave no slot taken and no waiter behind."""
    dice = random.Random(seed)
    running = dice.choice((1, 2, 5))
    queue = Queue(running, queued=dice.choice((3, 1_000)), most=dice.choice((1, 2, 9)))
    tasks: list[asyncio.Task[None]] = []
    for _ in range(200):
        if dice.random() < 0.5 or not tasks:
            tasks.append(queue.ask(dice.choice(("a", "b", "w/a", "w/c"))))
        elif dice.random() < 0.5:
            dice.choice(tasks).cancel()
        else:
            held = [gate for gates in queue.gates.values() for gate in gates if not gate.is_set()]
            if held:
                dice.choice(held).set()
        if dice.random() < 0.7:
            await settle()
        assert 0 <= queue.slots._free <= running
    while any(not task.done() for task in tasks):
        for gates in queue.gates.values():
            for gate in gates:
                gate.set()
        await settle()
    assert (queue.slots._free, queue.slots._length, queue.slots._waiters) == (running, 0, {})
    assert not queue.slots._held and not queue.slots._waiting
    assert queue.slots._last_grant == {}
