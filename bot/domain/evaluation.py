"""Real replies, with what the model was asked, and the answers of another model to the same."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.conversations import Role
from bot.domain.feedback import Vote
from bot.domain.model import Usage


@dataclass(frozen=True, slots=True)
class Speech:
    """One message. `author` is a person's name, or `person 2` where names are left out."""

    role: Role
    content: str
    author: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and what it took. Seconds are since the request, or None if unknown.

    `cost` is in billionths of a dollar; None if a price is not known. `error`: why the answer is
    missing or broken off, in a sentence.
    """

    text: str
    model: str = ""
    usage: Usage | None = None
    cost: int | None = None
    first_token_seconds: float | None = None
    seconds: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Rating:
    """A person's vote. `person` is an id, and "" where names are left out, as `name` is."""

    vote: Vote
    comment: str = ""
    at: float = 0.0  # Unix seconds
    person: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A reply of the past. The last `questions` of its `messages` are what it answers.

    `conversation` is the public id; `shared`: several people spoke, so the model got their names.
    `profile` and `prompt` are as in `MadeWith`. `attachments` counts the files and links, which
    are not part of it. `place` is platform, workspace, channel and thread; only the platform where
    names are left out.
    """

    turn: int
    conversation: str
    epoch: int
    at: float  # when the reply ended, in Unix seconds
    messages: tuple[Speech, ...]
    questions: int
    reply: Answer
    shared: bool = False
    profile: str = ""
    prompt: str = ""
    attachments: int = 0
    place: tuple[str, ...] = ()
    ratings: tuple[Rating, ...] = ()

    @property
    def asked(self) -> tuple[str, ...]:
        """The texts of the questions."""
        return tuple(each.content for each in self.messages[-self.questions :])
