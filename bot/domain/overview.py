"""The conversations that `threadline conversations` lists for operators."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.conversations import ConversationKey


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Selects the conversations to list; "" and None match any.

    `place` is a workspace, channel or thread, or a path of them (WORKSPACE/CHANNEL/THREAD).
    `person` is a platform's id. `since` is in Unix seconds. The name must contain all `words`, in
    any case.
    """

    platform: str = ""
    place: str = ""
    person: str = ""
    since: float = 0.0
    words: tuple[str, ...] = ()

    def has_words(self, name: str) -> bool:
        """Whether a conversation's name contains all words."""
        folded = name.casefold()
        return all(word.casefold() in folded for word in self.words)


@dataclass(frozen=True, slots=True)
class ListedConversation:
    """A conversation with its newest turn. `messages` does not count erased ones.

    `model` was chosen with /model; `answered_by` is the model of the newest reply. `state`
    describes the newest turn: waiting, running, concluded, or its outcome; "" without a turn.
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
