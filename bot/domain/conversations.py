"""Conversations, their authors and their messages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

TEAM = "@team"
"""The workspace of channels that all people share where each has a workspace of their own."""


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """Identifies a conversation: one thread of one channel. Unique in the store."""

    platform: str
    workspace: str
    channel: str
    thread: str

    def __str__(self) -> str:
        return f"{self.platform}/{self.workspace}/{self.channel}/{self.thread}"

    def counting_workspace(self, person: str) -> str:
        """The workspace in which the person's spending and questions count together: in a channel
        of TEAM, their own one."""
        return person if self.workspace == TEAM else self.workspace

    def within(self, place: ConversationKey) -> bool:
        """Whether the conversation is in `place`: a thread, a channel (thread "") or a
        workspace (both "")."""
        return (
            (self.platform, self.workspace) == (place.platform, place.workspace)
            and place.channel in ("", self.channel)
            and place.thread in ("", self.thread)
        )


class Role(StrEnum):
    """The role of a message in the chat completions API."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Visibility(StrEnum):
    """PUBLIC if everyone in the workspace can read the channel. Administrators of the page
    cannot read PRIVATE ones."""

    PUBLIC = "public"
    PRIVATE = "private"


class Effort(StrEnum):
    """How long a reasoning model thinks before it answers."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Author:
    """A person: `id` is the platform's, `name` is what the model sees."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A stored conversation.

    `model` was chosen with /model, `effort` with /effort; None is the default. `instructions` are
    for this conversation, added to the prompt; `temperature` None is the default. `epoch` counts
    the resets, from 1. `shared`: several people may speak, so their messages carry their names.
    Times are Unix seconds.
    """

    id: int
    key: ConversationKey
    name: str
    model: str | None
    epoch: int
    created_at: float
    updated_at: float
    visibility: Visibility = Visibility.PRIVATE
    began_by: Author | None = None
    effort: Effort | None = None
    shared: bool = False
    instructions: str = ""
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image for a model, upright and scaled. `label` names it in the text ("page 4")."""

    media_type: str
    data: bytes
    width: int  # pixels
    height: int
    label: str = ""


Part: TypeAlias = ImagePart
"""What a message carries beside its text; further kinds join this union."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, as the model gets it. `index` orders the messages.

    `parts` follow the text. `has_attachments`: the store has files or links of this message.
    """

    role: Role
    content: str
    author: Author | None = None
    index: int = 0
    id: int = 0
    created_at: float = 0.0
    parts: tuple[Part, ...] = ()
    has_attachments: bool = False
