"""The port for reading conversations and keeping them as records: programs and the page use it.

The core answers questions without it; `bot.ports` has what the core itself runs on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.conversations import Author, Role
from bot.domain.records import (
    UNCHANGED,
    ConversationRecord,
    MessageRecord,
    NewConversation,
    RecordScope,
    ReplyRecord,
    ThreadRecord,
    Unchanged,
)


class Library(Protocol):
    """Conversations as records, for programs and the page: read, kept, deleted.

    Lists are bounded by `limit` and go on before (or after) the last that was seen. All raise
    StoreUnavailable when the database cannot be written or read.
    """

    async def create(self, new: NewConversation) -> ConversationRecord:
        """Make a conversation; where its key is known already, that one, unchanged."""
        ...

    async def find(self, uid: str, place: RecordScope) -> ConversationRecord | None:
        """The conversation with this public id, if it is one of `place`."""
        ...

    async def public(self, uid: str) -> ConversationRecord | None:
        """The conversation with this public id, if it was never private, on any platform."""
        ...

    async def conversations(
        self, place: RecordScope, *, before: str | None, limit: int
    ) -> Sequence[ConversationRecord]:
        """Those of `place`, the newest first, made before the one with the public id `before`."""
        ...

    async def public_conversations(
        self, platform: str, *, before: str | None, limit: int
    ) -> Sequence[ConversationRecord]:
        """Those of the platform's public channels, the newest first."""
        ...

    async def threads(
        self, place: RecordScope, *, before: str | None, limit: int
    ) -> Sequence[ThreadRecord]:
        """Those of `place` in which something was said, the newest first."""
        ...

    async def thread(self, uid: str, place: RecordScope) -> ThreadRecord | None:
        """One of them."""
        ...

    async def messages(
        self, conversation: int, *, after: int, limit: int
    ) -> Sequence[MessageRecord]:
        """Messages in index order, with an index above `after`; those without one come last."""
        ...

    async def latest(self, conversation: int, *, limit: int) -> Sequence[MessageRecord]:
        """The newest messages, in index order."""
        ...

    async def asked(self, source: str) -> MessageRecord | None:
        """The stored message of a source (`Incoming.source`)."""
        ...

    async def replies(self, conversation: int, *, limit: int) -> Sequence[ReplyRecord]:
        """The newest replies that were begun, in index order."""
        ...

    async def reply(self, turn: int) -> ReplyRecord | None:
        """One turn's reply; None when there is no such turn (any more)."""
        ...

    async def update(
        self,
        uid: str,
        place: RecordScope,
        *,
        name: str | Unchanged = UNCHANGED,
        model: str | Unchanged | None = UNCHANGED,
    ) -> ConversationRecord | None:
        """Rename it, or choose its model from the next turn on; None when there is none such."""
        ...

    async def delete(self, uid: str, place: RecordScope) -> int | None:
        """Delete it with all that was said, and end its running turn; the conversation's number."""
        ...

    async def add(
        self, conversation: int, role: Role, content: str, author: Author | None
    ) -> MessageRecord | None:
        """Put a message at the end, asking nothing; None when the conversation is gone."""
        ...

    async def change(
        self, conversation: int, uid: str, *, role: Role | None, content: str | None
    ) -> MessageRecord | None:
        """Change a message (None: leave it so); None when there is none such.

        Raises RecordHeld while a turn works on it, and where its role is not free to change.
        """
        ...

    async def erase(self, conversation: int, uid: str) -> bool:
        """Take a message out, and what it said out of the database; whether there was one.

        Its index is not given again. Raises RecordHeld while a turn works on it.
        """
        ...
