"""What reaches the inbox (messages, edits, commands), and what the inbox did with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from bot.domain.attachments import IncomingAttachment
from bot.domain.conversations import Author, ConversationKey, Visibility


class Address(Enum):
    """How a message addresses the bot, which decides whether it is a question."""

    MENTION = "mention"  # it mentions the bot: a question; begins or continues a conversation
    DIRECT = "direct"  # a direct message: the same
    FOLLOW_UP = "follow_up"  # a message in a thread: a question if the conversation is known
    ASIDE = "aside"  # it mentions another person: history if the conversation is known
    CHANNEL = "channel"  # it addresses no one: a question where the bot answers all messages
    REQUEST = "request"  # a program's question in a conversation that it began; never a command

    @property
    def begins(self) -> bool:
        """Whether such a message begins a conversation if there is none."""
        return self in (Address.MENTION, Address.DIRECT, Address.CHANNEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A person's message, as an adapter reports it; `text` is written for the model.

    `channel` and `message_id` are the platform's ids; on Discord, where a thread is a channel,
    `channel` is the thread. `position` sorts messages in the platform's order: a snowflake, or a
    timestamp in microseconds. `route` is what the adapter needs for a reply; it is stored with the
    message.

    `sent_at` and `edited_at` (the last edit, None if never edited) are Unix seconds.
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
    attachments: tuple[IncomingAttachment, ...] = ()
    in_old_thread: bool = False  # the thread may have earlier messages: see Adapter.backlog
    stands_alone: bool = False  # in a channel, and no reply: may be about the posts above it
    late: bool = False  # missed, and now too old to answer: becomes history, with an apology
    edited_at: float | None = None
    revises: str = ""  # the source of the author's question that this is another version of
    from_bot: bool = False  # posted by another bot or a webhook: no question, and no one is refused

    @property
    def source(self) -> str:
        """The message's unique key, so that a redelivery is not answered again."""
        key = self.key
        return f"{key.platform}/{key.workspace}/{self.channel}/{self.message_id}"


class Receipt(Enum):
    """What the inbox did with an incoming message."""

    QUESTION = "question"  # stored; a turn will answer it
    HISTORY = "history"  # stored; the model will see it with the next question
    COMMAND = "command"  # executed: the message was a command word
    KNOWN = "known"  # nothing: the message had been stored before
    IGNORED = "ignored"  # nothing: the message belongs to no conversation
    TOO_EARLY = (
        "too_early"  # nothing: its author asks more often than the rules allow, and knows it
    )
    REFUSED = "refused"  # nothing: its author may not ask here, and learns it once a day


@dataclass(frozen=True, slots=True)
class Accepted:
    """The result of `Store.accept`; `conversation` is None if the message was ignored."""

    receipt: Receipt
    conversation: int | None = None
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class CountedQuestion:
    """A question that counts in the rates, by the author's id; `at` is in Unix seconds."""

    key: ConversationKey
    author: str
    at: float


@dataclass(frozen=True, slots=True)
class Watermark:
    """The position up to which all messages of a channel have been handled: stored or ignored.

    With "" as `channel` it covers the workspace's channels that have no higher watermark.
    """

    platform: str
    workspace: str
    channel: str
    position: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which one of several processes may have lost events.

    What people wrote after `since` (Unix seconds) is read again: soon, and once more when the gap
    is settled, because until then the platform may give events to a process that hangs.
    """

    id: str
    since: float
    is_settled: bool


@dataclass(frozen=True, slots=True)
class ThreadRead:
    """Everything in a thread between two positions was read again and stored.

    `channel` is as in `Watermark`.
    """

    workspace: str
    channel: str
    since: int
    reached: int


class Effect(Enum):
    """What an edit, a deletion, a stop, a retry or a continuation did to a turn."""

    UNKNOWN = "unknown"  # nothing: there is no such message or turn
    SAME = "same"  # nothing: the change was stored before
    STORED = "stored"  # no turn is affected; later turns will see the change
    REOPENED = "reopened"  # the current fence holders are stale; the turn must be claimed again
    STOP = "stop"  # the running turn must stop
    BUSY = "busy"  # nothing: the turn is still running or waiting
    SUPERSEDED = "superseded"  # the turn stays as it is: only the newest turn can be reopened
    FULL = "full"  # nothing: there are as many versions as one question may have


@dataclass(frozen=True, slots=True)
class Change:
    """The effect of a change, and the row ids of the conversation and the turn (0: none)."""

    effect: Effect
    conversation: int = 0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """The location of a question: its conversation, and the platform's channel and message ids."""

    key: ConversationKey
    channel: str
    message_id: str
    position: int

    @property
    def source(self) -> str:
        """See `Incoming.source`."""
        return f"{self.key.platform}/{self.key.workspace}/{self.channel}/{self.message_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A person's command: a slash command, a button, a shortcut, or a mention with its word.

    `source` identifies a message (`Incoming.source`) or event that may be redelivered; else "".
    `model` is the model that answers a retry; None is the conversation's.
    """

    name: str
    argument: str = ""
    key: ConversationKey
    author: Author
    source: str = ""
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A button of a command reply: it issues `command` for the conversation `key`."""

    label: str
    command: str
    key: ConversationKey
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Menu:
    """A menu of a command reply: it issues `command` for `key` with one of `options` as argument.

    Platforms without menus leave it out, so the reply's text says the same.
    """

    command: str
    key: ConversationKey
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PrivateFile:
    """A file for the person who issued a command, and for no one else.

    `build` makes it, with at most that many bytes, and raises NoFile. An adapter calls it once, and
    `lost` if the person may not have got the file, so that they may ask again immediately
    (`bot.inbox.private_files`).
    """

    name: str
    build: Callable[[int], Awaitable[bytes]]
    lost: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class CommandReply:
    """The reply to the person who issued a command, with buttons if there is a choice.

    Only where no one else sees the reply, `private` follows the text, and `instead` stands in its
    place. `refused`: the person may not do that, nothing was changed, and no one else sees the
    reply. `file` comes with a reply that only the person sees, else as a direct message; never in
    a channel. `comment_on` is a turn that the person may comment on: platforms with modals show
    one in place of the text. `turn` is the turn in which the command shows its effect.
    """

    text: str
    choices: tuple[Choice, ...] = ()
    private: str = ""
    instead: str = ""
    menu: Menu | None = None
    refused: bool = False
    comment_on: int | None = None
    file: PrivateFile | None = None
    turn: int | None = None

    @property
    def whole(self) -> str:
        """The text for a place that only the person sees."""
        text = self.instead or self.text
        return f"{text}\n\n{self.private}" if self.private else text
