"""Judges the record of a platform and of the model against what people asked.

The judge knows what was said and how the model was to answer. It takes nothing from the bot
except its database, which is judged as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any

from bot.domain import texts
from tests.support import store_kit
from tests.support.judge_history import history
from tests.support.transcript import Post, Question, Transcript, Verdict, order

# The bot's replies to commands.
COMMAND_ANSWERS = (
    *("Started over", "nothing to start over", "Undone", "nothing to bring back", "Stopped."),
    *("not writing anything", "still writing", "no answer here that I could"),
)
# Possible outcomes of a turn under fault injection.
FAULTY_OUTCOMES = ("answered", "cut_off", "failed")


def judge(transcript: Transcript) -> Verdict:
    """Check everything that must be true once all work has ended."""
    verdict = Verdict()
    with closing(sqlite3.connect(transcript.database)) as db:
        db.row_factory = sqlite3.Row
        ledger = _Ledger.read(db)
        _database(db, verdict)
    questions = [replace(q, gone=q.gone or _learned(q, ledger)) for q in transcript.questions]
    transcript = replace(transcript, questions=questions)
    _outcomes(transcript, ledger, verdict)
    _strays(transcript, ledger, verdict)
    _doubles(transcript, verdict)
    _signs(transcript, verdict)
    for body in transcript.requests:
        history(transcript, body, verdict)
    return verdict


def _learned(question: Question, ledger: _Ledger) -> bool:
    """Whether the bot noticed a deletion, which it is allowed to miss."""
    return question.perhaps and not ledger.texts.get(question.id, "-")


# ── the database ──────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Ledger:
    """The database's content: each question's turn and text, each turn's pages."""

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
def _outcomes(transcript: Transcript, ledger: _Ledger, verdict: Verdict) -> None:
    """Every question belongs to a turn; every turn shows exactly one outcome, complete."""
    by_turn: dict[int, list[Question]] = {}
    for question in sorted(transcript.questions, key=lambda one: order(one.id)):
        turn = ledger.turn_of.get(question.id)
        if turn is None:
            verdict.add("lost", f"{question.name} was never stored")
        elif not question.gone:
            by_turn.setdefault(turn, []).append(question)
    for question in transcript.questions:
        if question.gone and ledger.texts.get(question.id):
            verdict.add("kept", f"the text of {question.name}, which was deleted")
        if question.edited and question.edited not in ledger.texts.get(question.id, ""):
            verdict.add("kept", f"the text of {question.name}, which was edited")
    posts = {post.id: post for post in transcript.posts}
    for turn, questions in by_turn.items():
        _outcome(transcript, ledger, turn, questions, posts, verdict)


def _outcome(
    transcript: Transcript,
    ledger: _Ledger,
    turn: int,
    questions: Sequence[Question],
    posts: Mapping[str, Post],
    verdict: Verdict,
) -> None:
    outcome = ledger.turns[turn]["outcome"]
    verdict.outcomes[str(outcome)] += 1
    names = "+".join(question.name for question in questions)
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
    _whole(transcript, questions[-1], outcome, seen, names, verdict)


def _whole(
    transcript: Transcript,
    last: Question,
    outcome: str | None,
    seen: list[tuple[str, int]],
    names: str,
    verdict: Verdict,
) -> None:
    fits = FAULTY_OUTCOMES if transcript.faulty else ()
    if outcome not in (last.ends, *fits):
        verdict.add("outcome", f"{names} ended as {outcome}")
    if outcome == "answered":
        if seen != last.expected_words:
            verdict.add("cut", f"{names}: {_difference(seen, last.expected_words)}")
    elif seen != last.expected_words[: len(seen)]:
        verdict.add("cut", f"{names} ({outcome}): {_difference(seen, last.expected_words)}")


def _difference(seen: Sequence[tuple[str, int]], wanted: Sequence[tuple[str, int]]) -> str:
    pairs = enumerate(zip(seen, wanted, strict=False))
    at = next((n for n, (here, there) in pairs if here != there), min(len(seen), len(wanted)))
    return f"{len(seen)} of {len(wanted)} words, other from word {at} on: {list(seen[at : at + 2])}"


# ── what must not be there ────────────────────────────────────────────────────────────────────
def _strays(transcript: Transcript, ledger: _Ledger, verdict: Verdict) -> None:
    """The bot's messages are pages of turns and replies to commands, and nothing else."""
    known = {page for pages in ledger.pages.values() for page in pages}
    gone = {question.name for question in transcript.questions if question.gone}
    told = 0
    for post in transcript.posts:
        if post.id not in known and any(said in post.text for said in COMMAND_ANSWERS):
            told += 1
        elif post.text == texts.NOT_STORED:
            # On a busy machine also without faults. An answer followed, or the message counts as
            # lost.
            pass
        elif post.id not in known and not post.deleted:
            verdict.add("orphan", f"{post.id} in {post.where}: {post.text[:60]!r}")
        elif gone & {name for name, _ in post.words}:
            if not post.deleted:
                verdict.add("left", f"{post.id} answers what was deleted: {post.text[:60]!r}")
        elif post.deleted and not transcript.faulty:
            verdict.add("doubled", f"{post.id} was posted and deleted: {post.text[:60]!r}")
    if told > transcript.commands:
        verdict.add("doubled", f"{told} answers to {transcript.commands} commands")


def _doubles(transcript: Transcript, verdict: Verdict) -> None:
    """No word is in two messages, including deleted ones."""
    owners: dict[tuple[str, int], str] = {}
    for post in transcript.posts:
        for word in post.words:
            other = owners.setdefault(word, post.id)
            if other != post.id:
                verdict.add("doubled", f"{word} stands in {other} and in {post.id}")
                break
        if len({name for name, _ in post.words}) > 1:
            verdict.add("mixed", f"{post.id} has words of several answers")


def _signs(transcript: Transcript, verdict: Verdict) -> None:
    for sign in transcript.signs:
        verdict.add("left", f"a sign of work: {sign}")
    for post in transcript.posts:
        if any("stop" in button for button in post.buttons) and not post.deleted:
            verdict.add("left", f"a stop button under {post.id}: {post.text[-40:]!r}")
        if post.pings:
            verdict.add("ping", f"{post.id} pings {post.pings}")
        if not post.deleted and not post.text.strip():
            verdict.add("left", f"{post.id} is empty")
