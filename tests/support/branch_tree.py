"""Histories of questions, answers, edits and deletions, compared with a tree.

The tree says which branch is shown. After every step, the history, the questions of a claim, the
versions of each place, the summary and the window must fit that branch. The process may die at any
time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bot.domain.context import Summary
from bot.domain.errors import LostOwnership, RecordHeld
from bot.domain.inbox import Effect, Receipt
from bot.domain.turns import Claim, Outcome, TurnResult
from bot.store import (
    branches,
    contexts,
    conversations,
    message_views,
    messages,
    queries,
    record_edits,
    turns,
    versions,
)
from bot.store.database import Database
from bot.store.rows import EVERYTHING
from tests.support.store_kit import check_rows, key, said

STEPS = {
    "ask": 3, "reply": 8, "edit": 4, "again": 4, "show": 6, "erase": 1, "summarize": 2, "move": 2,
    "claim": 1, "answer": 1, "finish": 1, "die": 1, "reset": 0.3, "undo": 0.3,
}  # fmt: skip
"""Relative frequencies of the steps: mostly whole turns, so that there is something to edit."""


@dataclass(eq=False)
class Node:
    """A question or an answer, with the alternatives of what follows it."""

    text: str = ""
    is_answer: bool = False
    number: int = 0  # of the message that asked
    index: int | None = None
    turn: int = 0
    alive: bool = True
    next: list[Node] = field(default_factory=list)
    chosen: int = 0

    def path(self) -> Iterator[Node]:
        """The messages that are shown below this node."""
        if self.next:
            yield self.next[self.chosen]
            yield from self.next[self.chosen].path()

    def add(self, node: Node) -> None:
        """Show another alternative."""
        self.next.append(node)
        self.chosen = len(self.next) - 1

    def everything(self) -> Iterator[Node]:
        """The messages below this node in any branch."""
        for each in self.next:
            yield each
            yield from each.everything()


class World:
    """One conversation, and its tree."""

    def __init__(self, db: Database) -> None:
        self.db, self.now, self.asked = db, 0.0, 0
        self.epochs = [Node()]
        self.claim: Claim | None = None
        self.running: Node | None = None  # the answer that a turn has yet to write
        self.concluded = False
        self.summary: tuple[int, list[str]] | None = None
        self.window: tuple[int, list[int]] | None = None

    # ── the tree ──────────────────────────────────────────────────────────────────────────────
    @property
    def path(self) -> list[Node]:
        return list(self.epochs[-1].path())

    @property
    def waiting(self) -> list[Node]:
        return [node for node in self.path if node.index is None]

    @property
    def is_busy(self) -> bool:
        return bool(self.waiting) or (self.running is not None and not self.concluded)

    def parent(self, node: Node) -> Node:
        for root in self.epochs:
            for each in (root, *root.everything()):
                if node in each.next:
                    return each
        raise AssertionError(node)

    def pick(self, number: int, fits: Callable[[Node], bool]) -> Node | None:
        found = [node for node in self.path if fits(node)]
        return found[number % len(found)] if found else None

    # ── steps ─────────────────────────────────────────────────────────────────────────────────
    def step(self, name: str, number: int) -> None:
        self.now += 1
        self.db.execute("SAVEPOINT step")
        try:
            getattr(self, f"do_{name}")(number)
            self.db.execute("RELEASE SAVEPOINT step")
        except (RecordHeld, LostOwnership):
            self.db.execute("ROLLBACK TO SAVEPOINT step")
        self.check()

    def do_ask(self, _: int) -> None:
        node = self.question()
        accepted = messages.accept(self.db, self.now, said(node.number, node.text))
        assert accepted.receipt is Receipt.QUESTION
        [self.epochs[-1], *self.path][-1].add(node)

    def question(self) -> Node:
        self.asked += 1
        return Node(f"q{self.asked}", number=self.asked)

    def do_edit(self, number: int) -> None:
        old = self.pick(number, lambda node: not node.is_answer and node.alive)
        if old is None:
            return
        node = self.question()
        incoming = said(node.number, node.text)
        incoming = replace(incoming, revises=said(old.number).source)
        if self.is_busy:
            with pytest.raises(RecordHeld):
                messages.accept(self.db, self.now, incoming)
            raise RecordHeld
        messages.accept(self.db, self.now, incoming)
        self.settle()
        self.parent(old).add(node)

    def do_again(self, number: int) -> None:
        old = self.pick(number, lambda node: node.is_answer)
        if old is None:
            return
        change = branches.answer_again(self.db, self.now, key(), old.turn)
        if self.is_busy:
            assert change.effect is Effect.BUSY
            return
        if change.effect is Effect.UNKNOWN:
            assert not any(each.alive for each in self.questions(old))
            return
        assert change.effect is Effect.REOPENED
        self.settle()
        (index,) = self.db.execute(
            "SELECT reply_idx FROM turns WHERE id = ?", (change.turn,)
        ).fetchone()
        node = Node(is_answer=True, index=index, turn=change.turn)
        self.parent(old).add(node)
        self.running, self.concluded, self.claim = node, False, None

    def questions(self, answer: Node) -> list[Node]:
        """The questions shown directly above an answer, from the turn of its first version."""
        first = self.parent(answer).next[0]
        return [each for each in self.path if not each.is_answer and each.turn == first.turn]

    def do_erase(self, number: int) -> None:
        node = self.pick(number, lambda each: each.alive and bool(each.text))
        if node is None or node.index is None:
            return
        (uid,) = self.db.execute("SELECT uid FROM messages WHERE idx = ?", (node.index,)).fetchone()
        in_use = self.running is not None and not self.concluded
        in_use = in_use and self.running is not None and node in self.questions(self.running)
        if in_use:
            with pytest.raises(RecordHeld):
                record_edits.erase(self.db, self.now, 1, uid)
            raise RecordHeld
        assert record_edits.erase(self.db, self.now, 1, uid)
        node.alive = False

    def do_show(self, number: int) -> None:
        places = [
            each
            for each in (self.epochs[-1], *self.path)
            if len(each.next) > 1 and not self.is_busy
        ]
        if not places:
            return
        place = places[number % len(places)]
        wanted = (place.chosen + 1 + number) % len(place.next)
        version = place.next[wanted].index
        assert version is not None
        change = branches.show_version(self.db, self.now, key(), version)
        if wanted == place.chosen:
            assert change.effect is Effect.SAME
            return
        assert change.effect is Effect.STORED
        self.settle()
        place.chosen = wanted

    def settle(self) -> None:
        """End a turn whose answer is stored."""
        self.running, self.concluded, self.claim = None, False, None

    def do_claim(self, _: int = 0) -> None:
        if self.epochs[-1].next == [] and len(self.epochs) == 1:
            return
        claim = turns.claim(self.db, self.now, 1)
        if claim is None:
            assert not self.waiting and self.running is None
            return
        if self.running is None:
            asked = self.waiting
            first = claim.reply_index - len(asked)
            for index, node in enumerate(asked, first):
                node.index, node.turn = index, claim.fence.turn
            node = Node(is_answer=True, index=claim.reply_index, turn=claim.fence.turn)
            asked[-1].next.insert(0, node)
            self.running, self.concluded = node, False
        self.claim = claim
        assert claim.fence.turn == self.running.turn
        asked = [each for each in self.questions(self.running) if each.alive]
        assert [each.text for each in claim.asked] == [each.text for each in asked]
        assert (claim.result is not None) is self.concluded

    def do_answer(self, _: int = 0) -> None:
        if self.claim is None or self.running is None or self.concluded:
            return
        text = f"a{self.now}" if int(self.now) % 4 else ""
        result = TurnResult(Outcome.ANSWERED, text, text or "*stopped*", tells_summary=True)
        turns.conclude(self.db, self.now, self.claim.fence, result)
        self.running.text, self.concluded = text, True

    def do_finish(self, _: int = 0) -> None:
        if self.claim is not None and self.concluded:
            turns.finish(self.db, self.now, self.claim.fence)
            self.settle()

    def do_reply(self, _: int = 0) -> None:
        self.do_claim()
        self.do_answer()
        self.do_finish()

    def do_die(self, _: int = 0) -> None:
        """The process dies: only the database is left."""
        self.claim = None

    def do_reset(self, _: int = 0) -> None:
        done = not self.waiting and self.running is None
        if not done or not any(each.alive and each.text for each in self.path):
            return
        conversations.reset(self.db, self.now, key())
        self.epochs.append(Node())

    def do_undo(self, _: int = 0) -> None:
        if self.is_busy or len(self.epochs) < 2:
            return
        if conversations.undo_reset(self.db, self.now, key(), None) is None:
            return
        present, before = self.epochs.pop(), self.epochs[-1]
        last = [before, *before.path()][-1]
        last.next, last.chosen = present.next, present.chosen
        self.summary = self.window = None  # how epochs are joined is tested elsewhere

    def do_summarize(self, number: int) -> None:
        node = self.pick(number, lambda each: each.index is not None)
        if node is None or node.index is None:
            return
        epoch, state = self.epoch, self.state()
        summary = Summary(f"until {node.index}", node.index, "model")
        if contexts.save_summary(
            self.db, self.now, 1, epoch=epoch, revision=state.revision, summary=summary
        ):
            self.summary = node.index, self.told_before(node.index)
            self.window = self.state().start, self.shown_below(self.state().start)

    def do_move(self, number: int) -> None:
        node = self.pick(number, lambda each: each.index is not None)
        if node is None or node.index is None:
            return
        contexts.move_window(self.db, 1, epoch=self.epoch, start=node.index, stubs_before=0)
        self.window = self.state().start, self.shown_below(self.state().start)

    # ── what must be true ─────────────────────────────────────────────────────────────────────
    @property
    def epoch(self) -> int:
        found = self.db.execute("SELECT epoch FROM conversations WHERE id = 1").fetchone()
        return 1 if found is None else int(found[0])

    def state(self) -> Any:
        return contexts.read_state(self.db, 1, epoch=self.epoch, model="model")

    def shown_below(self, index: int) -> list[int]:
        return [each.index for each in self.path if each.index is not None and each.index < index]

    def told_before(self, index: int) -> list[str]:
        rows = queries.history(self.db, 1, self.epoch, index, EVERYTHING)
        return [row.content for row in reversed(rows)]

    def check(self) -> None:
        check_rows(self.db)
        path = [each for each in self.path if each.alive and each.text and each.index is not None]
        assert self.told_before(EVERYTHING) == [each.text for each in path]
        self.check_versions()
        self.check_context()
        shown = [each.content for each in message_views.latest(self.db, 1, 1_000)]
        everything = [each for root in self.epochs for each in root.path()]
        assert shown == [each.text for each in everything if each.alive and each.text]

    def check_versions(self) -> None:
        expected = []
        for root in self.epochs[-1:]:
            for each in (root, *root.path()):
                parked = [one for one in each.next if one is not each.next[each.chosen]]
                left = [one for one in parked if one.alive or has_any(one)]
                if left:
                    expected.append(
                        sorted([number_of(each.next[each.chosen]), *(one.index for one in left)])
                    )
        found = [
            [version for version, _ in place] for place in versions.of_conversation(self.db, 1)
        ]
        assert sorted(found) == sorted(expected), (found, expected)

    def check_context(self) -> None:
        state = self.state()
        if state.summary is not None and self.summary is not None:
            assert self.summary == (state.summary.before, self.told_before(state.summary.before))
        if state.start and self.window is not None and state.start == self.window[0]:
            assert self.shown_below(state.start) == self.window[1]
        if state.summary is not None:
            assert state.start >= state.summary.before


def number_of(node: Node) -> int:
    return 2**53 if node.index is None else node.index


def has_any(node: Node) -> bool:
    """Whether any message is left below this node."""
    return any(each.alive for each in node.path())


def check_random_history(db: Database, seed: int, *, steps: int) -> None:
    """Take random steps in an empty database, and assert after each that it agrees with the tree.

    The same seed takes the same steps.
    """
    chance = random.Random(seed)
    world = World(db)
    for name in chance.choices(list(STEPS), list(STEPS.values()), k=steps):
        world.step(name, chance.randrange(8))
