"""Privacy: people whose data is erased or exported, receipts, and entries of the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.domain.conversations import ConversationKey

EVERYWHERE = "*"
"""In place of a workspace: all workspaces of the platform."""

ERASED = "erased"
"""The id of all people whose data was erased."""


def erased_name(erasure: str) -> str:
    """What stands in place of a person's id in the audit; `erasure` is the id of the erasure."""
    return f"erased:{erasure}"


@dataclass(frozen=True, slots=True)
class Person:
    """A person of one workspace, or of a whole platform. Written `discord/123/456`."""

    platform: str
    workspace: str
    id: str

    def __str__(self) -> str:
        return f"{self.platform}/{self.workspace}/{self.id}"

    @classmethod
    def at(cls, key: ConversationKey, user: str) -> Person:
        """The person `user`, who speaks in the conversation `key`.

        Where a direct message belongs to no workspace (Discord's "@me"), and where each person has
        a workspace (the page), it is the whole platform.
        """
        is_own = key.workspace.startswith("@") or key.workspace == user
        return cls(key.platform, EVERYWHERE if is_own else key.workspace, user)

    def covers(self, workspace: str) -> bool:
        """Whether the person's data in this workspace is meant: direct messages always are."""
        return self.workspace in (EVERYWHERE, workspace) or workspace.startswith("@")


@dataclass(frozen=True, slots=True)
class Erasure:
    """An entry of the list of erasures: who, as a digest, and when (Unix seconds).

    `id` is on the receipt. What the person writes later is not erased.
    """

    id: str
    person: str
    platform: str
    workspace: str
    at: float


@dataclass(frozen=True, slots=True)
class Erased:
    """How much was erased."""

    conversations: int = 0  # those that were only the person's
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
    """Who did what, where, to whom. `actor` and `subject` are people's ids; "" is the bot, or no
    one in particular. `details` name no person.
    """

    action: str
    key: ConversationKey
    actor: str = ""
    subject: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0  # Unix seconds
    id: int = 0
