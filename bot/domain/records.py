"""What is read of conversations and kept of them as records: frozen values with public ids.

The core answers questions without them; the HTTP API, its page and exports are made of them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from bot.domain.conversations import Author, Conversation, ConversationKey, Role
from bot.domain.model import Usage
from bot.domain.turns import Outcome


@dataclass(frozen=True, slots=True)
class RecordScope:
    """Whose conversations: a workspace of a platform, and where given one channel of it."""

    platform: str
    workspace: str
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """A conversation with its public id. `busy` tells whether a turn waits or runs."""

    uid: str
    conversation: Conversation
    busy: bool = False


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One message. `index` is None until a turn takes the question up.

    `waiting` tells whether it is a question that no turn has taken up yet; `turn` is the turn that
    it asks or answers, None where neither is so; the model sees those of the conversation's newest
    `epoch`. Times are Unix seconds.
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


@dataclass(frozen=True, slots=True)
class ReplyRecord:
    """A turn as its reply is read. What it said is None until it was concluded.

    `uid` is the public id of the message that was kept of it, None where nothing was kept;
    `display` is the whole reply with our own sentences, `content` the model's words alone.
    """

    turn: int
    conversation: int
    index: int | None
    created_at: float
    outcome: Outcome | None = None
    error: str | None = None
    display: str = ""
    content: str = ""
    model: str | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    seconds: float | None = None
    concluded_at: float | None = None
    uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConversation:
    """A conversation to be made before anybody spoke in it, with what is already said.

    `opening` are roles and texts; `model` is None for the default.
    """

    key: ConversationKey
    uid: str
    name: str
    began_by: Author
    model: str | None = None
    opening: tuple[tuple[Role, str], ...] = ()


class Unchanged:
    """The type of UNCHANGED: a field that a change leaves alone."""


UNCHANGED = Unchanged()


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """A conversation as a line of a list: its first message, and how many followed."""

    record: ConversationRecord
    root: MessageRecord
    replies: int


_THREAD_IDS = uuid.UUID("6d9a1c53-55c6-4d43-8f0b-6e0a8a0f7d11")


def thread_id(user: str, client_id: uuid.UUID) -> str:
    """The public id of the page's thread that `user` begins with the message `client_id`.

    It follows from that message, so that sending it again begins no other thread.
    """
    return str(uuid.uuid5(_THREAD_IDS, f"{user}/{client_id}"))
