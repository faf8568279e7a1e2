"""Judges what people saw: the whole record of a platform and of the model against what was asked.

It knows what was said and what the model was to answer, and takes nothing from the bot but its
database, which is judged as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any

from tests.support import store_kit
from tests.support.judge_history import history
from tests.support.transcript import Asked, Evidence, Post, Verdict, order

# What the bot says by itself in answer to a command.
COMMAND_ANSWERS = (
    *("Started over", "nothing to start over", "Undone", "nothing to bring back", "Stopped."),
    *("not writing anything", "still writing", "no answer here that I could"),
)
# How a turn may end when the model was made to fail.
TROUBLED_OUTCOMES = ("answered", "cut_off", "failed")


def judge(evidence: Evidence) -> Verdict:
    """Everything that must be true when all is quiet again."""
    verdict = Verdict()
    with closing(sqlite3.connect(evidence.database)) as db:
        db.row_factory = sqlite3.Row
        ledger = _Ledger.read(db)
        _database(db, verdict)
    asked = [replace(q, gone=q.gone or _learned(q, ledger)) for q in evidence.asked]
    evidence = replace(evidence, asked=asked)
    _outcomes(evidence, ledger, verdict)
    _strays(evidence, ledger, verdict)
    _doubles(evidence, verdict)
    _signs(evidence, verdict)
    for body in evidence.requests:
        history(evidence, body, verdict)
    return verdict


def _learned(asked: Asked, ledger: _Ledger) -> bool:
    """Whether a deletion that may never be learned of was."""
    return asked.perhaps and not ledger.texts.get(asked.id, "-")


# ── the database ──────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Ledger:
    """What the database says: turn and text of each question, and of each turn its pages."""

    turn_of: Mapping[str, int]
    texts: Mapping[str, str]
    turns: Mapping[int, Mapping[str, Any]]
    pages: Mapping[int, Sequence[str | None]]

    @classmethod
    def read(cls, db: sqlite3.Connection) -> _Ledger:
        questions = db.execute("SELECT * FROM messages WHERE kind = 'question'").fetchall()
        pages = db.execute("SELECT turn_id, message_id FROM pages ORDER BY turn_id, number")
        return cls(
            turn_of={row["message_id"]: row["turn_id"] for row in questions},
            texts={row["message_id"]: row["content"] for row in questions},
            turns={row["id"]: dict(row) for row in db.execute("SELECT * FROM turns")},
            pages={
                turn: [row["message_id"] for row in rows]
                for turn, rows in groupby(pages.fetchall(), key=lambda row: row["turn_id"])
            },
        )


def _database(db: sqlite3.Connection, verdict: Verdict) -> None:
    for row in db.execute("SELECT id, state, attempt FROM turns WHERE state <> 'done'"):
        verdict.add("unfinished", f"turn {row['id']} is {row['state']}, attempt {row['attempt']}")
    db.row_factory = None
    try:
        store_kit.check_invariants(db)
    except AssertionError as error:
        verdict.add("database", str(error))


# ── outcomes ──────────────────────────────────────────────────────────────────────────────────
def _outcomes(evidence: Evidence, ledger: _Ledger, verdict: Verdict) -> None:
    """Every question belongs to a turn; every turn shows its one outcome, whole."""
    by_turn: dict[int, list[Asked]] = {}
    for asked in sorted(evidence.asked, key=lambda one: order(one.id)):
        turn = ledger.turn_of.get(asked.id)
        if turn is None:
            verdict.add("lost", f"{asked.name} was never stored")
        elif not asked.gone:
            by_turn.setdefault(turn, []).append(asked)
    for asked in evidence.asked:
        if asked.gone and ledger.texts.get(asked.id):
            verdict.add("kept", f"the text of {asked.name}, which was deleted")
        if asked.edited and asked.edited not in ledger.texts.get(asked.id, ""):
            verdict.add("kept", f"the text of {asked.name}, which was edited")
    posts = {post.id: post for post in evidence.posts}
    for turn, questions in by_turn.items():
        _outcome(evidence, ledger, turn, questions, posts, verdict)


def _outcome(
    evidence: Evidence,
    ledger: _Ledger,
    turn: int,
    questions: Sequence[Asked],
    posts: Mapping[str, Post],
    verdict: Verdict,
) -> None:
    outcome = ledger.turns[turn]["outcome"]
    verdict.outcomes[str(outcome)] += 1
    names = "+".join(asked.name for asked in questions)
    pages = [posts.get(page or "") for page in ledger.pages.get(turn, ())]
    shown = [post for post in pages if post is not None and not post.deleted]
    if not shown or len(shown) < len(pages):
        verdict.add("lost", f"{names}: {len(pages)} pages in the ledger, {len(shown)} shown")
    for before, after in pairwise(shown):
        if order(before.id) > order(after.id):
            verdict.add("order", f"{names}: page {after.id} stands above {before.id}")
    for post in shown:
        if post.where != questions[-1].where:
            verdict.add("strayed", f"{names}: {post.id} is in {post.where}")
    seen = [word for post in shown for word in post.words]
    _whole(evidence, questions[-1], outcome, seen, names, verdict)


def _whole(
    evidence: Evidence,
    last: Asked,
    outcome: str | None,
    seen: list[tuple[str, int]],
    names: str,
    verdict: Verdict,
) -> None:
    fits = TROUBLED_OUTCOMES if evidence.troubled else ()
    if outcome not in (last.ends, *fits):
        verdict.add("outcome", f"{names} ended as {outcome}")
    if outcome == "answered":
        if seen != last.spoken:
            verdict.add("cut", f"{names}: {_difference(seen, last.spoken)}")
    elif seen != last.spoken[: len(seen)]:
        verdict.add("cut", f"{names} ({outcome}): {_difference(seen, last.spoken)}")


def _difference(seen: Sequence[tuple[str, int]], wanted: Sequence[tuple[str, int]]) -> str:
    pairs = enumerate(zip(seen, wanted, strict=False))
    at = next((n for n, (here, there) in pairs if here != there), min(len(seen), len(wanted)))
    return f"{len(seen)} of {len(wanted)} words, other from word {at} on: {list(seen[at : at + 2])}"


# ── what must not be there ────────────────────────────────────────────────────────────────────
def _strays(evidence: Evidence, ledger: _Ledger, verdict: Verdict) -> None:
    """No message of the bot but the pages of turns and the answers of commands."""
    known = {page for pages in ledger.pages.values() for page in pages}
    gone = {asked.name for asked in evidence.asked if asked.gone}
    told = 0
    for post in evidence.posts:
        if post.id not in known and any(said in post.text for said in COMMAND_ANSWERS):
            told += 1
        elif post.id not in known and not post.deleted:
            verdict.add("orphan", f"{post.id} in {post.where}: {post.text[:60]!r}")
        elif gone & {name for name, _ in post.words}:
            if not post.deleted:
                verdict.add("left", f"{post.id} answers what was deleted: {post.text[:60]!r}")
        elif post.deleted and not evidence.troubled:
            verdict.add("doubled", f"{post.id} was posted and deleted: {post.text[:60]!r}")
    if told > evidence.commands:
        verdict.add("doubled", f"{told} answers to {evidence.commands} commands")


def _doubles(evidence: Evidence, verdict: Verdict) -> None:
    """No word stands in two messages, deleted ones included."""
    owners: dict[tuple[str, int], str] = {}
    for post in evidence.posts:
        for word in post.words:
            other = owners.setdefault(word, post.id)
            if other != post.id:
                verdict.add("doubled", f"{word} stands in {other} and in {post.id}")
                break
        if len({name for name, _ in post.words}) > 1:
            verdict.add("mixed", f"{post.id} has words of several answers")


def _signs(evidence: Evidence, verdict: Verdict) -> None:
    for sign in evidence.signs:
        verdict.add("left", f"a sign of work: {sign}")
    for post in evidence.posts:
        if any("stop" in button for button in post.buttons) and not post.deleted:
            verdict.add("left", f"a stop button under {post.id}: {post.text[-40:]!r}")
        if post.pings:
            verdict.add("ping", f"{post.id} pings {post.pings}")
        if not post.deleted and not post.text.strip():
            verdict.add("left", f"{post.id} is empty")
