"""Past replies with the requests behind them, and another model's answers to the same requests."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.conversations import Role
from bot.domain.feedback import Vote
from bot.domain.model import Usage


@dataclass(frozen=True, slots=True)
class Speech:
    """One message. `author` is a person's name, or `person 2` if names are left out."""

    role: Role
    content: str
    author: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its timing and cost. Seconds count from the request; None if unknown.

    `cost` is in billionths of a dollar; None if a price is unknown. `error` is a sentence that says
    why the answer is missing or incomplete.
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
    """A person's vote. `person` is an id; it and `name` are "" if names are left out."""

    vote: Vote
    comment: str = ""
    at: float = 0.0  # Unix seconds
    person: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A past reply to evaluate. It answers the last `questions` of its `messages`.

    `conversation` is the public id. If it is `shared`, several people wrote in it, so the model got
    their names. `profile` and `prompt` are as in `MadeWith`. `attachments` is the number of files
    and links, which are not included. `place` is platform, workspace, channel and thread; if names
    are left out, only the platform.
    """

    turn: int
    conversation: str
    epoch: int
    at: float  # end of the reply, in Unix seconds
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
