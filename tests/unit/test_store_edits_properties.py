"""Random sequences of all transitions: no constraint fails, and the rows stay consistent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.errors import LostOwnership
from bot.domain.inbox import Address, Effect
from bot.domain.turns import Claim, Outcome, TurnResult
from bot.store import conversations, edits, messages, queries, retries, turns
from tests.support.new_database import in_memory
from tests.support.store_kit import ANN, check_invariants, key, said

NUMBERS = st.integers(1, 8)
STEPS = st.one_of(
    st.tuples(st.just("say"), NUMBERS, st.sampled_from(Address)),
    st.tuples(st.sampled_from(["edit", "erase", "erase with reply", "erase page"]), NUMBERS),
    st.tuples(st.sampled_from(["claim", "show", "conclude", "finish"])),
    st.tuples(st.sampled_from(["reopen", "go on", "reset", "undo"])),
)


class Random:
    """A store, and a worker that answers its one conversation."""

    def __init__(self, db: Any = None) -> None:
        self.db = in_memory() if db is None else db
        self.claim: Claim | None = None
        self.now = 0.0

    def check_after_each(self, steps: list[Any]) -> None:
        """Take the steps, then end every turn, asserting the invariants after each step."""
        for name, *args in steps:
            self.step(name, *args)
        self.work_off()

    def step(self, name: str, *args: Any) -> None:
        self.now += 1
        self.db.execute("BEGIN IMMEDIATE")
        try:
            self.steps()[name](*args)
            self.db.execute("COMMIT")
        except LostOwnership:
            self.db.execute("ROLLBACK")
            self.claim = None
        check_invariants(self.db)

    def steps(self) -> dict[str, Callable[..., Any]]:
        db, now = self.db, self.now
        return {
            "say": lambda n, how: messages.accept(db, now, said(n, f"q{n}", address=how)),
            "edit": lambda n: edits.edit(db, now, said(n).source, f"edit {now}", now),
            "erase": lambda n: edits.erase(db, now, said(n).source, with_reply=False),
            "erase with reply": lambda n: edits.erase(db, now, said(n).source, with_reply=True),
            "erase page": lambda n: edits.erase(db, now, f"sim/w1/c1/r{n}", with_reply=False),
            "reopen": lambda: self.asked_again(retries.reopen(db, now, key(), None).effect),
            "go on": lambda: retries.continue_reply(db, now, key(), None, ANN, "Go on."),
            "reset": lambda: conversations.reset(db, now, key()),
            "undo": lambda: conversations.undo_reset(db, now, key(), None),
            "claim": self.take,
            "show": self.show,
            "conclude": self.conclude,
            "finish": self.finish,
        }

    def asked_again(self, effect: Effect) -> None:
        held = self.db.execute("SELECT 1 FROM turns WHERE state = 'running'").fetchone()
        assert effect is not Effect.REOPENED or held is not None

    def take(self) -> None:
        self.claim = turns.claim(self.db, self.now, 1) or self.claim

    def show(self) -> None:
        if self.claim is not None:
            page = int(self.now) % 2
            turns.record_intent(self.db, self.claim.fence, page)
            message = f"r{int(self.now) % 8}"
            if not turns.record_shown(self.db, self.now, self.claim.fence, page, "c1", message):
                self.claim = None  # people have deleted it, so the reply was taken back

    def conclude(self) -> None:
        if self.claim is not None:
            end = TurnResult(Outcome.ANSWERED, "Yes.", "Yes.")
            turns.conclude(self.db, self.now, self.claim.fence, end)

    def finish(self) -> None:
        if self.claim is not None:
            turns.finish(self.db, self.now, self.claim.fence)

    def work_off(self) -> None:
        """Claim and finish all remaining turns."""
        while (claim := turns.claim(self.db, self.now, 1)) is not None:
            if claim.result is None:
                end = TurnResult(Outcome.ANSWERED, "Yes.", "Yes.")
                turns.conclude(self.db, self.now, claim.fence, end)
            turns.finish(self.db, self.now, claim.fence)
        assert queries.list_unfinished(self.db, "sim") == []
        check_invariants(self.db)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=40))
def test_after_any_sequence_of_changes_the_rows_agree_and_every_turn_ends(steps: list[Any]) -> None:
    world = Random()
    try:
        world.check_after_each(steps)
    finally:
        world.db.close()
