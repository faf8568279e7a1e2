"""A person's list of conversations: its order, its marks, and deletion that can be undone."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from bot.domain.conversations import Author, ConversationKey, Role
from bot.domain.inbox import Address, Incoming
from bot.domain.records import EntryPosition, NewConversation, RecordScope, ThreadEntry
from bot.domain.turns import Outcome, TurnResult
from bot.privacy.deletions import GRACE_SECONDS, DeletionKeeper
from bot.store.library import SqlLibrary
from bot.store.store import SqlStore
from bot.store.thread_list import MOST_HELD_SECONDS
from tests.support.clock import ManualClock
from tests.support.store_kit import Place, answer_next, claim_next, look, opened

ALICE = Author("alice", "alice")
MINE = RecordScope("web", "alice", "general")
OTHERS = RecordScope("web", "bob", "general")
BEGUN = 1_700_000_000.0


class World:
    """Alice's threads, in a store whose clock only the test advances."""

    def __init__(self, place: Place, store: SqlStore, clock: ManualClock) -> None:
        self.place, self.store, self.clock = place, store, clock
        self.library: SqlLibrary = store.library()
        self._position = 0

    async def ask(self, thread: str, text: str = "a question", *, after: float = 1.0) -> int:
        """Ask a question, `after` seconds after the previous action; returns the conversation's row
        id."""
        self.clock.jump(after)
        self._position += 1
        accepted = await self.store.accept(
            Incoming(
                key=ConversationKey("web", "alice", "general", thread),
                channel="general",
                message_id=f"m{self._position}",
                position=self._position,
                author=ALICE,
                text=text,
                address=Address.MENTION,
                sent_at=self.clock.time(),
            )
        )
        assert accepted.conversation is not None
        return accepted.conversation

    async def answer(self, conversation: int, text: str = "An answer.") -> None:
        self.clock.jump(1.0)
        result = TurnResult(outcome=Outcome.ANSWERED, content=text, display=text)
        await answer_next(self.store, conversation, result)

    async def uid(self, conversation: int) -> str:
        (row,) = look(self.place, "SELECT uid FROM conversations WHERE id = ?", conversation)
        return str(row[0])

    async def entries(self, *, archived: bool = False) -> list[ThreadEntry]:
        return list(await self.library.entries(MINE, archived=archived, after=None, limit=100))

    async def names(self, *, archived: bool = False) -> list[str]:
        return [each.record.conversation.name for each in await self.entries(archived=archived)]


@pytest.fixture
async def world(place: Place):  # type: ignore[no-untyped-def]
    clock = ManualClock(BEGUN)
    async with opened(place, clock=clock) as store:
        yield World(place, store, clock)


# ── the order ─────────────────────────────────────────────────────────────────────────────────
async def test_the_list_is_sorted_by_the_last_question_or_answer(world: World) -> None:
    first = await world.ask("a", "first")
    await world.ask("b", "second")
    assert await world.names() == ["second", "first"]
    await world.answer(first)
    assert await world.names() == ["first", "second"]


async def test_a_new_name_or_model_moves_nothing_and_a_pin_moves_to_the_top(world: World) -> None:
    old = await world.uid(await world.ask("a", "old"))
    await world.ask("b", "new")
    world.clock.jump(60)
    await world.library.update(old, MINE, name="renamed", model="m")
    assert await world.names() == ["new", "renamed"]
    changed = await world.library.update(old, MINE, pinned=True)
    assert changed is not None and changed.pinned
    assert await world.names() == ["renamed", "new"]
    await world.library.update(old, MINE, pinned=False)
    assert await world.names() == ["new", "renamed"]


async def test_pages_of_the_list_have_each_thread_once(world: World) -> None:
    """Several threads have the same time, and pages cross the boundary of the pinned ones."""
    for n in range(9):
        conversation = await world.ask(f"t{n}", f"number {n}", after=n % 2)
        if n in (2, 5, 6):
            await world.library.update(await world.uid(conversation), MINE, pinned=True)
    found: list[str] = []
    after = None
    while page := await world.library.entries(MINE, archived=False, after=after, limit=2):
        found += [each.record.uid for each in page]
        last = page[-1]
        after = EntryPosition(last.record.pinned, last.active_at, last.record.uid)
    assert found == [each.record.uid for each in await world.entries()]
    assert len(set(found)) == 9


