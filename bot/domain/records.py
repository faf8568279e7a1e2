"""Conversations, messages and replies with public ids, for the HTTP API and its page."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from bot.domain.attachments import AttachmentKind, AttachmentState, Extract, Omission
from bot.domain.conversations import Author, Conversation, ConversationKey, Effort, Role, Visibility
from bot.domain.failures import FailureReason
from bot.domain.model import Usage
from bot.domain.turns import Outcome


@dataclass(frozen=True, slots=True)
class RecordScope:
    """The conversations of one workspace, or of one of its channels."""

    platform: str
    workspace: str
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """A conversation with its public id. `busy`: one of its turns is waiting or running.

    Its owner may have pinned it to the top of the list, or archived it.
    """

    uid: str
    conversation: Conversation
    busy: bool = False
    pinned: bool = False
    archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentRecord:
    """A file or link of a message. `size` is in bytes; None if unknown so far.

    `kind` is None until the file is read. `omission` says why it does not reach the model.
    """

    uid: str
    name: str
    media_type: str
    size: int | None
    state: AttachmentState
    omission: Omission | None = None
    kind: AttachmentKind | None = None
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class AttachmentContent:
    """An attachment with its stored content: the bytes, and the extract that the model gets."""

    record: AttachmentRecord
    data: bytes | None
    extract: Extract | None


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One message. `index` is None until a turn claims the message.

    `turn` is the turn of a question or reply, None for other messages. `waiting`: the message is a
    question whose turn has not been claimed. The model only sees messages of the conversation's
    current epoch. `created_at` is in Unix seconds. For a reply, `model` wrote it, `usage` is None
    if the provider counted no tokens, and `cost` is in billionths of a US dollar, None if a price
    is unknown. `source` is as in `Incoming`, "" if there is no platform message. `is_shown` is
    False if another version of it, or of an earlier message, is shown instead.
    """

    uid: str
    role: Role
    content: str
    index: int | None
    created_at: float
    author: Author | None = None
    turn: int | None = None
    waiting: bool = False
    is_reply: bool = False
    epoch: int = 1
    attachments: tuple[AttachmentRecord, ...] = ()
    model: str | None = None
    usage: Usage | None = None
    cost: int | None = None
    source: str = ""
    is_shown: bool = True


@dataclass(frozen=True, slots=True)
class ReplyRecord:
    """The reply of a turn. Fields from the turn's result keep their defaults until the turn ends.

    `uid` is the public id of the reply's message in the history, None if there is none. `display`
    is the whole reply including Threadline's notes, `content` only the model's text. `seconds` is
    the time from the claim to the end; `created_at` and `concluded_at` are Unix seconds.
    """

    turn: int
    conversation: int
    index: int | None
    created_at: float
    outcome: Outcome | None = None
    failure: FailureReason | None = None
    display: str = ""
    content: str = ""
    model: str | None = None
    usage: Usage | None = None
    cost: int | None = None  # in billionths of a US dollar
    finish_reason: str | None = None
    seconds: float | None = None
    concluded_at: float | None = None
    uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConversation:
    """A conversation that the API creates.

    `opening` has the roles and texts of its first messages. None for `model` or `effort` means the
    default.
    """

    key: ConversationKey
    uid: str
    name: str
    began_by: Author
    model: str | None = None
    effort: Effort | None = None
    opening: tuple[tuple[Role, str], ...] = ()
    visibility: Visibility = Visibility.PRIVATE


class Unchanged:
    """The type of UNCHANGED, for fields that an update leaves as they are."""


UNCHANGED = Unchanged()


@dataclass(frozen=True, slots=True)
class ThreadEntry:
    """A conversation in its owner's list, which is sorted by last activity.

    `active_at` is the time of the newest message or answer, `answered_at` the end of the newest
    answer, both in Unix seconds. `unread`: the owner has not seen that answer. `last` is the
    beginning of the newest text, and `last_role` the role of its author.
    """

    record: ConversationRecord
    active_at: float
    answered_at: float | None = None
    unread: bool = False
    last_role: Role | None = None
    last: str = ""


@dataclass(frozen=True, slots=True)
class EntryPosition:
    """The position of an entry in the list, which is sorted by these fields in descending order."""

    pinned: bool
    active_at: float
    uid: str


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """A thread of the channel: the first question, the number of later messages, and its entry in
    the list. In a shared channel, `people` are the ids of those who asked in it."""

    entry: ThreadEntry
    root: MessageRecord
    replies: int
    people: tuple[str, ...] = ()

    @property
    def record(self) -> ConversationRecord:
        """The conversation."""
        return self.entry.record


@dataclass(frozen=True, slots=True)
class ChannelRead:
    """A channel with the time of its newest message or answer, and the time up to which a person
    has seen it.

    Times are Unix seconds. None means that there is no message, or that the person has not visited
    it yet.
    """

    channel: str
    active_at: float | None
    read_at: float | None

    @property
    def has_news(self) -> bool:
        """Whether there are messages newer than the person's last visit."""
        read = self.read_at
        return read is not None and self.active_at is not None and self.active_at > read


_THREAD_IDS = uuid.UUID("6d9a1c53-55c6-4d43-8f0b-6e0a8a0f7d11")


def thread_id(user: str, client_id: uuid.UUID) -> str:
    """The public id of the thread that `user` begins on the page with message `client_id`.

    It is derived from the message, so that sending the message twice creates one thread.
    """
    return str(uuid.uuid5(_THREAD_IDS, f"{user}/{client_id}"))
