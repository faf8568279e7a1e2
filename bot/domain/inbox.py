"""What arrives in the inbox (messages, edits, commands), and what the inbox did with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from bot.domain.attachments import IncomingAttachment
from bot.domain.conversations import Author, ConversationKey, Visibility


class Address(Enum):
    """How a message addresses the bot, which decides whether it counts as a question."""

    MENTION = "mention"  # mentions the bot: a question that begins or continues a conversation
    DIRECT = "direct"  # direct message: handled like a mention
    FOLLOW_UP = "follow_up"  # message in a thread: a question if the conversation is known
    ASIDE = "aside"  # mentions another person: history if the conversation is known
    CHANNEL = "channel"  # addresses no one: a question where the bot answers all messages
    REQUEST = "request"  # a program's question in a conversation it began; never a command

    @property
    def begins(self) -> bool:
        """Whether such a message may begin a conversation."""
        return self in (Address.MENTION, Address.DIRECT, Address.CHANNEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A person's message, as an adapter reports it; `text` is written for the model.

    `channel` and `message_id` are the platform's ids; on Discord, where threads are channels,
    `channel` is the thread. Messages sort by `position` in the platform's order: a snowflake, or a
    timestamp in microseconds. `route` is what the adapter needs to reply; it is stored with the
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
    stands_alone: bool = False  # posted to a channel, not a reply: may be about posts above it
    late: bool = False  # missed, and now too old to answer: stored as history, with an apology
    edited_at: float | None = None
    revises: str = ""  # source of the author's earlier question that this one is a version of
    from_bot: bool = False  # posted by another bot or a webhook: no question, never refused

    @property
    def source(self) -> str:
        """A unique key of the message, so that a redelivered one is not answered twice."""
        key = self.key
        return f"{key.platform}/{key.workspace}/{self.channel}/{self.message_id}"


class Receipt(Enum):
    """What the inbox did with an incoming message."""

    QUESTION = "question"  # stored; a turn will answer it
    HISTORY = "history"  # stored; the model will see it along with the next question
    COMMAND = "command"  # executed: the message was a command word
    KNOWN = "known"  # nothing: the message was already stored
    IGNORED = "ignored"  # nothing: the message belongs to no conversation
    TOO_EARLY = (
        "too_early"  # nothing: the author asks more often than the rules allow, and was told
    )
    REFUSED = "refused"  # nothing: the author may not ask here, which they learn once a day


@dataclass(frozen=True, slots=True)
class Accepted:
    """The result of `Store.accept`; `conversation` is None if the message was ignored."""

    receipt: Receipt
    conversation: int | None = None
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class CountedQuestion:
    """A question that counts towards rate limits. `author` is the person's id; `at` is in Unix
    seconds."""

    key: ConversationKey
    author: str
    at: float


@dataclass(frozen=True, slots=True)
class Watermark:
    """The position up to which all messages of a channel were handled: stored or ignored.

    With an empty `channel`, it applies to all channels of the workspace that have no higher
    watermark.
    """

    platform: str
    workspace: str
    channel: str
    position: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A period in which one of several processes may have lost events.

    Messages sent after `since` (Unix seconds) are read again soon, and once more when the gap is
    settled, because until then the platform may still send events to a process that hangs.
    """

    id: str
    since: float
    is_settled: bool


@dataclass(frozen=True, slots=True)
class ThreadRead:
    """Everything between two positions of a thread was read again and stored.

    `channel` is as in `Watermark`.
    """

    workspace: str
    channel: str
    since: int
    reached: int


class Effect(Enum):
    """The effect that an edit, deletion, stop, retry or continuation had on a turn."""

    UNKNOWN = "unknown"  # nothing: there is no such message or turn
    SAME = "same"  # nothing: the change was already stored
    STORED = "stored"  # no turn is affected; later turns will see the change
    REOPENED = "reopened"  # the current fence holders are stale; the turn must be claimed again
    STOP = "stop"  # the running turn must stop
    BUSY = "busy"  # nothing: the turn is still running or waiting
    SUPERSEDED = "superseded"  # the turn stays as it is: only the newest turn can be reopened
    FULL = "full"  # nothing: the question already has the most versions allowed


@dataclass(frozen=True, slots=True)
class Change:
    """The effect of a change, with the row ids of the conversation and the turn (0 if none)."""

    effect: Effect
    conversation: int = 0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """The location of a question: its conversation, and the platform's ids of its channel and
    message."""

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
    """A person's command: a slash command, button, shortcut, or command word in a mention.

    `source` identifies a message (`Incoming.source`) or event that may be redelivered; otherwise it
    is "". `model` is the model to use for a retry; None means the conversation's model.
    """

    name: str
    argument: str = ""
    key: ConversationKey
    author: Author
    source: str = ""
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A button below a command's reply: it issues `command` for the conversation `key`."""

    label: str
    command: str
    key: ConversationKey
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Menu:
    """A menu below a command's reply: it issues `command` for `key` with the chosen one of
    `options`.

    Platforms without menus omit it, so the text of the reply must say the same.
    """

    command: str
    key: ConversationKey
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PrivateFile:
    """A file that only the person who issued a command may see.

    `build` creates it with at most the given number of bytes, and raises NoFile if it cannot. An
    adapter calls `build` once. It calls `lost` if the person may not have received the file, so
    that they may ask again immediately (`bot.inbox.private_files`).
    """

    name: str
    build: Callable[[int], Awaitable[bytes]]
    lost: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class CommandReply:
    """The reply to the person who issued a command, with buttons if there is a choice.

    If no one else sees the reply, the adapter appends `private` to the text, or shows `instead` in
    place of the text. `refused`: the person may not use the command, nothing was changed, and no
    one else may see the reply. `file` is sent with a reply that only the person sees, otherwise as
    a direct message, and never in a channel. `comment_on` is a turn that the person may comment on:
    platforms with modals open one instead of showing the text. `turn` is the turn in which the
    command shows its effect.
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
        """The full text, for a place that only the person sees."""
        text = self.instead or self.text
        return f"{text}\n\n{self.private}" if self.private else text
