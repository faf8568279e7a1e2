"""The library: created once, listed page by page, changed without affecting a turn."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import pytest

from bot.domain.conversations import TEAM, Author, ConversationKey, Effort, Role, Visibility
from bot.domain.errors import LostOwnership, RecordHeld
from bot.domain.model import Usage
from bot.domain.records import NewConversation, RecordScope
from bot.domain.turns import Outcome, TurnResult
from bot.store.library import SqlLibrary
from bot.store.store import SqlStore
from tests.support.store_kit import (
    ANN,
    ANSWER,
    BEN,
    Place,
    answer_next,
    claim_next,
    key,
    look,
    said,
)

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ALICE = Author("alice", "alice")
MINE = RecordScope("web", "alice")


class World:
    def __init__(self, place: Place, store: SqlStore) -> None:
        self.place, self.store = place, store
        self.library: SqlLibrary = store.library()

    async def uid(self, conversation: int | None) -> str:
        (row,) = look(self.place, "SELECT uid FROM conversations WHERE id = ?", conversation)
        return str(row[0])


@pytest.fixture
async def world(place: Place, store: SqlStore) -> World:
    return World(place, store)


def new(
    thread: str = "t1", channel: str = "api", user: str = "alice", **fields: object
) -> NewConversation:
    return NewConversation(
        key=ConversationKey("web", user, channel, thread),
        uid=str(uuid.uuid4()),
        name="a name",
        began_by=Author(user, user),
        **fields,  # type: ignore[arg-type]
    )


# ── ids ───────────────────────────────────────────────────────────────────────────────────────
async def test_everything_stored_has_a_public_id(world: World) -> None:
    """On every platform, conversations, questions, history and replies have a random UUID."""
    accepted = await world.store.accept(said(2), [said(1, "before")])
    await answer_next(world.store, accepted.conversation)
    uids = [
        row[0]
        for table in ("conversations", "messages")
        for row in look(world.place, f"SELECT uid FROM {table}")
    ]
    assert len(set(uids)) == len(uids) == 4
    assert all(UUID4.fullmatch(uid) for uid in uids)


# ── conversations ─────────────────────────────────────────────────────────────────────────────
async def test_creating_the_same_conversation_again_changes_nothing(world: World) -> None:
    opening = ((Role.SYSTEM, "be kind"), (Role.USER, "hi"), (Role.ASSISTANT, "hello"))
    first = await world.library.create(new(opening=opening, model="m"))
    again = await world.library.create(new(model="other"))
    assert again == first
    messages = await world.library.latest(first.conversation.id, limit=9)
    assert [(m.role, m.content, m.index) for m in messages] == [
        (Role.SYSTEM, "be kind", 0), (Role.USER, "hi", 1), (Role.ASSISTANT, "hello", 2),
    ]  # fmt: skip
    assert [m.author for m in messages] == [None, ALICE, None]


async def test_creating_the_same_conversation_concurrently_creates_one(world: World) -> None:
    made = await asyncio.gather(*(world.library.create(new()) for _ in range(8)))
    assert len({record.uid for record in made}) == 1


async def test_the_model_gets_the_messages_of_an_opening(world: World) -> None:
    record = await world.library.create(new(opening=((Role.USER, "hi"), (Role.ASSISTANT, "hello"))))
    await world.store.accept(said(1, "and?", where=record.conversation.key))
    claim = await claim_next(world.store, record.conversation.id)
    rows = await world.store.history(
        record.conversation.id, epoch=1, before=claim.reply_index, limit=9
    )
    assert [row.content for row in rows] == ["and?", "hello", "hi"]
    assert claim.has_history


async def test_lists_cover_one_owner_or_one_channel_page_by_page(world: World) -> None:
    made = [
        await world.library.create(new(f"t{n}", channel=("api", "general")[n % 2]))
        for n in range(6)
    ]
    await world.library.create(new(user="bob"))
    await world.store.accept(said(1, where=key("t1", platform="slack")))
    uids = [record.uid for record in made[::-1]]

    async def pages(place: RecordScope) -> list[str]:
        seen: list[str] = []
        while found := await world.library.conversations(
            place, before=seen[-1] if seen else None, limit=2
        ):
            seen += [record.uid for record in found]
        return seen

    assert await pages(MINE) == uids
    assert await pages(RecordScope("web", "alice", "general")) == uids[::2]
    assert await pages(RecordScope("web", "carol")) == []


async def test_only_the_owner_finds_changes_and_deletes_a_conversation(world: World) -> None:
    record = await world.library.create(new())
    theirs = RecordScope("web", "bob")
    assert await world.library.find(record.uid, theirs) is None
    assert await world.library.update(record.uid, theirs, name="x") is None
    assert await world.library.delete(record.uid, theirs) is None
    assert await world.library.find(record.uid, RecordScope("web", "alice", "general")) is None
    assert await world.library.find(record.uid, MINE) == record


async def test_name_and_model_change_independently(world: World) -> None:
    record = await world.library.create(new(model="m"))
    renamed = await world.library.update(record.uid, MINE, name="a\n new  name")
    assert renamed is not None
    assert (renamed.conversation.name, renamed.conversation.model) == ("a new name", "m")
    default = await world.library.update(record.uid, MINE, model=None)
    assert default is not None
    assert (default.conversation.name, default.conversation.model) == ("a new name", None)


async def test_effort_changes_independently_of_the_model(world: World) -> None:
    record = await world.library.create(new(model="m", effort=Effort.HIGH))
    assert record.conversation.effort is Effort.HIGH
    changes: tuple[tuple[dict[str, Any], Effort | None], ...] = (
        ({"model": None}, Effort.HIGH),
        ({"effort": Effort.LOW}, Effort.LOW),
        ({"name": "x"}, Effort.LOW),
        ({"effort": None}, None),
    )
    for change, effort in changes:
        changed = await world.library.update(record.uid, MINE, **change)
        assert changed is not None
        assert changed.conversation.effort is effort


async def test_a_replys_message_has_its_model_and_tokens(world: World) -> None:
    """A question of the same turn has neither, and neither does a message added as a record."""
    record = await world.library.create(new(opening=((Role.USER, "hi"),)))
    number = record.conversation.id
    await world.store.accept(said(1, where=record.conversation.key))
    claim = await claim_next(world.store, number)
    usage = Usage(100, 20, cached_tokens=60, cache_write_tokens=30, reasoning_tokens=5)
    result = TurnResult(
        outcome=Outcome.ANSWERED, content="Hm.", display="Hm.", model="m", usage=usage
    )
    await world.store.conclude(claim.fence, result)
    messages = await world.library.latest(number, limit=10)
    assert [(one.is_reply, one.model, one.usage) for one in messages] == [
        (False, None, None), (False, None, None), (True, "m", usage),
    ]  # fmt: skip


async def test_deleting_a_conversation_deletes_all_its_rows(world: World) -> None:
    """The running turn's claim becomes stale, so its attempt can write nothing more."""
    record = await world.library.create(new(opening=((Role.USER, "hi"),)))
    number = record.conversation.id
    await world.store.accept(said(1, where=record.conversation.key))
    claim = await claim_next(world.store, number)
    await world.store.record_intent(claim.fence, 0)
    assert await world.library.delete(record.uid, MINE) == number
    with pytest.raises(LostOwnership):
        await world.store.conclude(claim.fence, ANSWER)
    for table in ("conversations", "messages", "turns", "pages"):
        assert look(world.place, f"SELECT * FROM {table}") == []
    assert await world.library.reply(claim.fence.turn) is None


