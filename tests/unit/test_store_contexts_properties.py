"""Random sequences of transitions: windows never move back, and a summary repeats no old text.

The model keeps what each summary's writer saw. A stored summary must cover a prefix of the present
epoch whose text is still the same, whatever people edit, erase, reset and restore while it is being
written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.attachments import IncomingAttachment
from bot.domain.context import ContextState, Summary
from bot.domain.conversations import Role
from bot.domain.errors import LostOwnership, RecordHeld
from bot.domain.inbox import Address
from bot.domain.turns import Claim, Outcome, TurnResult
from bot.store import (
    contexts,
    conversations,
    edits,
    messages,
    queries,
    record_edits,
    retries,
    turns,
)
from tests.support.new_database import in_memory
from tests.support.store_kit import BEN, check_invariants, key, said

NUMBERS = st.integers(1, 8)
STEPS = st.one_of(
    st.tuples(st.just("say"), NUMBERS, st.booleans()),
    st.tuples(st.just("edit"), NUMBERS, st.booleans()),
    st.tuples(st.sampled_from(["erase", "erase page", "add", "change", "delete"]), NUMBERS),
    st.tuples(st.sampled_from(["claim", "conclude", "finish", "reopen", "reset", "undo"])),
    st.tuples(st.just("move"), st.integers(0, 20), st.integers(0, 20)),
    st.tuples(st.just("write"), st.integers(0, 20)),
    st.tuples(st.sampled_from(["save", "tell"])),
)
Seen = tuple[tuple[int, str, str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Writing:
    """A summary being written: its text, its source, and the revision that was read."""

    epoch: int
    revision: int
    summary: Summary
    seen: Seen


@dataclass
class Window:
    """The expected window of an epoch, and its expected summary's source."""

    start: int = 0
    stubs_before: int = 0
    told: bool = False
    written: Writing | None = None


