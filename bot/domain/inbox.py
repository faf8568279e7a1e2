"""What reaches the inbox: messages, edits and commands, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from bot.domain.conversations import Author, ConversationKey, Visibility


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
    STORED = "stored"  # stored; no turn has to do anything: later ones will see it
    REOPENED = (
        "reopened"  # the turn was opened again: who holds it is stale, and it is to be claimed
    )
    STOP = "stop"  # the running turn has nothing left to answer
    BUSY = "busy"  # the turn is being worked on, or a newer one waits
    SUPERSEDED = "superseded"  # others came after it: only the newest turn can be opened again


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a change, and whose conversation and turn it concerns."""

    effect: Effect
    conversation: int = 0
    turn: int = 0


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
class CommandReply:
    """What a command says to the person who issued it, with buttons where a choice is left."""

    text: str
    choices: tuple[Choice, ...] = ()
