"""Judges what people saw: the whole record of a platform and of the model against what was asked.

It knows what was said and what the model was to answer, and takes nothing from the bot but its
database, which is judged as well. Every word of an answer names its question and its number, so
that a page is known wherever it stands, and a missing, repeated or strayed word is seen.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from tests import store_kit

_WORD = re.compile(r"(q\d{5})w(\d{4})")
_MARK = re.compile(r"q\d{5}(?!w)")
# What the bot says by itself in answer to a command.
COMMAND_ANSWERS = ("Started over", "nothing to start over")
# How a turn may end when the model was made to fail.
TROUBLED_OUTCOMES = ("answered", "cut_off", "failed")


def mark(number: int) -> str:
    """The name of a question, which no other contains."""
    return f"q{number:05d}"


def answer_to(name: str, words: int) -> str:
    """What the model says to the question `name`: its words, in paragraphs."""
    spelled = [f"{name}w{n:04d}" for n in range(words)]
    rows = [" ".join(spelled[i : i + 40]) for i in range(0, words, 40)]
    return "\n\n".join(rows)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question. `where` is the place of its reply; `section` counts the resets before it.

    `beside` is the question that was asked without waiting for the answer to this one, or that
    this one did not wait for: under trouble either may arrive first.
    """

    name: str
    where: str
    id: str
    words: int
    section: int = 0
    beside: str = ""

    @property
    def spoken(self) -> list[tuple[str, int]]:
        """The words of the whole answer."""
        return [(self.name, n) for n in range(self.words)]


@dataclass(frozen=True, slots=True)
class Post:
    """One message of the bot, with every text that it ever had; `where` is where it stands."""

    id: str
    where: str
    text: str
    buttons: tuple[str, ...]
    pings: tuple[str, ...]
    texts: tuple[str, ...]
    deleted: bool

    @property
    def words(self) -> list[tuple[str, int]]:
        """The words of answers in it, in order."""
        return words_of(self.text)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is judged. `requests` are the bodies that the model was sent.

    `troubled`: the model was made to fail, so that an outcome may be a sentence under a part of
    the answer, and messages may have arrived in another order than they were said.
    """

    asked: Sequence[Asked]
    posts: Sequence[Post]
    requests: Sequence[Mapping[str, Any]]
    signs: Sequence[Any]
    database: Path
    system_prompt: str
    resets: int = 0
    troubled: bool = False


@dataclass(slots=True)
class Verdict:
    """What was found, by kind: lost, doubled, cut, strayed, left (a sign of work), history, …"""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, str]] = field(default_factory=list)

    def add(self, kind: str, what: str) -> None:
        self.faults.append((kind, what))

    @property
    def kinds(self) -> Counter[str]:
        return Counter(kind for kind, _ in self.faults)

    def __str__(self) -> str:
        return "\n".join(f"{kind}: {what}" for kind, what in self.faults) or "nothing is wrong"


def words_of(text: str) -> list[tuple[str, int]]:
    """The words of answers in a text."""
    return [(name, int(number)) for name, number in _WORD.findall(text)]


def judge(evidence: Evidence) -> Verdict:
    """Everything that must be true when all is quiet again."""
    verdict = Verdict()
    with closing(sqlite3.connect(evidence.database)) as db:
        db.row_factory = sqlite3.Row
        ledger = _Ledger.read(db)
        _database(db, verdict)
    _outcomes(evidence, ledger, verdict)
    _strays(evidence, ledger, verdict)
    _doubles(evidence, verdict)
    _signs(evidence, verdict)
    for body in evidence.requests:
        _history(evidence, body, verdict)
    return verdict


# ── the database ──────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Ledger:
    """What the database says: the turn of each question, and of each turn its pages in order."""

    turn_of: Mapping[str, int]
    turns: Mapping[int, Mapping[str, Any]]
    pages: Mapping[int, Sequence[str | None]]

    @classmethod
    def read(cls, db: sqlite3.Connection) -> _Ledger:
        questions = db.execute("SELECT message_id, turn_id FROM messages WHERE kind = 'question'")
        pages = db.execute("SELECT turn_id, message_id FROM pages ORDER BY turn_id, number")
        return cls(
            turn_of={row["message_id"]: row["turn_id"] for row in questions},
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
        store_kit.judge(db)
    except AssertionError as error:
        verdict.add("database", str(error))


# ── outcomes ──────────────────────────────────────────────────────────────────────────────────
def _outcomes(evidence: Evidence, ledger: _Ledger, verdict: Verdict) -> None:
    """Every question belongs to a turn; every turn shows its one outcome, whole."""
    by_turn: dict[int, list[Asked]] = {}
    for asked in evidence.asked:
        turn = ledger.turn_of.get(asked.id)
        if turn is None:
            verdict.add("lost", f"{asked.name} was never stored")
        else:
            by_turn.setdefault(turn, []).append(asked)
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
        if _order(before.id) > _order(after.id):
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
    if evidence.troubled and outcome not in TROUBLED_OUTCOMES:
        verdict.add("outcome", f"{names} ended as {outcome}")
    if outcome == "answered":
        if seen != last.spoken:
            verdict.add("cut", f"{names}: {_difference(seen, last.spoken)}")
    elif not evidence.troubled:
        verdict.add("outcome", f"{names} ended as {outcome}")
    elif seen != last.spoken[: len(seen)]:
        verdict.add("cut", f"{names} ({outcome}): {_difference(seen, last.spoken)}")


def _difference(seen: Sequence[tuple[str, int]], wanted: Sequence[tuple[str, int]]) -> str:
    pairs = enumerate(zip(seen, wanted, strict=False))
    at = next((n for n, (here, there) in pairs if here != there), min(len(seen), len(wanted)))
    return f"{len(seen)} of {len(wanted)} words, other from word {at} on: {list(seen[at : at + 2])}"


def _order(identity: str) -> tuple[int, ...]:
    """A snowflake or a ts as the platform orders them."""
    return tuple(int(part) for part in identity.split("."))


# ── what must not be there ────────────────────────────────────────────────────────────────────
def _strays(evidence: Evidence, ledger: _Ledger, verdict: Verdict) -> None:
    """No message of the bot but the pages of turns and the answers of commands."""
    known = {page for pages in ledger.pages.values() for page in pages}
    told = 0
    for post in evidence.posts:
        if any(said in post.text for said in COMMAND_ANSWERS):
            told += 1
        elif post.id not in known and not post.deleted:
            verdict.add("orphan", f"{post.id} in {post.where}: {post.text[:60]!r}")
        elif post.deleted and not evidence.troubled:
            verdict.add("doubled", f"{post.id} was posted and deleted: {post.text[:60]!r}")
    if told > evidence.resets:
        verdict.add("doubled", f"{told} answers to {evidence.resets} resets")


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


# ── what the model was sent ───────────────────────────────────────────────────────────────────
def _history(evidence: Evidence, body: Mapping[str, Any], verdict: Verdict) -> None:
    """Of one conversation and section, whole and in order: all questions up to the last, each
    answer behind the questions that it answers."""
    messages = list(_said(body["messages"]))
    if messages[:1] != [("system", evidence.system_prompt)]:
        verdict.add("history", f"begins with {messages[:1]}")
    found = list(_entries(messages))
    names = [name for role, name in found if role == "user"]
    asked = {each.name: each for each in evidence.asked}
    if not names or found[-1][0] != "user" or any(name not in asked for name in names):
        verdict.add("history", f"is not from questions to a question: {found}")
        return
    last = asked[names[-1]]
    expected = _expected(evidence, last)
    if not (_agree(evidence, names, expected) if evidence.troubled else names == expected):
        verdict.add("history", f"{last.name} was asked with {names} instead of {expected}")
    _answers(evidence, messages, asked, verdict)


def _said(messages: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each message by itself: what people say in a row reaches the model as one."""
    for message in messages:
        text = str(message["content"])
        parts = text.split("\n\n") if message["role"] == "user" else [text]
        yield from ((message["role"], part) for part in parts)