@dataclass
class World:
    """One conversation and its model."""

    db: sqlite3.Connection
    now: float = 0.0
    claim: Claim | None = None
    writing: Writing | None = None
    changed: bool = False  # since `writing` began
    windows: dict[int, Window] = field(default_factory=dict)

    def check_after_each(self, steps: list[Any]) -> None:
        """Take the steps, asserting the invariants after each."""
        for name, *args in steps:
            self.step(name, *args)

    def step(self, name: str, *args: Any) -> None:
        self.now += 1
        before = self.everything()
        self.db.execute("BEGIN IMMEDIATE")
        try:
            self.steps()[name](*args)
            self.db.execute("COMMIT")
        except LostOwnership:
            self.db.execute("ROLLBACK")
            self.claim = None
        except RecordHeld:
            self.db.execute("ROLLBACK")
        self.changed = self.changed or self.everything() != before
        self.check()

    def steps(self) -> dict[str, Callable[..., Any]]:
        db, now = self.db, self.now
        return {
            "say": lambda n, file: messages.accept(
                db, now, said(n, f"q{n}", attachments=some(file))
            ),
            "edit": lambda n, file: edits.edit(
                db, now, said(n).source, f"edit {now % 3}", now, some(file)
            ),
            "erase": lambda n: edits.erase(db, now, said(n).source, with_reply=n % 2 == 0),
            "erase page": lambda n: edits.erase(db, now, f"sim/w1/c1/r{n}", with_reply=False),
            "add": lambda n: (
                self.exists() and record_edits.add(db, now, 1, Role.USER, f"p{n}", None)
            ),
            "change": lambda n: record_edits.change(
                db, now, 1, self.uid(n), Role.USER if n % 2 else None, f"c{now % 3}"
            ),
            "delete": lambda n: record_edits.erase(db, now, 1, self.uid(n)),
            "reopen": lambda: retries.reopen(db, now, key(), None),
            "reset": lambda: conversations.reset(db, now, key()),
            "undo": self.undo,
            "claim": self.take,
            "conclude": self.conclude,
            "finish": self.finish,
            "move": self.move,
            "tell": self.tell,
            "write": self.write,
            "save": self.save,
        }

    # ── turns ─────────────────────────────────────────────────────────────────────────────────
    def take(self) -> None:
        self.claim = turns.claim(self.db, self.now, 1) or self.claim

    def conclude(self) -> None:
        if self.claim is not None:
            page = f"r{int(self.now) % 8}"
            if not turns.record_shown(self.db, self.now, self.claim.fence, 0, "c1", page):
                self.claim = None
                return
            end = TurnResult(Outcome.ANSWERED, "Yes.", "Yes.")
            turns.conclude(self.db, self.now, self.claim.fence, end)

    def finish(self) -> None:
        if self.claim is not None:
            turns.finish(self.db, self.now, self.claim.fence)

    def undo(self) -> None:
        present = self.epoch()
        older = self.db.execute(
            "SELECT max(epoch) FROM messages WHERE epoch < ? AND idx IS NOT NULL"
            " AND erased_at IS NULL",
            (present,),
        ).fetchone()[0]
        undone = conversations.undo_reset(self.db, self.now, key(), None)
        assert (undone is None) is (older is None)
        if older is not None:
            past, now = self.window(older), self.window(present)
            now.start = max(past.start, now.start)
            now.stubs_before = max(past.stubs_before, now.stubs_before)
            now.told, now.written = past.told or now.told, past.written
            del self.windows[older]

    # ── the context ───────────────────────────────────────────────────────────────────────────
    def move(self, start: int, stubs: int) -> None:
        epoch = self.epoch()
        contexts.move_window(self.db, 1, epoch=epoch, start=start, stubs_before=stubs)
        if self.exists():
            window = self.window(epoch)
            window.start = max(start, window.start)
            window.stubs_before = max(stubs, window.stubs_before)

    def tell(self) -> None:
        contexts.record_told(self.db, 1, epoch=self.epoch(), turn=0)
        if self.exists():
            self.window(self.epoch()).told = True

    def write(self, before: int) -> None:
        """Begin a summary, which ends at a message that its writer has read and never covers all
        messages."""
        known = self.below(before)
        before = max((index + 1 for index, *_ in known), default=0)
        summary = Summary(f"summary {self.now}", before, "m")
        revision = self.state().revision
        self.writing = Writing(self.epoch(), revision, summary, known)
        self.changed = False

    def save(self) -> None:
        """A refused summary has no effect; a summary of an unchanged conversation is saved."""
        if self.writing is None or not self.exists():
            return
        writing = self.writing
        saved = contexts.save_summary(
            self.db,
            self.now,
            1,
            epoch=writing.epoch,
            revision=writing.revision,
            summary=writing.summary,
        )
        assert saved or self.changed
        if saved:
            assert writing.epoch == self.epoch()
            window = self.window(writing.epoch)
            window.written, window.start = writing, max(writing.summary.before, window.start)

    # ── reading ───────────────────────────────────────────────────────────────────────────────
    def exists(self) -> bool:
        return queries.find(self.db, key()) is not None

    def epoch(self) -> int:
        conversation = queries.find(self.db, key())
        return 1 if conversation is None else conversation.epoch

    def window(self, epoch: int) -> Window:
        return self.windows.setdefault(epoch, Window())

    def state(self) -> ContextState:
        return contexts.read_state(self.db, 1, epoch=self.epoch(), model="m")

    def uid(self, number: int) -> str:
        row = self.db.execute("SELECT uid FROM messages WHERE id = ?", (number,)).fetchone()
        return "" if row is None else str(row["uid"])

    def below(self, before: int) -> Seen:
        """The messages of the present epoch below an index, with their files."""
        rows = queries.history(self.db, 1, self.epoch(), before=before, limit=99)
        files = self.db.execute("SELECT message_id, uid FROM attachments ORDER BY number")
        names = files.fetchall()
        return tuple(
            (row.index, row.role.value, row.content, tuple(f[1] for f in names if f[0] == row.id))
            for row in rows
        )

    def everything(self) -> tuple[object, ...]:
        """All messages and files, because a change in an earlier epoch may also refuse a
        summary."""
        rows = self.db.execute("SELECT id, epoch, idx, role, content, erased_at FROM messages")
        files = self.db.execute("SELECT message_id, uid FROM attachments")
        return self.epoch(), *map(tuple, rows), *map(tuple, files)

    def check(self) -> None:
        check_invariants(self.db)
        state, window = self.state(), self.window(self.epoch())
        expected = (window.start, window.stubs_before, window.told)
        assert (state.start, state.stubs_before, state.told) == expected
        if state.summary is None:
            return
        assert window.written is not None
        assert state.summary == window.written.summary
        assert self.below(state.summary.before) == window.written.seen


