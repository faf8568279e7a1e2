"""The port of read-only links, and of a person's default model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.conversations import ConversationKey
from bot.domain.records import AttachmentContent, MessageRecord
from bot.domain.sharing import Share


class ShareStore(Protocol):
    """Links to conversations. All methods raise StoreUnavailable if the database fails.

    What a link shows is read from the conversation itself: a message that was erased, or that
    changed after it was shared, is not in it.
    """

    async def share(self, key: ConversationKey, person: str) -> Share | None:
        """Make the conversation's link, or let the existing one show all messages of now.

        None if the conversation does not exist or has no message.
        """
        ...

    async def revoke(self, key: ConversationKey) -> Share | None:
        """Delete the conversation's link for good. Returns it; None if there is none."""
        ...

    async def of_conversation(self, key: ConversationKey) -> Share | None:
        """The conversation's link."""
        ...

    async def of_person(self, platform: str, person: str, *, limit: int) -> Sequence[Share]:
        """The links of a person's own conversations, the newest first."""
        ...

    async def find(self, uid: str) -> tuple[Share, ConversationKey] | None:
        """The link with this address, and the place of what it shows."""
        ...

    async def messages(self, uid: str, *, after: int, limit: int) -> Sequence[MessageRecord]:
        """What the link shows, by index, from the one above `after` on."""
        ...

    async def attachment(self, uid: str, attachment: str) -> AttachmentContent | None:
        """An attachment of a message that the link shows."""
        ...


class DefaultModels(Protocol):
    """People's own default models. Methods raise StoreUnavailable if the database fails."""

    async def default_model(self, platform: str, person: str) -> str | None:
        """The model that the person chose for new conversations."""
        ...

    async def set_default_model(self, platform: str, person: str, model: str | None) -> None:
        """Choose it; None takes the choice back."""
        ...
