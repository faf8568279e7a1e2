"""Heartbeats, shares, locks and signals of several processes on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import pytest

from bot.common.clock import SystemClock
from bot.domain.cluster import Signal, SignalKind, key_of, text_of
from bot.domain.conversations import ConversationKey
from bot.domain.errors import LostOwnership, StoreUnavailable
from bot.domain.turns import Fence, Outcome
from bot.ports.cluster import LEASE_SECONDS, SEND_SECONDS
from bot.store.cluster.cluster import PostgresCluster
from bot.store.cluster.signals import MAX_BYTES, Listener, decode, encode
from bot.store.postgres.server import Server
from bot.store.postgres.store import PostgresStore
from tests.support.postgres_server import SharedServer
from tests.support.store_kit import PostgresPlace, change, claim_next, look, said

KEY = ConversationKey("sim", "w1", "c1", "t1")


@pytest.fixture
def place(postgres: SharedServer) -> Iterator[PostgresPlace]:
    with postgres.database() as url:
        yield PostgresPlace(url)


@dataclass
class Member:
    """A process of the cluster, whose clock may be ahead."""

    url: str
    skipped: float = 0.0
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    cluster: PostgresCluster = field(init=False)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.cluster = PostgresCluster(self.url, now=lambda: loop.time() + self.skipped)

    async def join(self) -> Member:
        await self.stack.enter_async_context(self.cluster.join())
        return self

    async def leave(self) -> None:
        await self.stack.aclose()


@pytest.fixture
async def members(place: PostgresPlace) -> AsyncIterator[list[Member]]:
    """Three processes of the cluster."""
    found = [await Member(place.url).join() for _ in range(3)]
    yield found
    for member in found:
        await member.leave()


async def until(condition: object, seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


class Watcher:
    """Records what a lease reports to its attempt."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def lose(self) -> None:
        self.heard.append("lost")

    def __call__(self, reason: Outcome) -> None:
        self.heard.append(reason)


# ── members and leases of turns ───────────────────────────────────────────────────────────────
async def test_members_are_counted_and_leave_nothing(
    members: list[Member], place: PostgresPlace
) -> None:
    ann, _, cid = members
    await ann.cluster._beat()
    assert ann.cluster.members == 3
    await cid.leave()
    await ann.cluster._beat()
    assert ann.cluster.members == 2
    assert look(place, "SELECT count(*) FROM members") == [(2,)]


async def test_exactly_the_attempts_that_run_here_are_renewed(
    members: list[Member], place: PostgresPlace
) -> None:
    """An attempt that was taken over or reopened is lost; others with the same holder stay
    alive."""
    cluster = members[0].cluster
    server = Server.parse(place.url)
    async with PostgresStore.open(server, clock=SystemClock(), process=cluster.process) as store:
        watchers, claims = [Watcher(), Watcher(), Watcher()], []
        for number in range(3):
            where = ConversationKey("sim", "w1", "c1", f"t{number}")
            accepted = await store.accept(said(number + 1, where=where))
            claims.append(await claim_next(store, accepted.conversation))
        leases = [
            cluster.hold(claim.fence, watcher, since=cluster.now())
            for claim, watcher in zip(claims, watchers, strict=True)
        ]
        change(place, "UPDATE turns SET lease_until = 1")
        change(place, "UPDATE turns SET holder = 'bob' WHERE id = ?", claims[0].fence.turn)
        change(place, "UPDATE turns SET stopping = 1 WHERE id = ?", claims[1].fence.turn)
        leases[2].release()
        await cluster._beat()
    assert [watcher.heard for watcher in watchers] == [["lost"], [Outcome.STOPPED], []]
    assert [lease.can_send for lease in leases[:2]] == [False, True]
    with pytest.raises(LostOwnership):
        await leases[0].wait()
    renewed = look(place, "SELECT lease_until > 1 FROM turns ORDER BY id")
    assert [bool(row[0]) for row in renewed] == [False, True, False]


