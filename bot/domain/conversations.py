"""Conversations, their people and their messages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