async def test_only_conversations_that_were_never_private_are_public(world: World) -> None:
    cases = {"open": [Visibility.PUBLIC], "shut": [Visibility.PRIVATE]}
    cases["turned"] = [Visibility.PUBLIC, Visibility.PRIVATE, Visibility.PUBLIC]
    uids = {}
    for channel, seen in cases.items():
        for number, visibility in enumerate(seen):
            where = key(channel=channel)
            accepted = await world.store.accept(said(number, where=where, visibility=visibility))
        uids[channel] = await world.uid(accepted.conversation)
    listed = await world.library.public_conversations("sim", before=None, limit=9)
    assert [record.uid for record in listed] == [uids["open"]]
    assert [await world.library.public(uid) is not None for uid in uids.values()] == [
        True, False, False,
    ]  # fmt: skip
    assert await world.library.public_conversations("slack", before=None, limit=9) == []


# ── threads ───────────────────────────────────────────────────────────────────────────────────
async def test_a_thread_shows_its_first_question_and_the_number_of_later_messages(
    world: World,
) -> None:
    record = await world.library.create(new(channel="general"))
    place = RecordScope("web", "alice", "general")
    assert await world.library.threads(place, before=None, limit=9) == []
    where = record.conversation.key
    await world.store.accept(said(1, "first", where=where))
    (thread,) = await world.library.threads(place, before=None, limit=9)
    assert (thread.root.content, thread.root.waiting, thread.replies) == ("first", True, 0)
    assert thread.record.busy
    await answer_next(world.store, record.conversation.id)
    await world.store.accept(said(2, "second", where=where))
    thread_now = await world.library.thread(record.uid, place)
    assert thread_now is not None
    assert (thread_now.root.content, thread_now.root.waiting) == ("first", False)
    assert thread_now.replies == 2


