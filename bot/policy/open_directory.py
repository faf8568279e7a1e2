"""The directory for the page and the terminal, which have no groups, guests or strangers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from bot.domain.conversations import Author, ConversationKey
from bot.domain.policy import PersonFacts, PersonRef, PlaceFacts, PlaceRef

Tell = Callable[[ConversationKey, Author, str], Awaitable[None]]


class OpenDirectory:
    """A directory in which everyone is a member. `tell` shows a sentence to one person."""

    def __init__(
        self, tell: Tell, *, is_admin: Callable[[str], bool] = lambda _user: False
    ) -> None:
        self._tell, self._is_admin = tell, is_admin

    @property
    def has_strangers(self) -> bool:
        """False: no one belongs to another organization."""
        return False

    async def place(self, key: ConversationKey) -> PlaceFacts:
        """The place, with the channel's id as its name."""
        return PlaceFacts(key, channel_name=key.channel)

    async def person(self, _key: ConversationKey, author: Author) -> PersonFacts:
        """The person, as a member."""
        return PersonFacts(author, is_workspace_admin=self._is_admin(author.id))

    async def is_stranger(self, _key: ConversationKey, _author: Author) -> bool:
        """False: no one belongs to another organization."""
        return False

    async def can_read(self, _channel: ConversationKey, _user: str) -> bool:
        """False: no one can read another person's channel here."""
        return False

    async def unknown(self, _refs: Sequence[PlaceRef | PersonRef]) -> Sequence[str]:
        """Report no reference as unknown."""
        return ()

    async def tell(self, key: ConversationKey, author: Author, text: str) -> None:
        """Show `text` to the person."""
        await self._tell(key, author, text)