def some(file: bool) -> list[IncomingAttachment]:
    return [IncomingAttachment(name="a.txt", data=b"alpha", identity="F1")] if file else []


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=50))
def test_a_summary_covers_what_its_model_saw_and_windows_only_advance(steps: list[Any]) -> None:
    db = in_memory()
    try:
        World(db).check_after_each(steps)
    finally:
        db.close()


def dialogue(world: World, *steps: str) -> None:
    for step in steps:
        name, *args = step.split()
        world.step(name, *(int(arg) for arg in args))


def opened() -> World:
    db = in_memory()
    return World(db)


ASKED = ("claim", "conclude", "finish")


def test_an_older_epochs_summary_returns_with_its_messages() -> None:
    world = opened()
    dialogue(world, "say 1 0", *ASKED, "write 2", "save", "move 1 1", "reset")
    assert world.state().summary is None
    assert world.state().start == 0
    dialogue(world, "say 2 0", *ASKED, "write 4", "save", "undo")
    state = world.state()
    assert state.summary is not None
    assert (state.summary.before, state.start, state.stubs_before) == (2, 4, 1)


def test_a_present_summary_goes_when_messages_that_it_never_saw_join() -> None:
    world = opened()
    dialogue(world, "say 1 0", *ASKED, "reset", "say 2 0", *ASKED, "write 4", "save")
    assert world.state().summary is not None
    dialogue(world, "write 4", "undo", "save")
    assert world.state().summary is None


def test_a_reply_that_arrives_between_newer_messages_ends_the_summary() -> None:
    """A turn that runs across a reset and its undo gets its reserved index afterwards."""
    world = opened()
    dialogue(world, "say 1 0", "claim", "add 1", "write 3", "save")
    assert world.state().summary is not None
    dialogue(world, "conclude")
    assert world.state().summary is None


def test_a_file_that_an_edit_adds_or_removes_ends_the_summary() -> None:
    for first, second in ((0, 1), (1, 0)):
        world = opened()
        dialogue(world, f"say 1 {first}", *ASKED, "say 2 0", *ASKED, "write 3", "save")
        text = "q1"
        world.db.execute("UPDATE messages SET edited_at = NULL")
        edits.edit(world.db, 99.0, said(1).source, text, 99.0, some(bool(second)))
        assert world.state().summary is None


def test_newer_messages_leave_the_summary_alone() -> None:
    world = opened()
    dialogue(world, "say 1 0", *ASKED, "write 2", "say 2 0", *ASKED, "save", "edit 2 0")
    assert world.state().summary is not None


def test_a_conversation_is_shared_if_it_began_with_a_mention_or_a_second_person_speaks() -> None:
    world = opened()
    messages.accept(world.db, 1.0, said(1, where=key("dm"), address=Address.DIRECT))
    assert not shared(world, "dm")
    messages.accept(world.db, 1.0, said(2, where=key("dm"), address=Address.DIRECT))
    assert not shared(world, "dm")
    messages.accept(world.db, 1.0, said(9, where=key("dm"), address=Address.DIRECT, author=BEN))
    assert shared(world, "dm")
    messages.accept(world.db, 1.0, said(3, where=key("channel"), address=Address.MENTION))
    assert shared(world, "channel")


def shared(world: World, thread: str) -> bool:
    conversation = queries.find(world.db, key(thread))
    assert conversation is not None
    return conversation.shared