async def test_no_one_sees_the_list_of_another_person(world: World) -> None:
    uid = await world.uid(await world.ask("a"))
    assert not await world.library.entries(OTHERS, archived=False, after=None, limit=9)
    assert await world.library.update(uid, OTHERS, pinned=True) is None
    assert not await world.library.mark_read(uid, OTHERS, world.clock.time())
    assert not await world.library.hide(uid, OTHERS)
    await world.library.hide(uid, MINE)
    assert not await world.library.unhide(uid, OTHERS)
    assert await world.entries() == []


async def test_a_thread_without_a_message_is_not_listed(world: World) -> None:
    key = ConversationKey("web", "alice", "general", "t")
    opening = ((Role.SYSTEM, "be kind"),)
    new = NewConversation(key=key, uid=str(uuid.uuid4()), name="n", began_by=ALICE, opening=opening)
    await world.library.create(new)
    assert await world.entries() == []
    await world.ask("t")
    assert await world.names() == ["n"]


# ── what a row shows ──────────────────────────────────────────────────────────────────────────
async def test_a_row_shows_the_newest_text_that_is_left(world: World) -> None:
    conversation = await world.ask("a", "what is it?")
    (row,) = await world.entries()
    assert (row.last_role, row.last, row.record.busy) == (Role.USER, "what is it?", True)
    await world.answer(conversation, "It is: this.")
    (row,) = await world.entries()
    assert (row.last_role, row.last, row.record.busy) == (Role.ASSISTANT, "It is: this.", False)
    await world.ask("a", "and then?")
    (row,) = await world.entries()
    assert (row.last, row.record.busy) == ("and then?", True)  # it has no index yet
    await world.answer(conversation, "Nothing.")
    *_, answer = await world.library.latest(conversation, limit=9)
    await world.library.erase(conversation, answer.uid)
    (row,) = await world.entries()
    assert row.last == "and then?"


async def test_an_answer_is_unread_until_it_was_seen(world: World) -> None:
    conversation = await world.ask("a")
    uid = await world.uid(conversation)
    (row,) = await world.entries()
    assert (row.unread, row.answered_at) == (False, None)
    await world.answer(conversation)
    (row,) = await world.entries()
    assert row.unread and row.answered_at == world.clock.time()
    assert await world.library.mark_read(uid, MINE, row.answered_at)
    (row,) = await world.entries()
    assert not row.unread
    assert not await world.library.mark_read(uid, MINE, BEGUN)  # an older device
    await world.ask("a", "again")
    await world.answer(conversation)
    (row,) = await world.entries()
    assert row.unread


async def test_an_archived_thread_returns_with_its_next_message(world: World) -> None:
    uid = await world.uid(await world.ask("a", "kept"))
    await world.ask("b", "listed")
    await world.library.update(uid, MINE, archived=True)
    assert await world.names() == ["listed"]
    assert await world.names(archived=True) == ["kept"]
    listed = await world.library.conversations(MINE, before=None, limit=9, archived=True)
    assert [each.uid for each in listed] == [uid]
    others = await world.library.conversations(MINE, before=None, limit=9, archived=False)
    assert [each.conversation.name for each in others] == ["listed"]
    await world.ask("a", "news")
    assert await world.names() == ["kept", "listed"]
    assert await world.names(archived=True) == []


