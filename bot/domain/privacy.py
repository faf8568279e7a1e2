"""Privacy: the people whose data is erased or exported, receipts, and audit entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.domain.conversations import ConversationKey

EVERYWHERE = "*"
"""Replaces a workspace: all workspaces of the platform."""

ERASED = "erased"
"""The id that replaces the ids of all people whose data was erased."""


def erased_name(erasure: str) -> str:
    """The text that replaces a person's id in the audit; `erasure` is the id of the erasure."""
    return f"erased:{erasure}"


@dataclass(frozen=True, slots=True)
class Person:
    """A person in one workspace, or on a whole platform. Written `discord/123/456`."""

    platform: str
    workspace: str
    id: str

    def __str__(self) -> str:
        return f"{self.platform}/{self.workspace}/{self.id}"

    @classmethod
    def at(cls, key: ConversationKey, user: str) -> Person:
        """The person `user`, who writes in the conversation `key`.

        Covers the whole platform if direct messages belong to no workspace (Discord's "@me"), or if
        every person has a workspace of their own (the page).
        """
        is_own = key.workspace.startswith("@") or key.workspace == user
        return cls(key.platform, EVERYWHERE if is_own else key.workspace, user)

    def covers(self, workspace: str) -> bool:
        """Whether this includes the person's data in `workspace`. Direct messages are always
        included."""
        return self.workspace in (EVERYWHERE, workspace) or workspace.startswith("@")


@dataclass(frozen=True, slots=True)
class Erasure:
    """An entry in the list of erasures: the person as a digest, and the time in Unix seconds.

    `id` appears on the receipt. What the person writes afterwards is not erased.
    """

    id: str
    person: str
    platform: str
    workspace: str
    at: float


@dataclass(frozen=True, slots=True)
class Erased:
    """The number of things that an erasure removed."""

    conversations: int = 0  # conversations that belonged to the person alone
    messages: int = 0
    files: int = 0
    replies: int = 0

    def __add__(self, other: Erased) -> Erased:
        return Erased(
            self.conversations + other.conversations,
            self.messages + other.messages,
            self.files + other.files,
            self.replies + other.replies,
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """The confirmation of an erasure."""

    id: str
    at: float
    erased: Erased


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, where, and to whom. `actor` and `subject` are people's ids; "" stands for the
    bot, or for no particular person. `details` name no person."""

    action: str
    key: ConversationKey
    actor: str = ""
    subject: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0  # Unix seconds
    id: int = 0
