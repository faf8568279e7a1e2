"""Conversations, their authors and their messages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

TEAM = "@team"
"""The workspace of shared channels, on platforms where each person has a workspace."""


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
        """The workspace that the person's spending and questions count towards. In a TEAM channel,
        this is the person's own workspace."""
        return person if self.workspace == TEAM else self.workspace

    def within(self, place: ConversationKey) -> bool:
        """Whether the conversation lies in `place`: a thread, a channel (thread "") or a workspace
        (both "")."""
        return (
            (self.platform, self.workspace) == (place.platform, place.workspace)
            and place.channel in ("", self.channel)
            and place.thread in ("", self.thread)
        )


class Role(StrEnum):
    """The role of a message, as in the chat completions API."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Visibility(StrEnum):
    """Who can read a channel. PUBLIC: everyone in the workspace. Administrators of the page cannot
    read PRIVATE ones."""

    PUBLIC = "public"
    PRIVATE = "private"


class Effort(StrEnum):
    """How long a reasoning model thinks before it answers."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Author:
    """A person: `id` comes from the platform, the model sees `name`."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A stored conversation.

    `model` was chosen with /model and `effort` with /effort; None means the default, as for
    `temperature`. `instructions` are added to the prompt of this conversation. `epoch` counts the
    resets, from 1. If it is `shared`, several people may write, so messages carry the names of
    their authors. Times are Unix seconds.
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
    """An image for a model, rotated upright and scaled down. `label` identifies it in the text
    ("page 4")."""

    media_type: str
    data: bytes
    width: int  # pixels
    height: int
    label: str = ""


Part: TypeAlias = ImagePart
"""The content of a message beside its text; further kinds will join this union."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, as the model gets it. Messages are ordered by `index`.

    `parts` follow the text. `has_attachments` is set if the store has files or links for this
    message.
    """

    role: Role
    content: str
    author: Author | None = None
    index: int = 0
    id: int = 0
    created_at: float = 0.0
    parts: tuple[Part, ...] = ()
    has_attachments: bool = False
