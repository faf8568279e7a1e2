"""The port for votes on replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bot.domain.conversations import ConversationKey
from bot.domain.feedback import Feedback, Vote, VoteEffect


class FeedbackStore(Protocol):
    """Votes, at most one from each person on each reply. Methods raise StoreUnavailable.

    The turn `turn` must belong to the conversation `key`, so that a button that names a turn of
    another conversation has no effect. `person` is the platform's id.
    """

    async def press(self, key: ConversationKey, turn: int, person: str, vote: Vote) -> VoteEffect:
        """Replace the person's vote; voting the same way again takes the vote back."""
        ...

    async def set_vote(
        self, key: ConversationKey, turn: int, person: str, vote: Vote | None, comment: str = ""
    ) -> bool:
        """Replace the person's vote and comment; None takes the vote back. False if there is no
        such reply."""
        ...

    async def set_comment(self, key: ConversationKey, turn: int, person: str, text: str) -> bool:
        """Replace the comment on a thumbs-down. False if the person did not vote thumbs-down."""
        ...

    async def turn_of(self, key: ConversationKey, reply: str) -> int | None:
        """The turn of the conversation's reply with this public id; None if there is none."""
        ...

    async def votes(self, key: ConversationKey, person: str) -> Mapping[int, Feedback]:
        """The person's votes in a conversation, by turn."""
        ...