def _entries(messages: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for role, text in messages:
        if role == "user":
            found = _MARK.findall(text)
            yield role, found[0] if len(found) == 1 else text
        elif role == "assistant":
            words = words_of(text)
            yield role, words[0][0] if words else text


def _expected(evidence: Evidence, last: Asked) -> list[str]:
    """The questions that the model is to know when it answers `last`."""
    mine = [q for q in evidence.asked if (q.where, q.section) == (last.where, last.section)]
    return [q.name for q in mine if _order(q.id) <= _order(last.id)]


def _agree(evidence: Evidence, names: Sequence[str], expected: Sequence[str]) -> bool:
    """Nothing twice, and nothing else but for questions that were asked beside another."""
    paired = {each.name for each in evidence.asked if each.beside}
    return len(set(names)) == len(names) and set(names) ^ set(expected) <= paired


def _answers(
    evidence: Evidence,
    messages: Sequence[tuple[str, str]],
    asked: Mapping[str, Asked],
    verdict: Verdict,
) -> None:
    """Each answer stands whole and once, directly behind its question."""
    for (role, before), (answers, text) in pairwise(messages):
        if answers != "assistant":
            if role == answers == "user" and not evidence.troubled:
                verdict.add("history", f"no answer between {before!r} and {text!r}")
            continue
        names = _MARK.findall(before)
        words = words_of(text)
        whole = asked[names[0]].spoken if len(names) == 1 and names[0] in asked else None
        right = words == whole
        if evidence.troubled and whole is not None:
            right = words == whole[: len(words)]
        if role != "user" or not right:
            verdict.add("history", f"behind {before!r} stands {text[:60]!r}")