# ── messages ──────────────────────────────────────────────────────────────────────────────────
async def test_messages_come_in_index_order_and_waiting_ones_last(world: World) -> None:
    accepted = await world.store.accept(said(1, "one"))
    number = accepted.conversation or 0
    await answer_next(world.store, number)
    await world.store.accept(said(3, "three"))
    await world.store.accept(said(2, "two"))
    everything = await world.library.messages(number, after=-1, limit=9)
    assert [(m.content, m.index) for m in everything] == [
        ("one", 0), ("Forty-two.", 1), ("two", None), ("three", None),
    ]  # fmt: skip
    assert everything == await world.library.latest(number, limit=9)
    assert [m.content for m in await world.library.messages(number, after=0, limit=2)] == [
        "Forty-two.", "two",
    ]  # fmt: skip
    (newest, *_) = await world.library.latest(number, limit=1)
    assert newest.content == "Forty-two."


async def test_an_added_message_is_history_at_the_end(world: World) -> None:
    record = await world.library.create(new())
    added = await world.library.add(record.conversation.id, Role.USER, "by the way", ALICE)
    assert added is not None
    assert (added.index, added.role, added.turn, added.author) == (0, Role.USER, None, ALICE)
    assert await world.store.claim(record.conversation.id) is None
    assert await world.library.add(999, Role.USER, "nowhere", ALICE) is None


async def test_changing_a_reply_changes_both_stored_copies(world: World) -> None:
    """One copy is in the history for the model, the other in the turn for the page."""
    accepted = await world.store.accept(said(1))
    number = accepted.conversation or 0
    claim = await answer_next(world.store, number)
    reply = (await world.library.latest(number, limit=9))[-1]
    changed = await world.library.change(number, reply.uid, role=None, content="Forty-three.")
    assert changed is not None
    assert (changed.content, changed.index) == ("Forty-three.", reply.index)
    kept = await world.library.reply(claim.fence.turn)
    assert kept is not None
    assert (kept.content, kept.display, kept.uid) == ("Forty-three.", "Forty-three.", reply.uid)


async def test_an_erased_message_is_hidden_and_its_index_is_not_reused(world: World) -> None:
    record = await world.library.create(new(opening=((Role.USER, "secret"), (Role.USER, "rest"))))
    number = record.conversation.id
    first = (await world.library.latest(number, limit=9))[0]
    assert await world.library.erase(number, first.uid)
    assert not await world.library.erase(number, first.uid)
    assert await world.library.change(number, first.uid, role=None, content="x") is None
    assert [m.content for m in await world.library.latest(number, limit=9)] == ["rest"]
    assert look(world.place, "SELECT content FROM messages WHERE uid = ?", first.uid) == [("",)]
    added = await world.library.add(number, Role.USER, "next", ALICE)
    assert added is not None
    assert added.index == 2