async def test_a_slow_transaction_on_one_turn_keeps_no_other_from_its_lease(
    members: list[Member], place: PostgresPlace
) -> None:
    """The locked turn is not lost: the next heartbeat renews it."""
    cluster, server = members[0].cluster, Server.parse(place.url)
    async with PostgresStore.open(server, clock=SystemClock(), process=cluster.process) as store:
        claims, watcher = [], Watcher()
        for number in range(2):
            where = ConversationKey("sim", "w1", "c1", f"t{number}")
            accepted = await store.accept(said(number + 1, where=where))
            claims.append(await claim_next(store, accepted.conversation))
            cluster.hold(claims[-1].fence, watcher, since=cluster.now())
        change(place, "UPDATE turns SET lease_until = 1")

        def slow() -> None:
            change(place, "UPDATE turns SET failures = 0 WHERE id = ?", claims[0].fence.turn)

        import psycopg

        with psycopg.connect(place.url) as other:
            other.execute("SELECT 1 FROM turns WHERE id = %s FOR UPDATE", (claims[0].fence.turn,))
            await cluster._beat()
        assert look(place, "SELECT lease_until > 1 FROM turns ORDER BY id") == [(False,), (True,)]
        await cluster._beat()
        assert look(place, "SELECT lease_until > 1 FROM turns ORDER BY id") == [(True,), (True,)]
    assert watcher.heard == []


async def test_nothing_is_sent_by_a_process_that_could_not_renew(members: list[Member]) -> None:
    """The machine's clock decides, without the database, and time asleep counts."""
    ann = members[0]
    lease = ann.cluster.hold(Fence(1, 1), Watcher(), since=ann.cluster.now())
    assert lease.can_send
    ann.skipped = LEASE_SECONDS - SEND_SECONDS
    assert not lease.can_send
    waiting = asyncio.create_task(lease.wait())
    await ann.cluster._beat()  # there is no such turn
    with pytest.raises(LostOwnership):
        await waiting


async def test_a_process_takes_nothing_over_directly_after_an_outage(members: list[Member]) -> None:
    ann = members[0]
    ann.skipped += 6.0
    assert not ann.cluster.is_steady  # no heartbeat for this long
    ann.skipped += 10.0
    await ann.cluster._beat()
    assert not ann.cluster.is_steady
    ann.skipped += 5.5
    await ann.cluster._beat()
    assert ann.cluster.is_steady


# ── shares ────────────────────────────────────────────────────────────────────────────────────
class Shard:
    """A share of a group, which asserts that no name is ever held twice."""

    held_by: dict[str, str] = {}  # noqa: RUF012 - replaced by each test

    def __init__(self, name: str) -> None:
        self.name, self.held = name, frozenset[str]()

    async def take(self, held: frozenset[str]) -> None:
        for one in self.held - held:
            del Shard.held_by[one]
        for one in held - self.held:
            assert one not in Shard.held_by
            Shard.held_by[one] = self.name
        self.held = held


async def test_names_are_spread_evenly_and_move_with_the_members(members: list[Member]) -> None:
    Shard.held_by = {}
    shards = [Shard("ann"), Shard("bob"), Shard("cid")]
    names = [str(number) for number in range(8)]
    stacks = [AsyncExitStack() for _ in members]
    for number, (member, shard) in enumerate(zip(members, shards, strict=True)):
        await stacks[number].enter_async_context(member.cluster.share("shards", names, shard.take))
        if number == 0:
            await until(lambda: len(shards[0].held) == 8)
    await until(lambda: sorted(len(shard.held) for shard in shards) == [2, 3, 3])
    await stacks[1].aclose()
    await until(lambda: sorted(len(shard.held) for shard in shards) == [0, 4, 4])
    assert sorted(Shard.held_by) == names
    for stack in stacks:
        await stack.aclose()
    assert Shard.held_by == {}


async def test_a_share_whose_change_failed_is_told_again(members: list[Member]) -> None:
    Shard.held_by = {}
    shard, bugs = Shard("ann"), [LookupError("a bug")]

    async def take(held: frozenset[str]) -> None:
        if bugs:
            raise bugs.pop()
        await shard.take(held)

    async with members[0].cluster.share("shards", ["1", "2"], take):
        await until(lambda: len(shard.held) == 2)


async def test_the_names_of_a_dead_process_are_taken_over(
    members: list[Member], place: PostgresPlace
) -> None:
    """The dead process gives them up earlier, by its machine's clock."""
    Shard.held_by = {}
    ann, bob, shards = members[0], members[1], [Shard("ann"), Shard("bob")]
    async with (
        ann.cluster.share("shards", ["1", "2"], shards[0].take),
        bob.cluster.share("shards", ["1", "2"], shards[1].take),
    ):
        await until(lambda: [len(shard.held) for shard in shards] == [1, 1])
        ann.cluster._control._url = "postgresql://nowhere.invalid/"  # it is cut off
        await ann.cluster._control.aclose()
        await until(lambda: not shards[0].held, LEASE_SECONDS)
        await until(lambda: len(shards[1].held) == 2, LEASE_SECONDS)
        ann.cluster._control._url = place.url
        await until(lambda: [len(shard.held) for shard in shards] == [1, 1])


