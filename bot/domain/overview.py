"""What operators list of the database: conversations, as `threadline conversations` shows them."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.conversations import ConversationKey


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Which conversations are listed; "" and None: any.

    `place` is a workspace, channel or thread, or several of them from the left
    (WORKSPACE/CHANNEL/THREAD). `person` is a platform's id. `since` is in Unix seconds. `words`
    are all in the name, in any case.
    """

    platform: str = ""
    place: str = ""
    person: str = ""
    since: float = 0.0
    words: tuple[str, ...] = ()

    def has_words(self, name: str) -> bool:
        """Whether a conversation's name has all words."""
        folded = name.casefold()
        return all(word.casefold() in folded for word in self.words)


@dataclass(frozen=True, slots=True)
class ListedConversation:
    """A conversation, with its newest turn. `messages` counts those that are not erased.

    `model` was chosen with /model; `answered_by` wrote the newest reply. `state` is the newest
    turn's: waiting, running, concluded, or its outcome; "" without a turn.
    """

    uid: str
    key: ConversationKey
    name: str
    visibility: str
    created_at: float
    updated_at: float
    messages: int
    model: str | None = None
    answered_by: str | None = None
    state: str = ""
