"""What is judged: the questions, what people saw of the answers, and what the model was sent.

Every word of an answer names its question and its number, so that a page is known wherever it
stands, and a missing, repeated or strayed word is seen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WORD = re.compile(r"(q\d{5})w(\d{4})")


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
    this one did not wait for: under trouble either may arrive first. `ends` is the outcome that
    people saw to; `edited` is what they changed the text to at last; `gone` once it was deleted;
    `perhaps` when it was, and nobody could tell whether the bot would ever learn of it.
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
    the answer, and messages may have arrived in another order than they were said. `commands` is
    how many of those were given that are answered by a message.
    """

    asked: Sequence[Asked]
    posts: Sequence[Post]
    requests: Sequence[Mapping[str, Any]]
    signs: Sequence[Any]
    database: Path
    system_prompt: str
    commands: int = 0
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


def order(identity: str) -> tuple[int, ...]:
    """A snowflake or a ts as the platform orders them."""
    return tuple(int(part) for part in identity.split("."))


def words_of(text: str) -> list[tuple[str, int]]:
    """The words of answers in a text."""
    return [(name, int(number)) for name, number in _WORD.findall(text)]
