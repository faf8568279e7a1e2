"""The transcript to judge: questions, the answers that people saw, and the model's requests.

Every word of an answer carries its question's name and its number, so that each page can be
identified, and missing, repeated and misplaced words are found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WORD = re.compile(r"(q\d{5})w(\d{4})")


def question_name(number: int) -> str:
    """The name of a question, which no other question's name contains."""
    return f"q{number:05d}"


def answer_to(name: str, words: int) -> str:
    """The model's answer to the question `name`: its words, in paragraphs."""
    spelled = [f"{name}w{n:04d}" for n in range(words)]
    rows = [" ".join(spelled[i : i + 40]) for i in range(0, words, 40)]
    return "\n\n".join(rows)


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `where` locates its reply; `section` counts the resets before it.

    `beside` names another question that was asked concurrently: under faults, either may arrive
    first. `ends` is the expected outcome; `edited` is the text of its last edit; `gone`: it was
    deleted; `perhaps`: it was deleted, but the bot may never notice.
    """

    name: str
    where: str
    id: str
    words: int
    section: int = 0
    beside: str = ""
    ends: str = "answered"
    edited: str = ""
    gone: bool = False
    perhaps: bool = False

    @property
    def expected_words(self) -> list[tuple[str, int]]:
        """The words of the complete answer."""
        return [(self.name, n) for n in range(self.words)]


@dataclass(frozen=True, slots=True)
class Post:
    """One message of the bot with all its versions; `where` is its thread."""

    id: str
    where: str
    text: str
    buttons: tuple[str, ...]
    pings: tuple[str, ...]
    texts: tuple[str, ...]
    deleted: bool

    @property
    def words(self) -> list[tuple[str, int]]:
        """The answers' words in the message, in order."""
        return words_of(self.text)


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything to be judged. `requests` are the bodies of the model requests.

    `faulty`: faults were injected, so an outcome may be a sentence after part of the answer,
    and messages may arrive out of order. `commands` counts the commands that get a reply
    message.
    """

    questions: Sequence[Question]
    posts: Sequence[Post]
    requests: Sequence[Mapping[str, Any]]
    signs: Sequence[Any]
    database: Path
    system_prompt: str
    commands: int = 0
    faulty: bool = False


@dataclass(slots=True)
class Verdict:
    """The violations by kind: lost, doubled, cut, strayed, left (a sign of work), history, …"""

    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[str, str]] = field(default_factory=list)

    def add(self, kind: str, what: str) -> None:
        self.violations.append((kind, what))

    @property
    def kinds(self) -> Counter[str]:
        return Counter(kind for kind, _ in self.violations)

    def __str__(self) -> str:
        return "\n".join(f"{kind}: {what}" for kind, what in self.violations) or "no violations"


def order(identity: str) -> tuple[int, ...]:
    """A snowflake or ts as a sort key."""
    return tuple(int(part) for part in identity.split("."))


def words_of(text: str) -> list[tuple[str, int]]:
    """The answers' words in a text."""
    return [(name, int(number)) for name, number in _WORD.findall(text)]
