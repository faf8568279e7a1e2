"""The directory of a platform without groups, guests and strangers: the page and the terminal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from bot.domain.conversations import Author, ConversationKey
from bot.domain.policy import PersonFacts, PersonRef, PlaceFacts, PlaceRef

Tell = Callable[[ConversationKey, Author, str], Awaitable[None]]


class OpenDirectory:
    """Everyone who is here is a member. `tell` shows a sentence to one person."""

    def __init__(
        self, tell: Tell, *, is_admin: Callable[[str], bool] = lambda _user: False
    ) -> None:
        self._tell, self._is_admin = tell, is_admin

    @property
    def has_strangers(self) -> bool:
        """No one is of another organization."""
        return False

    async def place(self, key: ConversationKey) -> PlaceFacts:
        """The place; its channel's id is its name, too."""
        return PlaceFacts(key, channel_name=key.channel)

    async def person(self, _key: ConversationKey, author: Author) -> PersonFacts:
        """The person, as a member."""
        return PersonFacts(author, is_workspace_admin=self._is_admin(author.id))

    async def is_stranger(self, _key: ConversationKey, _author: Author) -> bool:
        """No one is of another organization."""
        return False

    async def can_read(self, _channel: ConversationKey, _user: str) -> bool:
        """No one reads another channel here."""
        return False

    async def unknown(self, _refs: Sequence[PlaceRef | PersonRef]) -> Sequence[str]:
        """Nothing is known to be wrong."""
        return ()

    async def tell(self, key: ConversationKey, author: Author, text: str) -> None:
        """Show `text` to the person."""
        await self._tell(key, author, text)
