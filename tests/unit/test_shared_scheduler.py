"""Two schedulers of one bot: a request to one is carried out by the one that runs the turn."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from bot.common.local_cluster import LocalCluster
from bot.domain.cluster import Look, Signal, SignalKind
from bot.domain.conversations import ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.turns import Fence, Outcome
from bot.ports.cluster import LeaseWatcher
from bot.turns import reaper
from bot.turns.reaper import AT_ONCE, Reaper
from bot.turns.scheduler import Interrupt
from bot.turns.shared_scheduler import SharedScheduler
from tests.unit.test_scheduler import FakeStore, FastClock, Work, until

AT = 12.5  # time of each look
CHANNEL = ConversationKey("sim", "w", "c", "")
Handler = Callable[[Signal], Awaitable[None]]


class Lease:
    """A lease whose state the test sets."""

    can_send, forbids_sending = True, False

    def __init__(self, watcher: LeaseWatcher) -> None:
        self.watcher, self.released = watcher, False

    async def wait(self) -> None:
        """Always allow sending."""

    def release(self) -> None:
        self.released = True


class LinkedCluster(LocalCluster):
    """A process whose signals reach the `others` immediately."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[LinkedCluster] = []
        self.handlers: defaultdict[SignalKind, list[Handler]] = defaultdict(list)
        self.sent: list[Signal] = []
        self.leases: dict[Fence, Lease] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def send(self, signal: Signal) -> None:
        self.sent.append(signal)
        for other in self.others:
            for handler in other.handlers[signal.kind]:
                self.tasks.add(asyncio.ensure_future(handler(signal)))  # type: ignore[arg-type]

    def listen(self, kind: SignalKind, handler: Handler) -> None:
        self.handlers[kind].append(handler)

    def hold(self, fence: Fence, watcher: LeaseWatcher, *, since: float) -> Lease:  # type: ignore[override]
        self.leases[fence] = Lease(watcher)
        return self.leases[fence]


@dataclass
class Process:
    """One of two processes; both see the same store."""

    store: FakeStore
    work: Work = field(default_factory=Work)
    cluster: LinkedCluster = field(default_factory=LinkedCluster)
    scheduler: SharedScheduler = field(init=False)

    def __post_init__(self) -> None:
        self.scheduler = SharedScheduler(
            store=self.store,  # type: ignore[arg-type]
            work=self.work,
            clock=FastClock(),
            cluster=self.cluster,
        )


@pytest.fixture
def processes() -> tuple[Process, Process]:
    store = FakeStore()
    ann, bob = Process(store), Process(store)
    ann.cluster.others, bob.cluster.others = [bob.cluster], [ann.cluster]
    return ann, bob


async def running_at(process: Process) -> None:
    """Let turn 10 of conversation 1 run in that process."""
    process.store.turns[1] = [10]
    process.scheduler.wake(1)
    await until(lambda: process.work.started == [10])


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.interrupt(1, Outcome.STOPPED, 10),
        lambda s: s.interrupt(1, Outcome.RESET),
        lambda s: s.interrupt_at(ConversationKey("sim", "w", "c", "1"), Outcome.STOPPED, 10),
        lambda s: s.interrupt_within(CHANNEL, Outcome.GONE),
    ],
    ids=["stop", "reset", "stop by place", "gone"],
)
async def test_an_interrupt_ends_the_turn_wherever_it_runs(
    processes: tuple[Process, Process], ask: Callable[[SharedScheduler], object]
) -> None:
    ann, bob = processes
    await running_at(ann)
    assert not ask(bob.scheduler)
    await until(lambda: ann.scheduler.busy == 0)
    assert ann.work.ended == [10]


@pytest.mark.parametrize("turn", [9, 11])
async def test_an_interrupt_of_another_turn_ends_nothing(
    processes: tuple[Process, Process], turn: int
) -> None:
    ann, bob = processes
    await running_at(ann)
    bob.scheduler.interrupt(1, Outcome.STOPPED, turn)
    bob.scheduler.interrupt(2, Outcome.STOPPED)
    await asyncio.gather(*bob.cluster.tasks)
    assert ann.scheduler.busy == 1
    ann.work.gate.set()


async def test_a_turn_that_runs_here_needs_no_signal(processes: tuple[Process, Process]) -> None:
    ann, _ = processes
    await running_at(ann)
    assert ann.scheduler.interrupt(1, Outcome.STOPPED)
    assert ann.cluster.sent == []


async def test_a_reopened_turn_restarts_where_it_runs(processes: tuple[Process, Process]) -> None:
    ann, bob = processes
    await running_at(ann)
    bob.scheduler._store = FakeStore()  # type: ignore[assignment]  # it is not free for a claim
    ann.store.turns[1] = [10]
    bob.scheduler.restart(1, 10)
    await until(lambda: ann.work.started == [10, 10])
    assert bob.work.started == []
    ann.work.gate.set()


async def test_a_process_that_drains_leaves_its_questions_to_others(
    processes: tuple[Process, Process],
) -> None:
    """It leaves questions that arrive while it drains, and those behind the turn that it
    completes."""
    ann, bob = processes
    await running_at(ann)
    draining = asyncio.create_task(ann.scheduler.drain(30))
    await asyncio.sleep(0)
    ann.store.turns[2] = [20]
    ann.scheduler.wake(2)
    await until(lambda: bob.work.started == [20])
    ann.store.turns[1] = [11]
    ann.scheduler.wake(1)
    ann.work.gate.set()
    bob.work.gate.set()
    assert await draining == 0
    await until(lambda: bob.work.started == [20, 11])
    assert ann.work.started == [10]


