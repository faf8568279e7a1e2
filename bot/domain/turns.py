"""A turn: its questions, the attempt that holds it, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bot.domain.conversations import Author, Conversation
from bot.domain.failures import FailureReason
from bot.domain.feedback import MadeWith
from bot.domain.model import Usage


class Outcome(StrEnum):
    """How a turn ended; every turn has exactly one outcome."""

    ANSWERED = "answered"
    CUT_OFF = "cut_off"  # the model failed after some text
    FAILED = "failed"  # there is no text
    STOPPED = "stopped"  # a person stopped it
    RESET = "reset"  # the conversation was reset during the turn
    GONE = "gone"  # the reply's channel or thread was deleted, or the bot lost access


@dataclass(frozen=True, slots=True)
class Fence:
    """A turn and the attempt that holds it. The store rejects a stale fence with LostOwnership."""

    turn: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Question:
    """A message that a turn answers. `channel` and `message_id` are the platform's ids.

    `erased`: the message was deleted, and its text and route are gone. `withheld`: no request
    contains it, because its author may not ask, or because this was unknown. See `Incoming` for the
    other fields.
    """

    id: int
    channel: str
    message_id: str
    author: Author
    text: str
    route: Mapping[str, str] = field(default_factory=dict)
    sent_at: float = 0.0
    late: bool = False
    erased: bool = False
    has_attachments: bool = False
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class PageRecord:
    """A page in the ledger; `message_id` is None until the page is known to be posted."""

    number: int
    message_id: str | None
    channel: str = ""  # the platform's channel or thread of the message


@dataclass(frozen=True, slots=True)
class TurnResult:
    """The end of a turn and its answer, stored before the final text is shown.

    `content` is the model's text, which enters the history unless it is "". `display` is the whole
    reply as Markdown, with Threadline's notes. `failure` is set if the reply is incomplete.
    """

    outcome: Outcome
    content: str
    display: str
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    failure: FailureReason | None = None
    first_token_at: float | None = None  # Unix seconds
    # Our estimate of the usage's `input_tokens`; None if these cannot cover the whole request.
    estimated_tokens: int | None = None
    tells_summary: bool = False  # the display says that older messages are summarized
    made_with: MadeWith | None = None  # None if no model was asked


@dataclass(frozen=True, slots=True)
class Claim:
    """A turn that this process may work on until its fence is stale.

    `epoch` is the epoch of the turn; the conversation may have been reset since. `has_history`: the
    epoch has messages before the questions. `pages` are the pages that earlier attempts recorded in
    the ledger.

    `result` is set if an earlier attempt ended the turn without showing the whole reply. Only that
    remains to be done; with an empty `display`, the pages of the reply are removed. `stopping`:
    people stopped the turn, but the process died before the turn ended.

    `tries` counts the attempts since the turn was opened or last reopened, including this one.
    `failures` counts the attempts that failed without ending the process. `deaths` counts the
    processes that died while they worked on the turn; `lone_deaths` counts those that worked on
    nothing else. See `bot.turns.quarantine`.
    """

    fence: Fence
    conversation: Conversation
    questions: tuple[Question, ...]
    reply_index: int
    epoch: int = 1
    has_history: bool = False
    pages: tuple[PageRecord, ...] = ()
    result: TurnResult | None = None
    tries: int = 1
    stopping: bool = False
    failures: int = 0
    deaths: int = 0
    lone_deaths: int = 0

    @property
    def asked(self) -> tuple[Question, ...]:
        """The questions that were not erased."""
        return tuple(question for question in self.questions if not question.erased)


SUSPECT_DEATHS = 4
"""A turn with this many deaths is a suspect. Fewer may be the machine's fault and delay nothing."""

LONE_DEATHS_FROM = 2
"""A turn's lone deaths are counted only after this many deaths of any kind."""

MAX_LONE_DEATHS = 3
"""A turn with this many lone deaths is given up: after five deaths in total if it always ran alone,
after eight if it first ran alongside many turns."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An unfinished turn during which processes died, by row ids: see `bot.turns.quarantine`."""

    conversation: int
    turn: int
    deaths: int
    lone_deaths: int


@dataclass(frozen=True, slots=True)
class Death:
    """The death of the previous process, which was working on `running` turns."""

    running: int
