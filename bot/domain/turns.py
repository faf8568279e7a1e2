"""A turn: the questions it answers, the attempt that holds it, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bot.domain.conversations import Author, Conversation
from bot.domain.model import Usage


class Outcome(StrEnum):
    """How a turn ended; every turn has exactly one."""

    ANSWERED = "answered"
    CUT_OFF = "cut_off"  # text came, and then the model failed
    FAILED = "failed"  # no text came
    STOPPED = "stopped"  # a person stopped it
    RESET = "reset"  # the conversation was reset meanwhile
    GONE = "gone"  # the place where the reply belongs is gone


@dataclass(frozen=True, slots=True)
class Fence:
    """A turn and the attempt that holds it. The store refuses a stale one (LostOwnership)."""

    turn: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Question:
    """A message that a turn answers. `message_id` and `channel` are the platform's.

    An `erased` one was deleted by people: its text and its route are gone.
    """

    id: int
    channel: str
    message_id: str
    author: Author
    text: str
    route: Mapping[str, str] = field(default_factory=dict)
    unusable: tuple[str, ...] = ()
    sent_at: float = 0.0
    late: bool = False  # see Incoming.late
    erased: bool = False


@dataclass(frozen=True, slots=True)
class PageRecord:
    """A page in the ledger; `message_id` is None while the page is only intended."""

    number: int
    message_id: str | None
    channel: str = ""  # the platform's channel (or thread) that the message is in


@dataclass(frozen=True, slots=True)
class TurnResult:
    """A turn's end, stored before its last text is shown, so that a crash cannot lose it.

    `content` is what later requests to the model contain (empty: nothing is kept); `display` is
    the whole reply as Markdown, with our own sentences; `error` names the class of a failure.
    """

    outcome: Outcome
    content: str
    display: str
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    error: str | None = None
    first_token_at: float | None = None  # Unix seconds


@dataclass(frozen=True, slots=True)
class Claim:
    """A turn that this process may work on until its fence is stale.

    `epoch` is the turn's own (the conversation's may be newer); `has_history` tells whether the
    epoch has messages besides the questions. `pages` are those that earlier attempts intended or
    posted. `conclusion` is set when an earlier attempt ended the turn but did not get its last
    text shown: then only showing is left; one with nothing to show takes the reply away. `tries`
    counts the attempts since the turn was opened (again), `failures` those of them that failed and
    left the process alive; `deaths` are those of processes that worked on it, `lone_deaths` those
    that worked on nothing else. `stopping`: people stopped it, and the process died before it was
    concluded.
    """

    fence: Fence
    conversation: Conversation
    questions: tuple[Question, ...]
    reply_index: int
    epoch: int = 1
    has_history: bool = False
    pages: tuple[PageRecord, ...] = ()
    conclusion: TurnResult | None = None
    tries: int = 1
    stopping: bool = False
    failures: int = 0
    deaths: int = 0
    lone_deaths: int = 0

    @property
    def asked(self) -> tuple[Question, ...]:
        """The questions that are still there."""
        return tuple(question for question in self.questions if not question.erased)


SUSPECT = 4
"""Deaths after which a turn is a suspect: a few may be the machine's, and cost no time."""

LONE_FROM = 2
"""From the death after so many on it counts when a turn had the process to itself."""

LONE_DEATHS = 2
"""So often the process dies with a turn alone before that is given up: one question that nothing
runs beside costs four deaths, one among many seven."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An unfinished turn of a conversation that processes died with: see `bot.turns.quarantine`."""

    conversation: int
    turn: int
    deaths: int
    lone_deaths: int


@dataclass(frozen=True, slots=True)
class Death:
    """How the process before this one ended, with so many turns in work."""

    running: int
