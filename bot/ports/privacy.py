"""The privacy port: erases and exports a person's data, and erases the data of old places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Change
from bot.domain.privacy import Erased, Erasure, Person


class ErasedHere(Protocol):
    """The result of an erasure in one conversation.

    `changes` are the affected turns; `gone` is the conversation if it was deleted.
    """

    @property
    def erased(self) -> Erased:
        """The number of things erased."""
        ...

    @property
    def changes(self) -> Sequence[Change]:
        """The changes that the scheduler must follow."""
        ...

    @property
    def gone(self) -> ConversationKey | None:
        """The deleted conversation, for the scheduler and the page."""
        ...


class OldConversation(Protocol):
    """A conversation that may contain something to erase."""

    @property
    def id(self) -> int:
        """The row id."""
        ...

    @property
    def key(self) -> ConversationKey:
        """The key of the conversation."""
        ...


class PrivacyStore(Protocol):
    """Each method is one transaction. All raise StoreUnavailable if the database fails."""

    # ── one person ────────────────────────────────────────────────────────────────────────────
    async def list_erasure(self, person: Person) -> Erasure:
        """Add the erasure to the list beside the database. Raises StoreError."""
        ...

    async def conversations_of(self, person: Person, until: float) -> Sequence[int]:
        """The row ids of the conversations that the person began or wrote in up to `until`."""
        ...

    async def names_of(self, person: Person, until: float) -> Sequence[str]:
        """The names that the person used up to `until`."""
        ...

    async def quoting(self, platform: str, names: Sequence[str]) -> Sequence[int]:
        """The messages that quote people with these names. Scans every message."""
        ...

    async def erase_in(self, conversation: int, person: Person, until: float) -> ErasedHere:
        """Erase the person's messages up to `until` from one conversation, and text that repeats
        them."""
        ...

    async def erase_quotes(self, messages: Sequence[int], names: Sequence[str]) -> ErasedHere:
        """Remove quotes of people with these names from the messages."""
        ...

    async def erase_rest(self, person: Person, erasure: Erasure) -> None:
        """Erase the person's data outside of conversations, and record that the erasure is
        complete."""
        ...

    async def overwrite(self) -> bool:
        """Overwrite erased data in SQLite's files, or free its space in PostgreSQL's.

        Returns whether this succeeded completely.
        """
        ...

    # ── old places ────────────────────────────────────────────────────────────────────────────
    async def old_conversations(
        self, *, before: float, after: int, limit: int
    ) -> Sequence[OldConversation]:
        """Conversations with a row id above `after` that were created before `before` and are not
        pinned."""
        ...

    async def erase_step(self, conversation: int, before: float) -> Erased:
        """Erase a part of what is older than `before`. Erases nothing once nothing is left, or
        while a turn of the conversation is not done."""
        ...

    async def channels_with_usage(self) -> Sequence[ConversationKey]:
        """The channels for which the books still record who used what."""
        ...

    async def erase_usage(self, channel: ConversationKey, before: float) -> None:
        """Erase the record of who used what in a channel before `before`; the sums stay."""
        ...

    async def give_up_leftovers(self, before: float) -> None:
        """Forget leftovers of erased conversations that were recorded before then."""
        ...

    async def pin(self, key: ConversationKey, *, pinned: bool) -> bool:
        """Exempt a conversation from erasure by age; returns whether it exists."""
        ...

    # ── export ────────────────────────────────────────────────────────────────────────────────
    async def export_person(self, person: Person) -> Sequence[Mapping[str, Any]]:
        """The person's records other than messages."""
        ...

    async def export_messages(
        self, person: Person, *, after: int, limit: int
    ) -> tuple[Sequence[Mapping[str, Any]], int]:
        """The person's messages with a row id above `after`, and the replies to them.

        Also returns the last row id, or 0 if there are no more.
        """
        ...