# ── one at a time ─────────────────────────────────────────────────────────────────────────────
async def test_one_process_at_a_time_is_inside(members: list[Member]) -> None:
    inside: list[int] = []

    async def enter(number: int) -> None:
        async with members[number % 3].cluster.exclusively("job"):
            inside.append(number)
            assert len(inside) == 1
            await asyncio.sleep(0.02)
            inside.remove(number)

    async with asyncio.timeout(10):
        await asyncio.gather(*(enter(number) for number in range(9)))


async def test_what_is_inside_ends_before_another_process_may_enter(
    members: list[Member], place: PostgresPlace
) -> None:
    ann, bob = members[0], members[1]
    entered = asyncio.Event()

    async def work() -> None:
        async with ann.cluster.exclusively("job"):
            entered.set()
            await asyncio.sleep(60)

    working = asyncio.create_task(work())
    await entered.wait()
    change(place, "UPDATE leases SET lease_until = 1 WHERE name = 'job'")
    async with asyncio.timeout(5), bob.cluster.exclusively("job"):
        await ann.cluster._beat()
        with pytest.raises(LostOwnership):
            await working
    assert working.done()


async def test_a_lease_that_is_lost_at_the_end_cancels_nothing_later(members: list[Member]) -> None:
    """The guard may have ended without reporting it yet when the block ends."""
    cluster = members[0].cluster
    for steps in range(12):
        with suppress(LostOwnership):
            async with cluster.exclusively("job"):
                cluster._names._renewed.clear()
                cluster._names.tell()
                for _ in range(steps):
                    await asyncio.sleep(0)
        await asyncio.sleep(0.01)  # raises CancelledError


# ── signals ───────────────────────────────────────────────────────────────────────────────────
async def test_a_signal_reaches_all_others_at_once(members: list[Member]) -> None:
    heard: list[tuple[int, Signal]] = []
    for number, member in enumerate(members):

        async def hear(signal: Signal, number: int = number) -> None:
            if signal.turn:  # not the signals after connecting
                heard.append((number, signal))

        member.cluster.listen(SignalKind.INTERRUPT, hear)
    await until(lambda: all(m.cluster._listener.is_connected for m in members))
    signal = Signal(SignalKind.INTERRUPT, 5, 7, text_of(KEY), Outcome.STOPPED.value)
    members[0].cluster.send(signal)
    await until(lambda: len(heard) == 2)
    assert sorted(heard, key=lambda each: each[0]) == [(1, signal), (2, signal)]
    assert key_of(signal.place) == KEY


async def test_after_a_gap_everything_is_looked_at(
    members: list[Member], place: PostgresPlace
) -> None:
    looks: list[Signal] = []

    async def hear(signal: Signal) -> None:
        looks.append(signal)

    cluster = members[0].cluster
    cluster.listen(SignalKind.WAKE, hear)
    cluster.listen(SignalKind.POLICY, hear)
    await until(lambda: cluster._listener.is_connected)
    looks.clear()
    look(
        place,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'threadline signals' AND datname = current_database()",
    )
    await until(lambda: len(looks) == 2)
    assert looks == [Signal(SignalKind.WAKE), Signal(SignalKind.POLICY)]


async def test_signals_wait_while_the_connection_is_broken(
    members: list[Member], place: PostgresPlace
) -> None:
    heard: list[int] = []

    async def hear(signal: Signal) -> None:
        heard.append(signal.turn)

    members[1].cluster.listen(SignalKind.RESTART, hear)
    await until(lambda: members[1].cluster._listener.is_connected)
    look(
        place,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'threadline control' AND datname = current_database()",
    )
    for turn in range(1, 4):
        members[0].cluster.send(Signal(SignalKind.RESTART, 1, turn))
    await until(lambda: len(heard) == 3)
    assert heard == [1, 2, 3]


