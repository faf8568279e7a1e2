"""Several processes on one PostgreSQL database: what SQLite's single writer guarantees stays true.

Each store here has separate connections, as a process does.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import pytest

from bot.domain.attachments import AttachmentKind, Download, Extract, IncomingAttachment
from bot.domain.errors import LostOwnership
from bot.domain.inbox import Accepted, Effect, Receipt
from bot.domain.turns import Claim
from bot.store.store import SqlStore
from tests.support.postgres_server import SharedServer
from tests.support.store_kit import (
    ANSWER,
    PostgresPlace,
    check,
    claim_next,
    key,
    look,
    opened,
    said,
)

PROCESSES = 3


@dataclass
class World:
    """One database and the stores of several processes."""

    place: PostgresPlace
    stores: list[SqlStore]

    async def together(self, *calls: Callable[[SqlStore], Awaitable[object]]) -> list[object]:
        """Make the calls concurrently, spread over the processes."""
        started = (
            call(self.stores[number % len(self.stores)]) for number, call in enumerate(calls)
        )
        return list(await asyncio.gather(*started, return_exceptions=True))


@pytest.fixture
async def world(postgres: SharedServer) -> AsyncIterator[World]:
    with postgres.database() as url:
        place = PostgresPlace(url)
        async with AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(opened(place)) for _ in range(PROCESSES)]
            yield World(place, stores)
        check(place)


def source(number: int) -> str:
    return said(number).source


async def test_one_message_from_many_processes_is_stored_once(world: World) -> None:
    found = await world.together(*[lambda store: store.accept(said(1))] * 30)
    receipts = Counter(each.receipt for each in found if isinstance(each, Accepted))
    assert receipts == {Receipt.QUESTION: 1, Receipt.KNOWN: 29}


async def test_first_messages_from_many_processes_begin_one_conversation(world: World) -> None:
    calls = [lambda store, n=number: store.accept(said(n)) for number in range(30)]
    found = await world.together(*calls)
    assert {(each.conversation, each.turn) for each in found if isinstance(each, Accepted)} == {
        (1, 1)
    }
    assert len((await claim_next(world.stores[0], 1)).questions) == 30


async def test_a_deletion_at_the_same_time_as_its_message_is_not_lost(world: World) -> None:
    """Whichever comes first, the text is not in the database afterwards."""
    for number in range(40):
        where = key(f"t{number}")
        await world.together(
            lambda store, n=number, w=where: store.accept(said(n, "secret", where=w)),
            lambda store, n=number: store.erase(source(n), with_reply=True),
        )
    assert look(world.place, "SELECT source FROM messages WHERE content = 'secret'") == []


async def test_a_page_that_is_deleted_while_it_is_recorded_is_taken_back(world: World) -> None:
    for number in range(20):
        first = world.stores[0]
        accepted = await first.accept(said(number, where=key(f"t{number}")))
        claim = await claim_next(first, accepted.conversation)
        page = f"sim/w1/c1/r{number}"
        await world.together(
            lambda store, c=claim, n=number: store.record_shown(
                c.fence, 0, channel="c1", message_id=f"r{n}"
            ),
            lambda store, p=page: store.erase(p, with_reply=False),
        )
        again = await claim_next(first, accepted.conversation)
        assert again.fence.attempt > claim.fence.attempt
        assert again.result is not None  # taken back: nothing is shown
        assert not again.result.display


async def test_only_one_process_concludes_an_attempt(world: World) -> None:
    accepted = await world.stores[0].accept(said(1))
    claim = await claim_next(world.stores[0], accepted.conversation)
    found = await world.together(*[lambda store: store.conclude(claim.fence, ANSWER)] * 9)
    assert [type(each) for each in found].count(LostOwnership) == 8
    assert look(world.place, "SELECT count(*) FROM messages WHERE kind = 'reply'") == [(1,)]


async def test_a_claim_makes_the_fences_of_all_others_stale(world: World) -> None:
    accepted = await world.stores[0].accept(said(1))
    conversation = accepted.conversation
    assert conversation is not None
    claims = await world.together(*[lambda store: store.claim(conversation)] * 9)
    attempts = sorted(each.fence.attempt for each in claims if isinstance(each, Claim))
    assert attempts == list(range(1, 10))


async def test_a_claim_of_a_conversation_that_is_just_beginning_runs_alone(world: World) -> None:
    """The claim uses a guessed row id, and the conversation has no lock yet when the claim
    looks."""
    for number in range(30):
        await world.together(
            *[lambda store, n=number: store.claim(n + 1)] * 2,
            lambda store, n=number: store.accept(said(2 * n, where=key(f"t{n}"))),
            lambda store, n=number: store.accept(said(2 * n + 1, where=key(f"t{n}"))),
            *[lambda store, n=number: store.claim(n + 1)] * 2,
        )


async def test_an_edit_and_a_conclusion_at_the_same_time_leave_a_turn_to_answer(
    world: World,
) -> None:
    """Either the edit reopens the concluded turn, or the conclusion is refused."""
    for number in range(20):
        first = world.stores[0]
        accepted = await first.accept(said(number, where=key(f"t{number}")))
        claim = await claim_next(first, accepted.conversation)
        edited, _ = await world.together(
            lambda store, n=number: store.edit(source(n), "better", 9.0),
            lambda store, c=claim: store.conclude(c.fence, ANSWER),
        )
        assert edited.effect is Effect.REOPENED  # type: ignore[attr-defined]
        again = await claim_next(first, accepted.conversation)
        assert again.questions[0].text == "better"
        assert again.result is None


async def test_bytes_stay_while_any_message_has_them(world: World) -> None:
    """One process deletes the last message with a file while another stores the same file."""
    data = b"the same bytes"
    for number in range(0, 60, 2):
        attachment = IncomingAttachment(name="a.txt", data=data, identity="F1")
        first = said(number, where=key(f"t{number}"), attachments=[attachment])
        second = said(number + 1, where=key(f"t{number + 1}"), attachments=[attachment])
        await world.stores[0].accept(first)
        found = await world.together(
            lambda store, n=number: store.erase(source(n), with_reply=True),
            lambda store, each=second: store.accept(each),
        )
        assert not [each for each in found if isinstance(each, Exception)]
        missing = look(
            world.place,
            "SELECT attachments.id FROM attachments LEFT JOIN files USING (digest)"
            " WHERE files.id IS NULL OR files.size <> (SELECT coalesce(sum(length(data)), 0)"
            " FROM chunks WHERE file_id = files.id AND part = 0)",
        )
        assert missing == []
        await world.stores[0].erase(source(number + 1), with_reply=True)


async def test_files_in_any_order_do_not_wait_for_each_other(world: World) -> None:
    """A cycle of waits costs a second, after which PostgreSQL looks for one."""
    files = [
        IncomingAttachment(name=f"{n}.txt", data=b"%d" % n, identity=f"F{n}") for n in range(6)
    ]
    extract = Extract(kind=AttachmentKind.TEXT, media_type="text/plain", text="alpha")
    digest = hashlib.sha256(b"0").hexdigest()
    for number in range(0, 60, 3):
        calls = []
        for each, order in enumerate((files, files[::-1], files[3:] + files[:3])):
            where = key(f"t{number + each}")
            message = said(number + each, where=where, attachments=order)
            calls += [lambda store, m=message: store.accept(m)]
        await world.together(*calls)
        await world.together(
            *(lambda store, n=n: store.erase(source(n), with_reply=True)
              for n in range(number, number + 3)),
            *[lambda store: store.attachments().save_extract(digest, extract)] * 3,
        )  # fmt: skip
    [(deadlocks,)] = look(
        world.place, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert deadlocks == 0


async def test_large_downloads_of_one_file_by_many_processes_are_whole(world: World) -> None:
    data = bytes(range(256)) * 3_000
    photo = IncomingAttachment(name="a.png", locator={"url": "https://files.example/a"})
    for number in range(6):
        await world.stores[0].accept(said(number, where=key(f"t{number}"), attachments=[photo]))
    rows = look(world.place, "SELECT id FROM attachments ORDER BY id")
    saves = [
        lambda store, a=row[0]: store.attachments().save_bytes(a, Download(data)) for row in rows
    ]
    digests = await world.together(*saves)
    assert len(set(digests)) == 1
    assert await world.stores[1].attachments().read_bytes(str(digests[0])) == data


async def test_messages_of_a_conversation_commit_in_the_order_of_their_ids(world: World) -> None:
    """A reader that has seen a message never finds an older one later."""
    await world.stores[0].accept(said(0))
    done = asyncio.Event()

    async def watch() -> None:
        seen: set[int] = set()
        while not done.is_set():
            rows = await world.stores[2]._read(
                lambda db: db.execute("SELECT id FROM messages ORDER BY id").fetchall()
            )
            ids = {row["id"] for row in rows}
            late = {each for each in ids - seen if seen and each < max(seen)}
            assert not late
            seen = ids

    watching = asyncio.create_task(watch())
    calls = [lambda store, n=number: store.accept(said(n)) for number in range(1, 80)]
    await world.together(*calls)
    done.set()
    await watching


@pytest.mark.parametrize("seed", range(3))
async def test_random_transitions_of_many_processes_keep_the_invariants(
    world: World, seed: int
) -> None:
    """No call fails except for a stale fence; `check` examines the rows afterwards."""
    chance = random.Random(seed)
    numbers = iter(range(10_000))

    async def person(store: SqlStore) -> None:
        for _ in range(25):
            where = key(f"t{chance.randrange(3)}")
            match chance.randrange(8):
                case 0 | 1 | 2:
                    await store.accept(said(next(numbers), where=where))
                case 3:
                    await store.edit(source(chance.randrange(60)), "edited", chance.random() * 99)
                case 4:
                    await store.erase(source(chance.randrange(60)), with_reply=True)
                case 5:
                    await store.reset(where)
                case 6:
                    await store.undo_reset(where, None)
                case 7:
                    await store.reopen(where, None)

    async def worker(store: SqlStore) -> None:
        for _ in range(25):
            unfinished = await store.list_unfinished("sim")
            claim = await store.claim(chance.choice(unfinished)) if unfinished else None
            if claim is not None:
                with suppress(LostOwnership):
                    await _answer(store, claim)

    async with asyncio.TaskGroup() as group:
        for store in world.stores:
            group.create_task(person(store))
            group.create_task(worker(store))


async def _answer(store: SqlStore, claim: Claim) -> None:
    await store.record_intent(claim.fence, 0)
    page = f"r{claim.fence.turn}"
    await store.record_shown(claim.fence, 0, channel="c1", message_id=page)
    if claim.result is None:
        await store.conclude(claim.fence, ANSWER)
    await store.finish(claim.fence)
