"""The port of votes on replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bot.domain.conversations import ConversationKey
from bot.domain.feedback import Feedback, Vote, VoteEffect


class FeedbackStore(Protocol):
    """Votes, one of each person on each reply. Methods raise StoreUnavailable.

    Everything is about the turn `turn` of the conversation `key`, so that a button that names a
    turn of another conversation does nothing. `person` is the platform's id.
    """

    async def press(self, key: ConversationKey, turn: int, person: str, vote: Vote) -> VoteEffect:
        """Count a vote in place of the person's last one; the same vote again is taken back."""
        ...

    async def set_vote(
        self, key: ConversationKey, turn: int, person: str, vote: Vote | None, comment: str = ""
    ) -> bool:
        """Replace the person's vote and comment; None takes it back. False: no such reply."""
        ...

    async def set_comment(self, key: ConversationKey, turn: int, person: str, text: str) -> bool:
        """Replace the comment on a thumbs-down. False if the person has no such vote."""
        ...

    async def turn_of(self, key: ConversationKey, reply: str) -> int | None:
        """The turn of a reply with this public id in a conversation; None if there is none."""
        ...

    async def votes(self, key: ConversationKey, person: str) -> Mapping[int, Feedback]:
        """The person's votes in a conversation, by turn."""
        ...