def test_no_payload_is_too_long_for_postgresql() -> None:
    key = ConversationKey("web", "w" * 5_000, "c", "t" * 5_000)
    payload = encode(Signal(SignalKind.GONE, place=text_of(key)), "ann")
    assert len(payload.encode()) < MAX_BYTES
    assert decode(payload) == ("ann", Signal(SignalKind.GONE))


def test_a_signal_of_a_newer_version_is_ignored() -> None:
    assert decode('{"from": "ann", "kind": "dance"}') is None
    assert decode('{"from": "ann", "kind": "wake", "new": 1}') is None
    assert decode("[]") is None


async def test_a_handler_that_fails_to_look_costs_no_later_signal(members: list[Member]) -> None:
    """After the failure, as after a start, all handlers look at everything."""
    heard: list[Signal] = []

    async def fail(_: Signal) -> None:
        raise RuntimeError("a bug")

    async def hear(signal: Signal) -> None:
        heard.append(signal)

    cluster = members[0].cluster
    await until(lambda: all(m.cluster._listener.is_connected for m in members))
    cluster.listen(SignalKind.WAKE, fail)
    cluster.listen(SignalKind.POLICY, fail)
    cluster.listen(SignalKind.INTERRUPT, hear)
    await cluster._look_again()
    members[1].cluster.send(Signal(SignalKind.INTERRUPT, turn=1))
    await until(lambda: heard)


async def test_a_listener_listens_again_after_a_bug(members: list[Member]) -> None:
    heard: list[Signal] = []
    bugs = [LookupError("a bug")]

    async def look_again() -> None:
        if bugs:
            raise bugs.pop()

    async def hear(signal: Signal) -> None:
        heard.append(signal)

    url = members[0].url
    listener = Listener(url, "me", received=hear, told=lambda _: None, connected=look_again)
    task = asyncio.create_task(listener.run())

    def is_heard() -> bool:
        members[0].cluster.send(Signal(SignalKind.WAKE, 1))
        return bool(heard)

    await until(is_heard)
    task.cancel()
    await asyncio.wait({task})


async def test_a_signal_that_cannot_be_sent_costs_no_later_one(members: list[Member]) -> None:
    heard: list[Signal] = []

    async def hear(signal: Signal) -> None:
        heard.append(signal)

    members[1].cluster.listen(SignalKind.INTERRUPT, hear)
    await until(lambda: all(m.cluster._listener.is_connected for m in members))
    outbox = members[0].cluster._outbox
    outbox._waiting.append("a payload that is too long" * 1_000)
    outbox._woken.set()
    await until(lambda: not outbox._waiting)
    members[0].cluster.send(Signal(SignalKind.INTERRUPT, turn=1))
    await until(lambda: heard)


async def test_a_change_without_a_signal_is_seen_within_a_minute(
    members: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that changed it died before sending the signal."""
    monkeypatch.setattr("bot.store.cluster.signals.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("bot.store.cluster.signals.SILENCE_SECONDS", 0.05)
    looks: list[Signal] = []

    async def hear(signal: Signal) -> None:
        looks.append(signal)

    late = Member(members[0].url)
    late.cluster.listen(SignalKind.POLICY, hear)
    await late.join()
    await until(lambda: len(looks) > 2)
    await late.leave()


async def test_a_server_that_stops_accepting_writes_is_abandoned(members: list[Member]) -> None:
    """An example is a primary that has become a replica: the old connection would otherwise stay
    open."""
    control = members[0].cluster._control
    await control.run("SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable):
        await control.run("DELETE FROM members WHERE id = 'none'")
    await control.run("DELETE FROM members WHERE id = 'none'")


async def test_a_text_reaches_the_process_that_it_is_for_and_no_other(
    members: list[Member],
) -> None:
    """Texts arrive in order, with almost any content, and beside signals to all processes."""
    ann, ben, cid = (member.cluster for member in members)
    told: dict[str, list[str]] = {each.process: [] for each in (ann, ben, cid)}
    for each in (ann, ben, cid):
        each.hear(told[each.process].append)
    await until(lambda: all(m.cluster._listener.is_connected for m in members))
    texts = [f"{number} é\n'\\" + "x" * 7_000 for number in range(20)]
    await ann.tell([(ben.process, text) for text in texts] + [("no one", "lost")])
    await until(lambda: len(told[ben.process]) == len(texts))
    assert told == {ann.process: [], ben.process: texts, cid.process: []}
