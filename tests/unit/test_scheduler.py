"""Turns run one at a time in a conversation and concurrently across conversations."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from bot.common.clock import SystemClock
from bot.domain.conversations import Conversation, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.turns import Claim, Fence, Outcome
from bot.turns.scheduler import Interrupt, Scheduler


class FakeStore:
    """The store as the scheduler sees it: waiting turns by conversation."""

    def __init__(self) -> None:
        self.turns: dict[int, list[int]] = defaultdict(list)
        self.failures = 0
        self.bugs = 0

    async def claim(self, conversation: int) -> Claim | None:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("locked")
        if self.bugs:
            self.bugs -= 1
            raise LookupError("a row that this release cannot read")
        if not self.turns[conversation]:
            return None
        turn = self.turns[conversation].pop(0)
        key = ConversationKey("sim", "w", "c", str(conversation))
        return Claim(
            fence=Fence(turn, 1),
            conversation=Conversation(conversation, key, "", None, 1, 0.0, 0.0),
            questions=(),
            reply_index=0,
        )


class FastClock(SystemClock):
    """A clock whose sleeps end immediately."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Work:
    """Turns that run until `gate` opens; counts those that run concurrently."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ended: list[int] = []
        self.gate = asyncio.Event()
        self.running: dict[int, int] = defaultdict(int)
        self.most_at_once = 0
        self.fail_once: set[int] = set()

    async def __call__(self, claim: Claim, interrupt: Interrupt) -> None:
        turn, conversation = claim.fence.turn, claim.conversation.id
        self.started.append(turn)
        self.running[conversation] += 1
        assert self.running[conversation] == 1, "two turns of one conversation run concurrently"
        self.most_at_once = max(self.most_at_once, sum(self.running.values()))
        try:
            if turn in self.fail_once:
                self.fail_once.discard(turn)
                raise RuntimeError("a bug")
            await interrupt.guard(self.gate.wait())
            self.ended.append(turn)
        finally:
            self.running[conversation] -= 1


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def scheduler(store: FakeStore, work: Work) -> Scheduler:
    return Scheduler(store=store, work=work, clock=FastClock())  # type: ignore[arg-type]


async def until(condition: object) -> None:
    """Let tasks run until `condition()` is true."""
    async with asyncio.timeout(60):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0)


async def test_turns_of_a_conversation_run_one_after_another(
    scheduler: Scheduler, store: FakeStore, work: Work
) -> None:
    store.turns[1] = [10, 11, 12]
    work.gate.set()
    for _ in range(5):
        scheduler.wake(1)
    await until(lambda: scheduler.busy == 0)
    assert work.ended == [10, 11, 12]


async def test_conversations_do_not_wait_for_each_other(
    scheduler: Scheduler, store: FakeStore, work: Work
) -> None:
    for conversation in range(300):
        store.turns[conversation] = [conversation]
        scheduler.wake(conversation)
    await until(lambda: len(work.started) == 300)
    assert work.most_at_once == 300
    work.gate.set()
    await until(lambda: scheduler.busy == 0)


async def test_a_wake_at_the_last_moment_is_not_lost(
    scheduler: Scheduler, store: FakeStore, work: Work
) -> None:
    """A turn that is stored while its task finds none still runs."""
    work.gate.set()
    scheduler.wake(1)  # finds no turn …
    await asyncio.sleep(0)
    store.turns[1] = [10]
    scheduler.wake(1)  # … but is woken again before its task ends
    await until(lambda: scheduler.busy == 0)
    assert work.ended == [10]


async def test_an_idle_conversation_uses_no_memory(
    scheduler: Scheduler, store: FakeStore, work: Work
) -> None:
    work.gate.set()
    store.turns[1] = [10]
    scheduler.wake(1)
    await until(lambda: work.ended == [10])
    await until(lambda: scheduler.busy == 0)
    assert not scheduler._woken
    assert not scheduler._interrupts


async def test_interrupt_ends_only_the_running_turn(
    scheduler: Scheduler, store: FakeStore, work: Work
) -> None:
    store.turns[1], store.turns[2] = [10], [20]
    scheduler.wake(1)
    scheduler.wake(2)
    await until(lambda: len(work.started) == 2)
    assert scheduler.interrupt(1, Outcome.STOPPED)
    await until(lambda: scheduler.busy == 1)
    assert work.ended == [10]
    assert not scheduler.interrupt(1, Outcome.STOPPED)
    work.gate.set()
    await until(lambda: scheduler.busy == 0)


async def test_a_bug_in_a_turn_does_not_stop_the_conversation(
    scheduler: Scheduler, store: FakeStore, work: Work
) -> None:
    work.gate.set()
    work.fail_once = {10}
    store.turns[1] = [10, 11]
    scheduler.wake(1)
    await until(lambda: scheduler.busy == 0)
    assert work.ended == [11]


async def test_a_bug_in_a_claim_does_not_stop_the_conversation(
    scheduler: Scheduler, store: FakeStore, work: Work
) -> None:
    """No other message may follow that would wake the conversation."""
    work.gate.set()
    store.bugs = 3
    store.turns[1] = [10]
    scheduler.wake(1)
    await until(lambda: scheduler.busy == 0)
    assert work.ended == [10]


async def test_failures_pause_longer_and_longer(store: FakeStore, work: Work) -> None:
    pauses: list[float] = []

    class RecordingClock(FastClock):
        async def sleep(self, seconds: float) -> None:
            pauses.append(seconds)
            await asyncio.sleep(0)

    scheduler = Scheduler(store=store, work=work, clock=RecordingClock())  # type: ignore[arg-type]
    work.gate.set()
    store.bugs = 8
    store.turns[1] = [10]
    scheduler.wake(1)
    await until(lambda: scheduler.busy == 0)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_a_short_database_failure_loses_no_turn(
    scheduler: Scheduler, store: FakeStore, work: Work
) -> None:
    work.gate.set()
    store.failures = 3
    store.turns[1] = [10]
    scheduler.wake(1)
    await until(lambda: scheduler.busy == 0)
    assert work.ended == [10]


async def test_drain_lets_running_turns_finish_and_starts_no_others(
    scheduler: Scheduler, store: FakeStore, work: Work
) -> None:
    store.turns[1] = [10, 11]
    scheduler.wake(1)
    await until(lambda: work.started == [10])
    draining = asyncio.create_task(scheduler.drain(5))
    await asyncio.sleep(0)
    store.turns[2] = [20]
    scheduler.wake(2)
    work.gate.set()
    assert await draining == 0
    assert work.ended == [10]
    assert store.turns == {1: [11], 2: [20]}


async def test_drain_cancels_turns_that_take_too_long(
    scheduler: Scheduler, store: FakeStore, work: Work
) -> None:
    """The turn has no result: it stays unfinished in the store."""
    store.turns[1] = [10]
    scheduler.wake(1)
    await until(lambda: work.started == [10])
    assert await scheduler.drain(0.01) == 1
    assert work.ended == []
    assert scheduler.busy == 0


async def test_an_interrupt_before_the_work_starts_keeps_it_from_starting() -> None:
    interrupt = Interrupt()
    interrupt(Outcome.RESET)
    interrupt(Outcome.STOPPED)
    started = False

    async def work() -> bool:
        nonlocal started
        started = True
        return True

    assert await interrupt.guard(work()) is None
    assert not started
    assert interrupt.reason is Outcome.RESET


async def test_cancelling_the_turn_is_not_mistaken_for_an_interrupt() -> None:
    interrupt = Interrupt()
    task = asyncio.create_task(interrupt.guard(asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