async def test_a_message_cannot_change_while_its_turn_is_unfinished(world: World) -> None:
    accepted = await world.store.accept(said(1))
    number = accepted.conversation or 0
    (question,) = await world.library.latest(number, limit=9)
    for _ in ("waiting", "running"):
        with pytest.raises(RecordHeld):
            await world.library.change(number, question.uid, role=None, content="x")
        with pytest.raises(RecordHeld):
            await world.library.erase(number, question.uid)
        claim = await claim_next(world.store, number)
    await world.store.conclude(claim.fence, ANSWER)
    assert await world.library.erase(number, question.uid)
    await world.store.finish(claim.fence)


async def test_a_role_cannot_change_in_a_question_or_a_reply(world: World) -> None:
    accepted = await world.store.accept(said(2), [said(1, "before")])
    number = accepted.conversation or 0
    await answer_next(world.store, number)
    before, question, reply = await world.library.latest(number, limit=9)
    changed = await world.library.change(number, before.uid, role=Role.SYSTEM, content=None)
    assert changed is not None
    assert (changed.role, changed.content) == (Role.SYSTEM, "before")
    for fixed in (question, reply):
        with pytest.raises(RecordHeld):
            await world.library.change(number, fixed.uid, role=Role.SYSTEM, content=None)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_every_list_uses_an_index(world: World) -> None:
    """Tables that grow (conversations, messages, turns) are never scanned."""
    from bot.store import message_views, views

    plans: list[str] = []

    def explained(db: object, sql: str, parameters: object = ()) -> None:
        plans.extend(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))  # type: ignore[attr-defined]

    class Explaining:
        def __init__(self, db: object) -> None:
            self.db = db

        def execute(self, sql: str, parameters: object = ()) -> object:
            explained(self.db, sql, parameters)
            return self.db.execute(sql, parameters)  # type: ignore[attr-defined]

    accepted = await world.store.accept(said(1))
    number = accepted.conversation or 0
    await answer_next(world.store, number)
    uid = await world.uid(number)
    place = RecordScope("sim", "w1", "c1")

    def read_all(db: object) -> None:
        from typing import Any, cast

        asked = cast(Any, Explaining(db))
        views.find(asked, uid, place)
        views.public(asked, uid)
        views.conversations(asked, place, None, 5)
        views.conversations(asked, RecordScope("sim", "w1"), uid, 5)
        views.public_conversations(asked, "sim", None, 5)
        views.threads(asked, place, None, 5)
        views.thread(asked, uid, place)
        message_views.messages(asked, number, -1, 5)
        message_views.latest(asked, number, 5)
        message_views.find_message(asked, "sim/w1/c1/m1")
        message_views.replies(asked, number, 5)
        message_views.reply(asked, 1)

    await world.store._read(read_all)
    assert plans
    scans = [plan for plan in plans if re.match(r"SCAN (conversations|messages|turns|pages)", plan)]
    assert scans == []
    assert [plan for plan in plans if "conversations" in plan and "TEMP B-TREE" in plan] == []


async def test_a_shared_thread_names_who_asked_unless_the_question_is_deleted(world: World) -> None:
    where = ConversationKey("web", TEAM, "ops", "t1")
    for number, author in enumerate((ANN, BEN), start=1):
        accepted = await world.store.accept(said(number, where=where, author=author))
        await answer_next(world.store, accepted.conversation)
    uid, scope = await world.uid(accepted.conversation), RecordScope("web", TEAM)

    async def people() -> tuple[str, ...]:
        thread = await world.library.thread(uid, scope)
        assert thread is not None
        return thread.people

    assert await people() == (ANN.id, BEN.id)
    await world.store.erase(said(2, where=where).source, with_reply=False)
    assert await people() == (ANN.id,)
