"""Random sequences of transitions, compared with a simple model of the store.

The transitions are plain functions of a connection, so thousands of them run in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bot.domain.errors import LostOwnership
from bot.domain.inbox import Address, Incoming, Receipt
from bot.domain.turns import Fence, Outcome, TurnResult
from bot.store import conversations, messages, queries, turns
from tests.support.new_database import in_memory
from tests.support.store_kit import check_invariants, key, said

T = TypeVar("T")
THREADS = st.sampled_from(["a", "b"])
NUMBERS = st.integers(0, 60)


@dataclass
class Held:
    """The claimed turn."""

    turn: int
    attempt: int
    epoch: int
    reply_index: int
    questions: list[int]
    concluded: bool = False
    pages: dict[int, str | None] = field(default_factory=dict)


@dataclass
class Thread:
    """The expected state of a conversation. `unbound` are the messages without an index."""

    id: int
    epoch: int = 1
    next_index: int = 0
    unbound: list[int] = field(default_factory=list)
    questions: set[int] = field(default_factory=set)  # those of `unbound` that are questions
    history: dict[int, dict[int, str]] = field(default_factory=dict)  # epoch → index → text
    held: Held | None = None

    def bind(self, until: int) -> list[int]:
        """Give the messages up to `until` their indexes; return the questions among them."""
        bound = sorted(number for number in self.unbound if number <= until)
        for number in bound:
            self.history.setdefault(self.epoch, {})[self.next_index] = str(number)
            self.next_index += 1
        self.unbound = [number for number in self.unbound if number > until]
        asked = [number for number in bound if number in self.questions]
        self.questions -= set(asked)
        return asked


class Transitions(RuleBasedStateMachine):
    """The store and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.db = self.new_database()
        self.threads: dict[str, Thread] = {}
        self.known: set[int] = set()
        self.stale: list[Fence] = []

    def new_database(self) -> Any:
        """An empty database."""
        return in_memory()

    def teardown(self) -> None:
        self.db.close()

    def run(self, transition: Callable[[], T]) -> T:
        """Run a transition as the writer does: completely or not at all."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            result = transition()
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")
        return result

    # ── messages ──────────────────────────────────────────────────────────────────────────────
    @rule(
        name=THREADS,
        number=NUMBERS,
        address=st.sampled_from(Address),
        backlog=st.lists(NUMBERS, max_size=3),
    )
    def accept(self, name: str, number: int, address: Address, backlog: list[int]) -> None:
        earlier = [self.message(name, item, Address.FOLLOW_UP) for item in backlog]
        accepted = self.run(
            lambda: messages.accept(self.db, 1.0, self.message(name, number, address), earlier)
        )
        assert accepted.receipt is self.expected(name, number, address)
        if accepted.receipt in (Receipt.KNOWN, Receipt.IGNORED):
            return
        assert accepted.conversation is not None
        if name not in self.threads:
            self.threads[name] = Thread(accepted.conversation)
            new = set(backlog) - self.known - {number}
            self.threads[name].unbound += sorted(new, key=backlog.index)
            self.known |= new
        thread = self.threads[name]
        thread.unbound.append(number)
        self.known.add(number)
        if accepted.receipt is Receipt.QUESTION:
            thread.questions.add(number)

    def message(self, name: str, number: int, address: Address) -> Incoming:
        return said(number, str(number), where=key(name), address=address)

    def expected(self, name: str, number: int, address: Address) -> Receipt:
        if number in self.known:
            return Receipt.KNOWN
        if name not in self.threads and not address.begins:
            return Receipt.IGNORED
        return Receipt.HISTORY if address is Address.ASIDE else Receipt.QUESTION

    # ── turns ─────────────────────────────────────────────────────────────────────────────────
    @precondition(lambda self: self.threads)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        thread = self.pick(data)
        claim = self.run(lambda: turns.claim(self.db, 1.0, thread.id))
        if thread.held is None and not thread.questions:
            assert claim is None
            return
        assert claim is not None
        if thread.held is None:
            asked = thread.bind(max(thread.questions))
            index = thread.next_index
            thread.next_index += 1
            thread.held = Held(claim.fence.turn, 0, thread.epoch, index, asked)
        else:
            self.stale.append(Fence(thread.held.turn, thread.held.attempt))
        held = thread.held
        held.attempt += 1
        assert claim.fence == Fence(held.turn, held.attempt)
        assert [int(question.text) for question in claim.questions] == held.questions
        assert (claim.epoch, claim.reply_index) == (held.epoch, held.reply_index)
        assert {page.number: page.message_id for page in claim.pages} == held.pages
        assert (claim.result is not None) is held.concluded
        before = [i for i in thread.history[held.epoch] if i < held.reply_index]
        assert claim.has_history is (len(before) > len(held.questions))

    @precondition(lambda self: any(thread.held for thread in self.threads.values()))
    @rule(
        data=st.data(), page=st.integers(0, 2), step=st.sampled_from(["intend", "show", "remove"])
    )
    def page(self, data: st.DataObject, page: int, step: str) -> None:
        held = self.pick_held(data)[1]
        fence, message = Fence(held.turn, held.attempt), f"r{len(self.stale)}"
        if step == "intend":
            self.run(lambda: turns.record_intent(self.db, fence, page))
            held.pages[page] = None
        elif step == "show":
            self.run(lambda: turns.record_shown(self.db, 1.0, fence, page, "c1", message))
            held.pages[page] = message
        else:
            self.run(lambda: turns.record_removal(self.db, fence, page))
            held.pages.pop(page, None)

    @precondition(lambda self: any(thread.held for thread in self.threads.values()))
    @rule(data=st.data(), content=st.sampled_from(["", "yes"]), outcome=st.sampled_from(Outcome))
    def conclude(self, data: st.DataObject, content: str, outcome: Outcome) -> None:
        thread, held = self.pick_held(data)
        fence = Fence(held.turn, held.attempt)
        result = TurnResult(outcome, content, display=content)
        if held.concluded:
            self.refused(lambda: turns.conclude(self.db, 1.0, fence, result))
            return
        self.run(lambda: turns.conclude(self.db, 1.0, fence, result))
        held.concluded = True
        if content:
            thread.history[held.epoch][held.reply_index] = content

    @precondition(lambda self: any(thread.held for thread in self.threads.values()))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        thread, held = self.pick_held(data)
        fence = Fence(held.turn, held.attempt)
        if not held.concluded:
            self.refused(lambda: turns.finish(self.db, 1.0, fence))
            return
        self.run(lambda: turns.finish(self.db, 1.0, fence))
        self.stale.append(fence)
        thread.held = None

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def come_too_late(self, data: st.DataObject) -> None:
        fence = data.draw(st.sampled_from(self.stale))
        late: list[Callable[[], object]] = [
            lambda: turns.record_intent(self.db, fence, 0),
            lambda: turns.record_shown(self.db, 1.0, fence, 0, "c1", "late"),
            lambda: turns.record_removal(self.db, fence, 0),
            lambda: turns.conclude(self.db, 1.0, fence, TurnResult(Outcome.FAILED, "x", "x")),
            lambda: turns.finish(self.db, 1.0, fence),
        ]
        self.refused(data.draw(st.sampled_from(late)))

    def refused(self, step: Callable[[], None]) -> None:
        try:
            self.run(step)
        except LostOwnership:
            return
        raise AssertionError("a stale fence was let through")

    # ── conversations ─────────────────────────────────────────────────────────────────────────
    @rule(name=THREADS)
    def reset(self, name: str) -> None:
        after = self.run(lambda: conversations.reset(self.db, 1.0, key(name)))
        thread = self.threads.get(name)
        assert (after is None) is (thread is None)
        if thread is not None and after is not None:
            thread.bind(10**9)
            thread.epoch += 1
            assert after.epoch == thread.epoch

    def pick(self, data: st.DataObject) -> Thread:
        return self.threads[data.draw(st.sampled_from(sorted(self.threads)))]

    def pick_held(self, data: st.DataObject) -> tuple[Thread, Held]:
        held = [name for name, thread in sorted(self.threads.items()) if thread.held]
        thread = self.threads[data.draw(st.sampled_from(held))]
        assert thread.held is not None
        return thread, thread.held

    # ── invariants ────────────────────────────────────────────────────────────────────────────
    @invariant()
    def the_rows_agree_with_each_other(self) -> None:
        check_invariants(self.db)

    @invariant()
    def the_history_of_every_epoch_is_as_the_model_says(self) -> None:
        for thread in self.threads.values():
            for epoch in range(1, thread.epoch + 1):
                rows = queries.history(self.db, thread.id, epoch, 10**9, 10**9)
                assert {row.index: row.content for row in rows} == thread.history.get(epoch, {})
                assert [row.index for row in rows] == sorted(
                    (row.index for row in rows), reverse=True
                )

    @invariant()
    def what_is_left_to_do_is_known(self) -> None:
        left = {t.id for t in self.threads.values() if t.held is not None or t.questions}
        assert set(queries.list_unfinished(self.db, "sim")) == left


TestTransitions = Transitions.TestCase
TestTransitions.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
