"""The values that the whole product speaks in: frozen, without I/O, naming no platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum


# ── conversations and messages ────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class ConversationKey:
    """One thread of one place: what a platform's event is turned into, and the store's key."""

    platform: str
    workspace: str
    channel: str
    thread: str

    def __str__(self) -> str:
        return f"{self.platform}/{self.workspace}/{self.channel}/{self.thread}"

    def within(self, place: ConversationKey) -> bool:
        """Whether it is in `place`: a thread, a channel ("" as thread), or a whole workspace."""
        return (
            (self.platform, self.workspace) == (place.platform, place.workspace)
            and place.channel in ("", self.channel)
            and place.thread in ("", self.thread)
        )


class Role(StrEnum):
    """Who speaks, in the words of the chat completions API."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Visibility(StrEnum):
    """Whether anyone of the workspace could read the place. It decides what administrators may."""

    PUBLIC = "public"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class Author:
    """A person: the platform's id, and the name that the model sees."""

    id: str
    name: str


class Address(Enum):
    """How a message addresses the bot, which decides whether it is a question.

    MENTION begins a conversation or goes on with one; DIRECT (a direct message) does the same;
    FOLLOW_UP (a message in a thread) is a question only where a conversation is known; ASIDE
    (it mentions somebody else) is history where a conversation is known, and never a question.
    """

    MENTION = "mention"
    DIRECT = "direct"
    FOLLOW_UP = "follow_up"
    ASIDE = "aside"

    @property
    def begins(self) -> bool:
        """Whether such a message may begin a conversation."""
        return self in (Address.MENTION, Address.DIRECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A message of a person, as an adapter understood it: text is already meant for the model.

    `channel` and `message_id` are the platform's own (in a thread that is a channel of its own,
    `channel` is the thread); `position` orders messages as the platform does (a snowflake, or a
    timestamp in microseconds); `sent_at` is in Unix seconds; `route` is what the adapter needs
    to answer and is stored with the message; `unusable` names attached things that cannot be used
    ("image", "file", "voice message"); `edited_at` is when the text was changed last, in Unix
    seconds, None when it is as it was sent.
    """

    key: ConversationKey
    channel: str
    message_id: str
    position: int
    author: Author
    text: str
    address: Address
    sent_at: float
    visibility: Visibility = Visibility.PRIVATE
    route: Mapping[str, str] = field(default_factory=dict)
    unusable: tuple[str, ...] = ()
    in_old_thread: bool = False  # others may have spoken there before: see Adapter.backlog
    late: bool = False  # missed, and asked too long ago to be answered: history, and an apology
    edited_at: float | None = None

    @property
    def source(self) -> str:
        """The platform's message, as one string: the key against answering it twice."""
        key = self.key
        return f"{key.platform}/{key.workspace}/{self.channel}/{self.message_id}"


class Receipt(Enum):
    """What became of an incoming message."""

    QUESTION = "question"  # stored, and a turn will answer it
    HISTORY = "history"  # stored, and the model will see it with the next question
    COMMAND = "command"  # it was a command word, and was carried out
    KNOWN = "known"  # stored before: nothing changed
    IGNORED = "ignored"  # no conversation of ours: it left no mark


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer of `Store.accept`; `conversation` is None when the message was ignored."""

    receipt: Receipt
    conversation: int | None = None
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Watermark:
    """The position up to which every message of a channel was decided: accepted, or of no use.

    With an empty `channel` it counts for every channel of the workspace without a higher one.
    """

    platform: str
    workspace: str
    channel: str
    position: int


class Effect(Enum):
    """What it means for a turn that something stored was changed, or that it is asked for again."""

    UNKNOWN = "unknown"  # nothing of the kind is stored
    SAME = "same"  # it is as it was already
    KEPT = "kept"  # stored; no turn has to do anything: later ones will see it
    AGAIN = "again"  # the turn was opened again: who holds it is stale, and it is to be claimed
    STOP = "stop"  # the running turn has nothing left to answer
    BUSY = "busy"  # the turn is being worked on, or a newer one waits
    OLDER = "older"  # others came after it: only the newest turn can be opened again


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a change, and whose conversation and turn it concerns."""

    effect: Effect
    conversation: int = 0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Conversation:
    """A stored conversation. `model` is what people chose with /model, or None for the default."""

    id: int
    key: ConversationKey
    name: str
    model: str | None
    epoch: int
    created_at: float
    updated_at: float
    visibility: Visibility = Visibility.PRIVATE
    began_by: Author | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation: what goes to the model."""

    role: Role
    content: str
    author: Author | None = None
    index: int = 0
    id: int = 0
    created_at: float = 0.0


# ── turns ─────────────────────────────────────────────────────────────────────────────────────
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
class Asked:
    """Where a question is: its conversation, and the platform's own channel and message."""

    key: ConversationKey
    channel: str
    message_id: str
    position: int

    @property
    def source(self) -> str:
        """As `Incoming.source`."""
        return f"{self.key.platform}/{self.key.workspace}/{self.channel}/{self.message_id}"


@dataclass(frozen=True, slots=True)
class PageRecord:
    """A page in the ledger; `message_id` is None while the page is only intended."""

    number: int
    message_id: str | None
    channel: str = ""  # the platform's channel (or thread) that the message is in


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one model call took, as the provider counted them."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Conclusion:
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
    conclusion: Conclusion | None = None
    tries: int = 1
    stopping: bool = False
    failures: int = 0
    deaths: int = 0
    lone_deaths: int = 0

    @property
    def asked(self) -> tuple[Question, ...]:
        """The questions that are still there."""
        return tuple(question for question in self.questions if not question.erased)


@dataclass(frozen=True, slots=True)
class Suspect:
    """An unfinished turn of a conversation that processes died with: see `bot.quarantine`."""

    conversation: int
    turn: int
    deaths: int
    lone_deaths: int


@dataclass(frozen=True, slots=True)
class Death:
    """How the process before this one ended, with so many turns in work."""

    running: int


# ── models ────────────────────────────────────────────────────────────────────────────────────
class Reasoning(StrEnum):
    """What people see of the thoughts that a model streams; no later request contains them."""

    HIDDEN = "hidden"  # that it thinks
    SHOWN = "shown"  # the last of them, small, above the answer


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One model call. `max_tokens` and `temperature` are left to the provider when None."""

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """One piece of a streamed answer. The last ones carry the finish reason and the usage.

    `reasoning` is no part of the answer: it comes before the text, and is not kept with it.
    `loading` comes before both, where the server still reads the model into memory.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None  # who answers, in its first delta: a chain may have fallen over
    loading: bool = False


# ── commands ──────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of a person: by slash, button, shortcut, or a mention with its word.

    `source` is the message (see `Incoming.source`) or the event that it came as, where that may
    come again; else "".
    """

    name: str
    argument: str = ""
    key: ConversationKey
    author: Author
    source: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A button that an answer offers: pressing it issues `command` on the conversation `key`."""

    label: str
    command: str
    key: ConversationKey
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command says to the person who issued it, with buttons where a choice is left."""

    text: str
    choices: tuple[Choice, ...] = ()


# ── health ────────────────────────────────────────────────────────────────────────────────────
class Verdict(StrEnum):
    """What `doctor` found of one point."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One point that `doctor` tried, and what to do about it when it is not in order."""

    subject: str
    verdict: Verdict
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a part works now, for /healthz."""

    ok: bool
    details: Mapping[str, str] = field(default_factory=dict)
