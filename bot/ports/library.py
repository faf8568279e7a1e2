"""The library port: conversations as records for the HTTP API and the page to read and change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.conversations import Author, Effort, Role
from bot.domain.records import (
    UNCHANGED,
    AttachmentContent,
    ChannelRead,
    ConversationRecord,
    EntryPosition,
    MessageRecord,
    NewConversation,
    RecordScope,
    ReplyRecord,
    ThreadEntry,
    ThreadRecord,
    Unchanged,
)


class Library(Protocol):
    """Reads and changes conversations, messages and replies by their public ids.

    Lists have at most `limit` entries; passing the last entry as `before` or `after` gives the next
    ones. All methods raise StoreUnavailable if the database cannot be read or written.
    """

    async def create(self, new: NewConversation) -> ConversationRecord:
        """Create a conversation. If one with the same key exists, return it unchanged."""
        ...

    async def find(self, uid: str, scope: RecordScope) -> ConversationRecord | None:
        """The conversation with this public id, if it is in `scope`."""
        ...

    async def public(self, uid: str) -> ConversationRecord | None:
        """The conversation with this public id, on any platform, if it was never private."""
        ...

    async def conversations(
        self,
        scope: RecordScope,
        *,
        before: str | None,
        limit: int,
        archived: bool | None = None,
    ) -> Sequence[ConversationRecord]:
        """The conversations in `scope`, newest first, starting after the one with public id
        `before`. `archived` selects only archived or only other conversations."""
        ...

    async def public_conversations(
        self, platform: str, *, before: str | None, limit: int
    ) -> Sequence[ConversationRecord]:
        """The platform's public conversations, newest first."""
        ...

    async def threads(
        self, scope: RecordScope, *, before: str | None, limit: int
    ) -> Sequence[ThreadRecord]:
        """The conversations in `scope` that have messages, newest first."""
        ...

    async def thread(self, uid: str, scope: RecordScope) -> ThreadRecord | None:
        """The thread with this public id, if it is in `scope` and has a question."""
        ...

    async def entries(
        self, scope: RecordScope, *, archived: bool, after: EntryPosition | None, limit: int
    ) -> Sequence[ThreadEntry]:
        """The owner's list of the conversations of one channel: pinned ones first, then by last
        activity, starting below the position `after`."""
        ...

    async def messages(
        self, conversation: int, *, after: int, limit: int
    ) -> Sequence[MessageRecord]:
        """Messages with an index above `after` in index order, followed by those without an
        index."""
        ...

    async def latest(
        self, conversation: int, *, limit: int, until: int | None = None
    ) -> Sequence[MessageRecord]:
        """The newest messages, in index order; those without an index come last.

        `until` limits them to messages with an index up to this one.
        """
        ...

    async def find_message(self, source: str) -> MessageRecord | None:
        """The message with this `Incoming.source`."""
        ...

    async def message(self, conversation: int, uid: str) -> MessageRecord | None:
        """The message with this public id, even if it is not shown; None if it was erased."""
        ...

    async def attachment(self, uid: str, scope: RecordScope) -> AttachmentContent | None:
        """The attachment with this public id, if its conversation is in `scope`."""
        ...

    async def public_attachment(self, uid: str) -> AttachmentContent | None:
        """The attachment with this public id, on any platform, if its conversation was never
        private."""
        ...

    async def replies(
        self, conversation: int, *, limit: int, until: int | None = None
    ) -> Sequence[ReplyRecord]:
        """The newest replies whose turns have been claimed, in index order, without erased ones.

        `until` limits them to replies with an index up to this one.
        """
        ...

    async def versions(self, conversation: int) -> Sequence[Sequence[tuple[int, bool]]]:
        """The shown places of the current epoch that have several versions of a question or answer.

        Each place lists the indexes of its versions, oldest first, and whether each is shown.
        """
        ...

    async def versions_of(self, conversation: int, uid: str) -> Sequence[MessageRecord]:
        """All versions of a question or an answer, oldest first, without erased and waiting ones.

        Only the message if it has no other versions; empty if there is no such message.
        """
        ...

    async def reply(self, turn: int) -> ReplyRecord | None:
        """The reply of a turn; None if the turn does not exist or was deleted."""
        ...

    async def update(
        self,
        uid: str,
        scope: RecordScope,
        *,
        name: str | Unchanged = UNCHANGED,
        model: str | Unchanged | None = UNCHANGED,
        effort: Effort | Unchanged | None = UNCHANGED,
        instructions: str | Unchanged = UNCHANGED,
        temperature: float | Unchanged | None = UNCHANGED,
        pinned: bool | Unchanged = UNCHANGED,
        archived: bool | Unchanged = UNCHANGED,
    ) -> ConversationRecord | None:
        """Change the name or the place in the owner's list; or, from the next turn on, the model,
        its effort, the instructions or the temperature.

        None if the conversation does not exist.
        """
        ...

    async def delete(self, uid: str, scope: RecordScope) -> int | None:
        """Delete a conversation with all its messages. Returns its row id; None if it does not
        exist.

        The claim of its turn becomes stale; the caller ends the running turn with `Inbox.gone`.
        """
        ...

    async def channel_reads(
        self, person: str, channels: Sequence[RecordScope]
    ) -> list[ChannelRead]:
        """The time up to which a person has seen each of these channels."""
        ...

    async def mark_channel_read(self, person: str, channel: RecordScope, until: float) -> bool:
        """Record that a person has seen a channel up to `until`, in Unix seconds. Returns whether
        the mark moved; it only moves forward."""
        ...

    async def mark_read(self, uid: str, scope: RecordScope, until: float) -> bool:
        """Record that the owner has seen the answers up to `until`, in Unix seconds. Returns
        whether this changed anything."""
        ...

    async def hide(self, uid: str, scope: RecordScope) -> bool:
        """Delete a conversation for its owner, who may still undo the deletion. Returns whether it
        existed.

        No other method finds it, and its waiting questions are dropped. The caller stops the
        running turn.
        """
        ...

    async def hold(self, uid: str, scope: RecordScope) -> bool:
        """Restart the time after which a hidden conversation is erased. Returns False if it is not
        hidden, was erased, or was hidden ten minutes ago."""
        ...

    async def unhide(self, uid: str, scope: RecordScope) -> bool:
        """Undo `hide`. Returns False if the conversation is not hidden, or was erased."""
        ...

    async def hidden(self, *, before: float, limit: int) -> Sequence[str]:
        """The public ids of conversations that were hidden before `before`, in Unix seconds."""
        ...

    async def erase_hidden(self, uid: str, *, before: float) -> bool:
        """Delete a conversation, like `delete`, if it was hidden before `before`. Returns whether
        it was."""
        ...

    async def add(
        self, conversation: int, role: Role, content: str, author: Author | None
    ) -> MessageRecord | None:
        """Append a message that does not start a turn. None if the conversation does not exist."""
        ...

    async def change(
        self, conversation: int, uid: str, *, role: Role | None, content: str | None
    ) -> MessageRecord | None:
        """Change a message; None as `role` or `content` leaves it unchanged. Returns None if there
        is no such message.

        Raises RecordHeld while a turn is using the message, and for a new role of a question or a
        reply.
        """
        ...

    async def erase(self, conversation: int, uid: str) -> bool:
        """Erase a message's text and hide the message. Returns whether it existed.

        Its index is not reused. Raises RecordHeld while a turn is using the message.
        """
        ...
