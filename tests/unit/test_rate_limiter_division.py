"""Several processes that divide one account's limits, on a manual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.discord.rest import LIMITS as DISCORD
from adapters.slack.rate_limits import CATCHING_UP, CAUGHT_UP_WITH, limit_for
from bot.domain.replies import Limit, Pace, Priority
from bot.replies.ratelimit.division import Division
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.support.clock import ManualClock, settle

WHOLE = Limit(12, 10.0, pace=Pace.NONE, divided=True)
MARGIN = 0.05


@dataclass(eq=False)
class Process:
    """A process that asks for as many requests as it can get; without a limiter, it has left."""

    world: World
    joined: float
    limiter: AccountRateLimiter = field(init=False)
    asking: set[asyncio.Task[None]] = field(default_factory=set)
    alive: bool = True

    def __post_init__(self) -> None:
        self.limiter = AccountRateLimiter(
            lambda _: self.world.limit,
            self.world.clock,
            members=lambda: self.world.members_seen(self),
        )

    def ask(self, times: int) -> None:
        for _ in range(times):
            task = asyncio.create_task(self._ask())
            self.asking.add(task)
            task.add_done_callback(self.asking.discard)

    async def _ask(self) -> None:
        await self.limiter.spend("account", priority=Priority.CONTROL)
        self.world.granted.append(self.world.clock.monotonic())

    async def leave(self) -> None:
        self.alive = False
        for task in tuple(self.asking):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


class World:
    """Processes that come and go; each learns of changes `lag` seconds later."""

    def __init__(self, lag: float = 0.0, limit: Limit = WHOLE) -> None:
        self.clock, self.lag, self.limit = ManualClock(), lag, limit
        self.processes: list[Process] = []
        self.changes: list[tuple[float, int]] = []
        self.moves: list[tuple[float, int]] = []  # the times, with the members after it
        self.granted: list[float] = []

    @property
    def alive(self) -> list[Process]:
        return [process for process in self.processes if process.alive]

    def members_seen(self, process: Process) -> int:
        at = max(process.joined, self.clock.monotonic() - self.lag)
        return [members for began, members in self.changes if began <= at][-1]

    def join(self) -> Process:
        process = Process(self, self.clock.monotonic())
        self.processes.append(process)
        self._note()
        return process

    async def leave(self, process: Process) -> None:
        await process.leave()
        self._note()

    def _note(self) -> None:
        self.changes.append((self.clock.monotonic(), len(self.alive)))
        self.moves.append(self.changes[-1])

    async def end(self) -> None:
        for process in self.alive:
            await process.leave()
        await settle()

    def require_bound(self) -> None:
        """The documented bound for a window: the limit, plus a share for each process that joined
        or ended."""
        count, seconds = self.limit.count, self.limit.seconds
        for last in self.granted:
            sent = sum(last - seconds < at <= last for at in self.granted)
            since = last - seconds - self.lag
            moved = sum(count // members for at, members in self.moves if since <= at <= last)
            assert sent <= count + moved, (last, self.lag, self.changes)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "wait"]), st.integers(0, 4), st.floats(0.1, 12.0)),
    max_size=14,
)


@given(actions=ACTIONS, lag=st.sampled_from([0.0, 3.0]))
@settings(max_examples=60, deadline=None)
async def test_all_processes_stay_within_the_accounts_limit(
    actions: Sequence[tuple[str, int, float]], lag: float
) -> None:
    world = World(lag)
    world.join().ask(40)
    for action, number, seconds in actions:
        if action == "join" and len(world.alive) < 5:
            world.join().ask(40)
        elif action == "leave" and len(world.alive) > 1:
            await world.leave(world.alive[number % len(world.alive)])
        else:
            for process in world.alive:
                process.ask(8)
        await world.clock.advance(seconds)
    await world.end()
    world.require_bound()


async def test_without_changes_the_parts_use_almost_the_whole_limit() -> None:
    world = World()
    for _ in range(3):
        world.join().ask(60)
    await world.clock.advance(100.0)
    await world.end()
    steady = [at for at in world.granted if at > 1_020.0]
    assert len(steady) >= 0.9 * WHOLE.count * 80 / (WHOLE.seconds + MARGIN)
    assert all(
        sum(last - WHOLE.seconds < at <= last for at in steady) <= WHOLE.count for last in steady
    )


async def test_the_share_of_a_process_that_leaves_is_used_after_a_window() -> None:
    """Its last requests still count until then; afterwards nothing is lost."""
    world = World()
    stays, goes = world.join(), world.join()
    stays.ask(100)
    goes.ask(100)
    await world.clock.advance(20.0)
    await world.leave(goes)
    left_at = world.clock.monotonic()
    await world.clock.advance(40.0)
    await world.end()
    world.require_bound()
    after = [at for at in world.granted if at > left_at + 2 * (WHOLE.seconds + MARGIN)]
    assert len(after) >= 1.5 * WHOLE.count


async def test_each_of_many_processes_gets_a_request() -> None:
    """With 30 processes and 12 requests a window, each gets one within three windows."""
    world = World()
    processes = [world.join() for _ in range(30)]
    for process in processes:
        process.ask(2)
    await world.clock.advance(2 * 3 * WHOLE.seconds + 1)
    assert not any(process.asking for process in processes)
    assert len(world.granted) == 60
    await world.end()


async def test_a_429_lowers_only_the_part_of_the_process_that_got_it() -> None:
    world = World()
    unlucky, other = world.join(), world.join()
    await settle()
    unlucky.limiter.throttled(5.0, "account")
    assert unlucky.limiter.delay("account") >= 5.0
    assert other.limiter.delay("account") == 0.0


def test_limits_of_one_place_are_not_divided() -> None:
    """A Discord channel's limit is used wherever its conversation is answered."""
    division = Division(lambda: 4)
    division.look(0.0)
    assert division.part(DISCORD["channel"], 0.0) == DISCORD["channel"]
    assert division.part(None, 0.0) is None


@pytest.mark.parametrize(
    ("whole", "part"), [(DISCORD["global"], 11), (limit_for("chat.update"), 12)]
)
def test_limits_of_the_account_are_divided(whole: Limit, part: int) -> None:
    division = Division(lambda: 4)
    division.look(0.0)
    divided = division.part(whole, 0.0)
    assert divided is not None and (divided.count, divided.seconds) == (part, whole.seconds)


@pytest.mark.parametrize("method", sorted(CAUGHT_UP_WITH))
def test_the_process_that_catches_up_has_half_of_the_reads(method: str) -> None:
    """Together with the others' share, that is the limit; alone, it reads within the usual one."""
    whole = limit_for(method).count
    clock = ManualClock()
    division = Division(lambda: 4)
    division.look(clock.monotonic())
    part = division.part(limit_for(method, 4), clock.monotonic())
    reads = division.part(limit_for(f"{CATCHING_UP}{method}", 4), clock.monotonic())
    assert part is not None
    assert reads is not None
    assert (reads.count, part.count) == (whole // 2, (whole - whole // 2) // 4)
    assert 4 * part.count + reads.count <= whole
    assert limit_for("chat.update", 4).count == limit_for("chat.update").count
