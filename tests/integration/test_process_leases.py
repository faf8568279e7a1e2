"""Which process holds a turn, on a real PostgreSQL: claims, take-overs, and expired leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bot.common.clock import SystemClock
from bot.domain.attachments import IncomingAttachment
from bot.domain.conversations import ConversationKey
from bot.domain.errors import LostOwnership
from bot.domain.inbox import Address, Effect, ThreadRead
from bot.domain.spending import NotReserved, Quote, Reserved, Spender
from bot.ports.cluster import GAP_MARGIN_SECONDS, LEASE_SECONDS
from bot.store.postgres.server import Server
from bot.store.postgres.store import PostgresStore
from tests.support.postgres_server import SharedServer
from tests.support.store_kit import (
    ANSWER,
    PostgresPlace,
    answer_next,
    change,
    check,
    claim_next,
    look,
    opened,
    said,
)

SIM = ["sim"]


@dataclass
class Pair:
    """Two processes on one database."""

    ann: PostgresStore
    bob: PostgresStore
    place: PostgresPlace

    async def question(self, number: int = 1, **values: object) -> int:
        accepted = await self.ann.accept(said(number, **values))  # type: ignore[arg-type]
        assert accepted.conversation is not None
        return accepted.conversation

    def live(self, *processes: str, seconds: float = 10.0) -> None:
        """Make the leases of these processes and their turns end in `seconds`."""
        now = f"extract(epoch FROM clock_timestamp()) + {seconds}"
        for process in processes:
            change(
                self.place,
                f"INSERT INTO members VALUES (?, 0, {now})"
                f" ON CONFLICT (id) DO UPDATE SET lease_until = {now}",
                process,
            )
            change(self.place, f"UPDATE turns SET lease_until = {now} WHERE holder = ?", process)


@pytest.fixture
def place(postgres: SharedServer) -> Iterator[PostgresPlace]:
    with postgres.database() as url:
        yield PostgresPlace(url)


@pytest.fixture
async def pair(place: PostgresPlace) -> AsyncIterator[Pair]:
    server, clock = Server.parse(place.url), SystemClock()
    async with (
        PostgresStore.open(server, clock=clock, process="ann") as ann,
        PostgresStore.open(server, clock=clock, process="bob") as bob,
    ):
        pair = Pair(ann, bob, place)
        pair.live("ann", "bob")
        yield pair
    check(place)


async def test_a_turn_is_claimed_by_one_process(pair: Pair) -> None:
    conversation = await pair.question()
    claims = await asyncio.gather(*(s.claim(conversation) for s in (pair.ann, pair.bob) * 5))
    assert (
        len([claim for claim in claims if claim is not None]) == 5
    )  # one process, again and again
    holders = look(pair.place, "SELECT holder, lease_until > 0 FROM turns")
    assert len(holders) == 1
    assert holders[0][0] in ("ann", "bob")
    assert holders[0][1]


async def test_a_question_waits_for_the_turn_that_runs_elsewhere(pair: Pair) -> None:
    """The process that runs the turn claims the next one, because it always looks after a turn
    ends."""
    conversation = await pair.question(1)
    first = await claim_next(pair.ann, conversation)
    await pair.bob.accept(said(2, address=Address.FOLLOW_UP))
    assert await pair.bob.claim(conversation) is None
    assert (await pair.bob.look(SIM, 9)).conversations == []
    await pair.ann.conclude(first.fence, ANSWER)
    await pair.ann.finish(first.fence)
    assert (await pair.bob.look(SIM, 9)).conversations == [conversation]
    assert (await claim_next(pair.ann, conversation)).fence.turn == first.fence.turn + 1


async def test_a_turn_that_has_ended_is_free_for_a_retry_anywhere(pair: Pair) -> None:
    conversation = await pair.question()
    done = await answer_next(pair.ann, conversation)
    assert (await pair.bob.reopen(done.conversation.key, None)).effect is Effect.REOPENED
    assert (await claim_next(pair.bob, conversation)).fence.turn == done.fence.turn


async def test_an_edit_at_another_process_leaves_the_turn_where_it_runs(pair: Pair) -> None:
    conversation = await pair.question()
    stale = await claim_next(pair.ann, conversation)
    change_of = await pair.bob.edit(said(1).source, "no, how?", 50.0)
    assert change_of.effect is Effect.REOPENED
    assert await pair.bob.claim(conversation) is None
    fresh = await claim_next(pair.ann, conversation)
    assert (fresh.fence.turn, fresh.asked[0].text) == (stale.fence.turn, "no, how?")
    with pytest.raises(LostOwnership):
        await pair.ann.conclude(stale.fence, ANSWER)


# ── deaths ────────────────────────────────────────────────────────────────────────────────────
async def test_the_turns_of_a_dead_process_are_taken_over_once(pair: Pair) -> None:
    """Both processes may notice; the death counts once, and the dead process stores nothing
    more."""
    conversation = await pair.question()
    before = await claim_next(pair.ann, conversation)
    assert await pair.bob.reap() == []
    pair.live("ann", seconds=-0.1)
    assert (await pair.bob.look(SIM, 9)).dead
    freed = await asyncio.gather(pair.bob.reap(), pair.bob.reap())
    assert sorted(map(len, freed)) == [0, 1]
    after = await claim_next(pair.bob, conversation)
    assert (after.fence.attempt, after.deaths, after.failures) == (2, 1, 0)
    with pytest.raises(LostOwnership):
        await pair.ann.conclude(before.fence, ANSWER)
    with pytest.raises(LostOwnership):
        await pair.ann.record_intent(before.fence, 0)
    assert await pair.ann.claim(conversation) is None


async def test_no_turn_is_taken_over_while_a_later_lease_of_its_process_lasts(pair: Pair) -> None:
    """All turns of a process count together; otherwise each would look like the only one."""
    first, second = await pair.question(1), await pair.question(2, where=said_in("t2"))
    await claim_next(pair.ann, first)
    pair.live("ann", seconds=-0.1)
    await claim_next(pair.ann, second)  # after the last heartbeat
    found = await pair.bob.look(SIM, 9)
    assert await pair.bob.reap() == []
    assert found.wait is not None
    pair.live("ann", seconds=-0.1)
    assert sorted(await pair.bob.reap()) == sorted((first, second))
    deaths = look(pair.place, "SELECT deaths, lone_deaths FROM turns")
    assert deaths == [(1, 0), (1, 0)]


async def test_a_lone_death_counts_and_one_without_work_clears_it(pair: Pair) -> None:
    """If a process dies while its suspect waits, the death had an outside cause, as at starts on
    SQLite."""
    conversation = await pair.question()

    async def die() -> tuple[object, ...]:
        assert await pair.ann.claim(conversation) is not None
        pair.live("ann", seconds=-0.1)
        assert await pair.bob.reap() == [conversation]
        pair.live("ann")
        return look(pair.place, "SELECT deaths, lone_deaths FROM turns")[0]

    assert [await die() for _ in range(4)] == [(1, 0), (2, 0), (3, 1), (3, 0)]


async def test_a_turn_without_a_task_in_a_living_process_is_free_and_counts_no_death(
    pair: Pair,
) -> None:
    """A cancellation at the wrong moment loses a claim, which nothing renews."""
    conversation = await pair.question()
    await claim_next(pair.ann, conversation)
    change(pair.place, "UPDATE turns SET lease_until = 1")
    assert (await pair.bob.look(SIM, 9)).dead
    assert await pair.bob.reap() == [conversation]
    again = await claim_next(pair.bob, conversation)
    assert (again.deaths, again.failures) == (0, 1)


async def test_a_process_that_ends_normally_frees_its_turns_and_counts_nothing(pair: Pair) -> None:
    conversation = await pair.question()
    await claim_next(pair.ann, conversation)
    await pair.ann.record_shutdown()
    assert await pair.bob.claim(conversation) is None  # it is still being shown
    await pair.ann.release()
    assert (await pair.bob.look(SIM, 9)).conversations == [conversation]
    again = await claim_next(pair.bob, conversation)
    assert (again.deaths, again.failures) == (0, 0)


async def test_a_turn_whose_platform_is_down_here_may_run_elsewhere(pair: Pair) -> None:
    conversation = await pair.question()
    claim = await claim_next(pair.ann, conversation)
    await pair.ann.hold(claim.fence, held=False)
    assert (await pair.bob.look(["other"], 9)).conversations == []
    assert (await pair.bob.look(SIM, 9)).conversations == [conversation]
    assert (await claim_next(pair.bob, conversation)).failures == 0


async def test_only_the_dead_process_s_reservations_are_settled(pair: Pair) -> None:
    """Another start or another death does not affect the requests of living processes."""
    spender = Spender(ConversationKey("sim", "w1", "c1", "t1"))
    reserved = [
        await store.spending().reserve(spender, [], Quote("m", 10, 20), "2026-11-30")
        for store in (pair.ann, pair.bob)
    ]
    assert all(isinstance(each, Reserved | NotReserved) for each in reserved)
    pair.live("ann", seconds=-0.1)
    await pair.bob.reap()
    states = look(pair.place, "SELECT state, holder FROM model_requests ORDER BY holder")
    assert states == [("settled", "ann"), ("reserved", "bob")]


async def test_a_file_is_read_by_one_living_process(pair: Pair) -> None:
    file = IncomingAttachment(name="b.png", locator={"url": "https://files.example/b"})
    await pair.question(attachments=(file,))
    (pending,) = await pair.ann.attachments().pending("sim", limit=9)
    assert await pair.ann.attachments().claim(pending.id) is True
    assert await pair.bob.attachments().claim(pending.id) is False
    assert await pair.ann.attachments().claim(pending.id) is True
    pair.live("ann", seconds=-0.1)
    assert await pair.bob.attachments().claim(pending.id) is True
    assert await pair.bob.attachments().claim(pending.id + 1) is None


async def test_a_start_beside_others_ends_nothing_of_theirs(pair: Pair) -> None:
    conversation = await pair.question()
    claim = await claim_next(pair.ann, conversation)
    change(
        pair.place,
        "INSERT INTO files (digest, size, is_staged, created_at)"
        " VALUES ('d', 1, 1, extract(epoch FROM now()))",
    )
    server = Server.parse(pair.place.url)
    async with PostgresStore.open(server, clock=SystemClock(), process="cid") as third:
        assert third.death is None
        assert await third.claim(conversation) is None
    assert look(pair.place, "SELECT count(*) FROM files") == [(1,)]
    change(pair.place, "DELETE FROM files")
    await pair.ann.conclude(claim.fence, ANSWER)
    await pair.ann.finish(claim.fence)
    assert look(pair.place, "SELECT deaths, failures, held FROM turns") == [(0, 0, 0)]


async def test_the_same_message_at_two_processes_at_once_is_one_question(pair: Pair) -> None:
    receipts = await asyncio.gather(
        *(store.accept(said(7)) for store in (pair.ann, pair.bob, pair.ann, pair.bob))
    )
    assert sorted(each.receipt.value for each in receipts) == [
        "known",
        "known",
        "known",
        "question",
    ]


def said_in(thread: str) -> ConversationKey:
    return ConversationKey("sim", "w1", "c1", thread)


async def test_a_copy_on_sqlite_forgets_the_processes_of_postgresql(tmp_path: Path) -> None:
    """Otherwise nothing could claim the turns that a killed process held."""
    file = tmp_path / "copied.db"
    async with opened(file) as store:
        accepted = await store.accept(said(1))
        await claim_next(store, accepted.conversation)
    change(file, "UPDATE turns SET holder = 'ann', lease_until = 9e9")
    async with opened(file) as store:
        assert (await claim_next(store, accepted.conversation)).fence.attempt == 2


async def test_a_check_from_before_an_outage_declares_no_one_dead(pair: Pair) -> None:
    """The call waited while the database was down for longer than a lease."""
    conversation = await pair.question()
    await claim_next(pair.ann, conversation)
    pair.live("ann", seconds=-0.1)
    found = await pair.bob.look(SIM, 9)
    assert found.dead
    assert await pair.bob.reap(found.at - 10.0) == []
    assert await pair.bob.reap(found.at) == [conversation]


async def test_a_death_is_a_gap_until_each_reader_has_read_it(pair: Pair) -> None:
    """The messages delivered to the dead process may have left no other trace."""
    pair.live("ann", seconds=-5.0)
    change(pair.place, "UPDATE members SET started_at = lease_until - 1000")
    await pair.bob.reap()
    [gap] = await pair.bob.gaps("slack T1")
    [(now,)] = look(pair.place, "SELECT extract(epoch FROM clock_timestamp())")
    assert 0 < float(now) - gap.since - (5.0 + LEASE_SECONDS + GAP_MARGIN_SECONDS) < 5.0
    assert not gap.is_settled
    change(pair.place, "UPDATE gaps SET settles_at = extract(epoch FROM clock_timestamp())")
    assert (await pair.bob.gaps("slack T1"))[0].is_settled
    await pair.bob.finish_gaps("slack T1", [gap.id, "dropped before"])
    await pair.bob.finish_gaps("slack T1", [gap.id])
    assert await pair.bob.gaps("slack T1") == []
    assert [each.id for each in await pair.bob.gaps("slack T2")] == [gap.id]
    change(pair.place, "UPDATE gaps SET settles_at = settles_at - 86500")
    pair.live("ann", seconds=-5.0)
    await pair.bob.reap()
    assert gap.id not in [each.id for each in await pair.bob.gaps("slack T2")]


async def test_the_record_of_a_thread_read_again_is_kept_for_a_day(pair: Pair) -> None:
    """A later read extends the record; one that covers less came late, and changes nothing."""
    first = ThreadRead("T1", "C1/1.0", 100, 200)
    for read in (first, ThreadRead("T1", "C1/1.0", 150, 180), ThreadRead("T2", "C1/1.0", 1, 2)):
        await pair.ann.record_thread_read("slack", read)
    assert await pair.bob.thread_reads("slack", "T1") == [first]
    longer = replace(first, reached=300)
    await pair.bob.record_thread_read("slack", longer)
    assert await pair.ann.thread_reads("slack", "T1") == [longer]
    assert await pair.ann.thread_reads("discord", "T1") == []
    change(pair.place, "UPDATE thread_reads SET read_at = read_at - 86500")
    pair.live("ann", seconds=-5.0)
    await pair.bob.reap()
    assert await pair.bob.thread_reads("slack", "T1") == []


async def test_known_replies_are_those_of_people_and_of_the_bot(pair: Pair) -> None:
    """The root and erased messages are left out."""
    where = ConversationKey("sim", "w1", "c1", "m1")
    accepted = await pair.ann.accept(said(1, where=where))
    assert await pair.ann.count_known_replies(replace(where, thread="")) == {"m1": 0}
    await answer_next(pair.ann, accepted.conversation)
    await pair.ann.accept(said(2, where=where))
    known = await pair.bob.count_known_replies(replace(where, thread=""))
    pages = look(pair.place, "SELECT count(*) FROM pages")[0][0]
    assert known == {"m1": 1 + int(pages)}
    change(pair.place, "UPDATE messages SET erased_at = 1 WHERE message_id = 'm2'")
    assert await pair.bob.count_known_replies(replace(where, thread="")) == {"m1": int(pages)}
    change(pair.place, "UPDATE messages SET erased_at = NULL")
    assert await pair.bob.count_known_replies(replace(where, channel="c2", thread="")) == {}


# ── the start ─────────────────────────────────────────────────────────────────────────────────
async def test_a_process_connects_before_a_question_needs_it(place: PostgresPlace) -> None:
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    async with opened(place, process="ann", connections=10):
        [(connected,)] = look(place, others)
    assert connected >= 4