# ── lost leases ───────────────────────────────────────────────────────────────────────────────
async def test_a_lost_turn_ends_without_a_result_and_its_conversation_continues(
    processes: tuple[Process, Process],
) -> None:
    ann, _ = processes
    await running_at(ann)
    lease = ann.cluster.leases[Fence(10, 1)]
    ann.store.turns[1] = [11]
    lease.watcher.lose()
    await until(lambda: ann.work.started == [10, 11])
    assert ann.work.ended == []
    assert lease.released
    ann.work.gate.set()


async def test_a_turn_that_is_lost_before_its_first_step_never_runs() -> None:
    """A cancellation before a task's first step skips its clean-up."""
    interrupt, ran = Interrupt(), []

    async def attempt() -> None:
        ran.append(1)

    interrupt.lose()
    await interrupt.run(attempt())
    assert ran == []


async def test_the_lease_is_kept_while_a_failed_turn_waits_for_its_next_attempt(
    processes: tuple[Process, Process],
) -> None:
    """Otherwise another process would try immediately, which would defeat the pause."""
    ann, _ = processes
    seen: list[bool] = []

    class Clock(FastClock):
        async def sleep(self, seconds: float) -> None:
            seen.append(ann.cluster.leases[Fence(10, 1)].released)

    ann.scheduler._clock = Clock()
    ann.work.fail_once = {10}
    ann.store.turns[1] = [10]
    ann.scheduler.wake(1)
    await until(lambda: ann.scheduler.busy == 0)
    assert seen == [False]
    assert ann.cluster.leases[Fence(10, 1)].released


# ── the reaper ────────────────────────────────────────────────────────────────────────────────
class Leases:
    """The store as the reaper sees it."""

    def __init__(self) -> None:
        self.free: list[int] = []
        self.dead, self.reaped, self.looks, self.fails = False, 0, 0, False
        self.reap_fails = False
        self.platforms: Sequence[str] = ()

    async def look(self, platforms: Sequence[str], limit: int) -> Look:
        self.looks, self.platforms = self.looks + 1, platforms
        if self.fails:
            raise StoreUnavailable("away")
        found, self.free = self.free[:limit], self.free[limit:]
        return Look(found, self.dead, 0.0 if self.dead else None, AT)

    async def reap(self, seen_at: float | None = None) -> Sequence[int]:
        assert seen_at == AT
        if self.reap_fails:
            self.reap_fails = False
            raise StoreUnavailable("cut")
        self.reaped, self.dead = self.reaped + 1, False
        self.free = [1]
        return [1]

    async def release(self) -> None:
        """Nothing is held."""


def reaper_of(process: Process, leases: Leases, platforms: Sequence[str] = ("sim",)) -> Reaper:
    return Reaper(
        store=leases,
        cluster=process.cluster,
        scheduler=process.scheduler,
        platforms=lambda: platforms,
    )


async def test_turns_of_dead_processes_run_and_other_processes_are_signaled(
    processes: tuple[Process, Process],
) -> None:
    ann, _ = processes
    leases = Leases()
    leases.dead = True
    ann.store.turns[1] = [10]
    running = asyncio.create_task(reaper_of(ann, leases).run())
    await until(lambda: ann.work.started == [10])
    running.cancel()
    assert leases.reaped == 1
    assert ann.cluster.sent == [Signal(SignalKind.WAKE)]
    ann.work.gate.set()


async def test_nothing_is_reaped_directly_after_an_outage(
    processes: tuple[Process, Process],
) -> None:
    ann, _ = processes
    leases = Leases()
    leases.dead, ann.cluster.is_steady = True, False
    running = asyncio.create_task(reaper_of(ann, leases).run())
    await until(lambda: leases.looks == 1)
    await asyncio.sleep(0)
    running.cancel()
    assert leases.reaped == 0


async def test_a_signal_leads_to_a_look_at_once_and_much_to_another_one(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "LOOK_SECONDS", (3_600.0, 3_600.0))
    ann, bob = processes
    leases = Leases()
    running = asyncio.create_task(reaper_of(ann, leases).run())
    await until(lambda: leases.looks == 1)
    leases.free = list(range(100, 100 + AT_ONCE + 1))
    bob.cluster.send(Signal(SignalKind.WAKE))
    async with asyncio.timeout(60):  # far less than the pause
        await until(lambda: not leases.free)
    running.cancel()


async def test_without_a_connected_platform_nothing_is_looked_for(
    processes: tuple[Process, Process],
) -> None:
    leases = Leases()
    reaper = reaper_of(processes[0], leases, platforms=())
    assert await reaper._look() is None
    assert leases.looks == 0


async def test_a_look_or_a_burial_that_fails_is_repeated_soon(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a cut connection would make a take-over late by a whole pause."""
    monkeypatch.setattr(reaper, "LOOK_SECONDS", (3_600.0, 3_600.0))
    monkeypatch.setattr(reaper, "RETRY_SECONDS", 0.0)
    leases = Leases()
    leases.fails = leases.dead = True
    running = asyncio.create_task(reaper_of(processes[0], leases).run())
    await until(lambda: leases.looks >= 2)
    leases.fails, leases.reap_fails = False, True
    await until(lambda: not leases.reap_fails)
    await until(lambda: leases.reaped == 1)
    running.cancel()


async def test_a_failing_database_does_not_end_the_reaper(
    processes: tuple[Process, Process],
) -> None:
    leases = Leases()
    leases.fails = True
    running = asyncio.create_task(reaper_of(processes[0], leases).run())
    await until(lambda: leases.looks == 1)
    processes[1].cluster.send(Signal(SignalKind.WAKE))
    await until(lambda: leases.looks == 2)
    assert not running.done()
    running.cancel()
