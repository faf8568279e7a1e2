"""The port for read-only links, and for people's default models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.conversations import ConversationKey
from bot.domain.records import AttachmentContent, MessageRecord
from bot.domain.sharing import Share


class ShareStore(Protocol):
    """Links to conversations. All methods raise StoreUnavailable if the database fails.

    A link shows the messages of the conversation itself. It leaves out a message that was erased,
    or that changed after it was shared.
    """

    async def share(self, key: ConversationKey, person: str) -> Share | None:
        """Create the conversation's link, or update the existing one to all current messages.

        None if the conversation does not exist or has no messages.
        """
        ...

    async def revoke(self, key: ConversationKey) -> Share | None:
        """Permanently delete the conversation's link. Returns it; None if there is none."""
        ...

    async def of_conversation(self, key: ConversationKey) -> Share | None:
        """The conversation's link."""
        ...

    async def of_person(self, platform: str, person: str, *, limit: int) -> Sequence[Share]:
        """The links to a person's own conversations, newest first."""
        ...

    async def find(self, uid: str) -> tuple[Share, ConversationKey] | None:
        """The link with this address, and the conversation that it shows."""
        ...

    async def messages(self, uid: str, *, after: int, limit: int) -> Sequence[MessageRecord]:
        """The messages that the link shows, in index order, with an index above `after`."""
        ...

    async def attachment(self, uid: str, attachment: str) -> AttachmentContent | None:
        """An attachment of a message that the link shows."""
        ...


class DefaultModels(Protocol):
    """People's default models. Methods raise StoreUnavailable if the database fails."""

    async def default_model(self, platform: str, person: str) -> str | None:
        """The model that the person chose for new conversations."""
        ...

    async def set_default_model(self, platform: str, person: str, model: str | None) -> None:
        """Choose the person's default model; None clears the choice."""
        ...
