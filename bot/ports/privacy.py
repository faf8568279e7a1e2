"""The privacy port: erasing and exporting what the database has of a person, or of old places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Change
from bot.domain.privacy import Erased, Erasure, Person


class ErasedHere(Protocol):
    """The erasure in one conversation.

    `changes` are the turns that are affected, `gone` is the conversation if it was deleted.
    """

    @property
    def erased(self) -> Erased:
        """How much."""
        ...

    @property
    def changes(self) -> Sequence[Change]:
        """For the scheduler."""
        ...

    @property
    def gone(self) -> ConversationKey | None:
        """For the scheduler and the page."""
        ...


class OldConversation(Protocol):
    """A conversation that may have something to erase."""

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
        """Write the erasure into the list beside the database. Raises StoreError."""
        ...

    async def conversations_of(self, person: Person, until: float) -> Sequence[int]:
        """The conversations that the person began or wrote in until then, by row id."""
        ...

    async def names_of(self, person: Person, until: float) -> Sequence[str]:
        """The names that the person had."""
        ...

    async def quoting(self, platform: str, names: Sequence[str]) -> Sequence[int]:
        """The messages that quote people with these names. Reads every message."""
        ...

    async def erase_in(self, conversation: int, person: Person, until: float) -> ErasedHere:
        """Erase the person's messages until then in one conversation, and what repeats them."""
        ...

    async def erase_quotes(self, messages: Sequence[int], names: Sequence[str]) -> ErasedHere:
        """Remove what these messages quote of people with these names."""
        ...

    async def erase_rest(self, person: Person, erasure: Erasure) -> None:
        """Erase the person outside of conversations, and record that the erasure is done."""
        ...

    async def overwrite(self) -> bool:
        """Overwrite what was erased in SQLite's files, or free its space in PostgreSQL's.

        Returns whether nothing was in the way.
        """
        ...

    # ── old places ────────────────────────────────────────────────────────────────────────────
    async def old_conversations(
        self, *, before: float, after: int, limit: int
    ) -> Sequence[OldConversation]:
        """Conversations with a row id above `after`, created before that time and not pinned."""
        ...

    async def erase_step(self, conversation: int, before: float) -> Erased:
        """Erase some of what is older than `before`; nothing once nothing is left, or while a turn
        of the conversation is not done.
        """
        ...

    async def channels_with_usage(self) -> Sequence[ConversationKey]:
        """The channels of which the books name who used what."""
        ...

    async def erase_usage(self, channel: ConversationKey, before: float) -> None:
        """Erase who used what in a channel until then; the sums stay."""
        ...

    async def give_up_leftovers(self, before: float) -> None:
        """Forget leftovers of erased conversations that were recorded before then."""
        ...

    async def pin(self, key: ConversationKey, *, pinned: bool) -> bool:
        """Keep a conversation whatever its age; returns whether it exists."""
        ...

    # ── export ────────────────────────────────────────────────────────────────────────────────
    async def export_person(self, person: Person) -> Sequence[Mapping[str, Any]]:
        """The records of the person beside messages."""
        ...

    async def export_messages(
        self, person: Person, *, after: int, limit: int
    ) -> tuple[Sequence[Mapping[str, Any]], int]:
        """The person's messages with a row id above `after`, with the replies to them.

        Returns the last row id, too; 0 if there are no more.
        """
        ...