# ── deletion ──────────────────────────────────────────────────────────────────────────────────
async def test_a_deleted_thread_is_found_nowhere_and_returns_whole(world: World) -> None:
    conversation = await world.ask("a", "mine")
    await world.answer(conversation)
    uid = await world.uid(conversation)
    before = await world.library.thread(uid, MINE)
    assert await world.library.hide(uid, MINE)
    assert not await world.library.hide(uid, MINE)
    assert await world.entries() == []
    assert await world.library.find(uid, MINE) is None
    assert await world.library.thread(uid, MINE) is None
    assert not await world.library.threads(MINE, before=None, limit=9)
    assert not await world.library.conversations(MINE, before=None, limit=9)
    assert await world.library.update(uid, MINE, name="other") is None
    assert await world.library.unhide(uid, MINE)
    assert await world.library.thread(uid, MINE) == before


async def test_a_deleted_thread_is_erased_when_it_is_too_late_to_undo(world: World) -> None:
    conversation = await world.ask("a", "mine")
    await world.answer(conversation)
    await world.ask("b", "another")
    keeper = DeletionKeeper(library=world.library, clock=world.clock)
    uid = await world.uid(conversation)
    await world.library.hide(uid, MINE)
    world.clock.jump(GRACE_SECONDS - 0.5)
    assert await keeper.erase_due() == 0
    world.clock.jump(1.0)
    assert await keeper.erase_due() == 1
    assert not await world.library.unhide(uid, MINE)
    for table in ("messages", "turns"):
        ((left,),) = look(
            world.place, f"SELECT count(*) FROM {table} WHERE conversation_id = ?", conversation
        )
        assert left == 0
    assert await world.names() == ["another"]


async def test_a_deletion_that_is_held_for_ever_ends(world: World) -> None:
    """With any client: ten minutes after it at the latest, and again after an undo."""
    uid = await world.uid(await world.ask("a", "mine"))
    keeper = DeletionKeeper(library=world.library, clock=world.clock)
    for _ in range(2):
        await world.library.hide(uid, MINE)
        asked = 0
        while await world.library.hold(uid, MINE):
            assert await keeper.erase_due() == 0
            world.clock.jump(GRACE_SECONDS / 2)
            asked += 1
        assert asked == MOST_HELD_SECONDS / (GRACE_SECONDS / 2)
        assert await world.library.unhide(uid, MINE)
    await world.library.hide(uid, MINE)
    world.clock.jump(MOST_HELD_SECONDS)
    assert not await world.library.hold(uid, MINE)
    assert await keeper.erase_due() == 1


async def test_a_thread_that_cannot_be_erased_holds_up_no_other() -> None:
    class OneBad:
        """A library with three deleted threads, the first of which fails unexpectedly."""

        def __init__(self) -> None:
            self.left = ["bad", "b", "c"]

        async def hidden(self, *, before: float, limit: int) -> list[str]:
            return list(self.left)

        async def erase_hidden(self, uid: str, *, before: float) -> bool:
            if uid == "bad":
                raise ValueError("unforeseen")
            self.left.remove(uid)
            return True

    library: Any = OneBad()
    keeper = DeletionKeeper(library=library, clock=ManualClock())
    assert await keeper.erase_due() == 2
    assert library.left == ["bad"]


async def test_an_undo_in_the_last_moment_wins_or_loses_as_a_whole(world: World) -> None:
    uid = await world.uid(await world.ask("a"))
    await world.library.hide(uid, MINE)
    world.clock.jump(GRACE_SECONDS + 1)
    await world.library.unhide(uid, MINE)
    assert not await world.library.erase_hidden(uid, before=world.clock.time())
    assert len(await world.entries()) == 1


async def test_a_waiting_question_of_a_deleted_thread_is_not_answered(world: World) -> None:
    """Its running turn may end as stopped; no other turn begins, even after an undo."""
    conversation = await world.ask("a", "running")
    claim = await claim_next(world.store, conversation)
    await world.ask("a", "waiting")
    uid = await world.uid(conversation)
    await world.library.hide(uid, MINE)
    await world.store.conclude(
        claim.fence, TurnResult(outcome=Outcome.STOPPED, content="Half", display="Half")
    )
    await world.store.finish(claim.fence)
    assert await world.store.claim(conversation) is None
    await world.library.unhide(uid, MINE)
    (row,) = await world.entries()
    assert not row.record.busy
