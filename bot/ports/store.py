"""The store's port: the database as transitions, each one transaction with its precondition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.conversations import Author, Conversation, ConversationKey, Message
from bot.domain.inbox import Accepted, Asked, Change, Incoming, Watermark
from bot.domain.turns import Claim, Fence, Suspect, TurnResult


class Store(Protocol):
    """The database as transitions: each is one transaction with its precondition.

    All of a turn's carry its fence and raise LostOwnership when it is stale; all raise
    StoreUnavailable when the database cannot be written or read.
    """

    async def accept(self, incoming: Incoming, backlog: Sequence[Incoming] = ()) -> Accepted:
        """Store a message, its conversation and its turn, durably; the same again changes nothing.

        `backlog` becomes history before it when the message begins the conversation.
        """
        ...

    async def claim(self, conversation: int) -> Claim | None:
        """The conversation's next turn: an unfinished one first, then the waiting one.

        Binds the questions in the platform's order, and reserves the reply's index.
        """
        ...

    async def hold(self, fence: Fence, *, held: bool = True) -> None:
        """Work on a turn begins, or ended without a failure of its own.

        A claim says so of every turn that is no suspect.
        """
        ...

    async def leave(self) -> None:
        """The process is about to end as it should: what it works on now counts no death."""
        ...

    async def suspects(self) -> Sequence[Suspect]:
        """The unfinished turns that processes died with: see `bot.turns.quarantine`."""
        ...

    async def unfinished(self, platform: str) -> Sequence[int]:
        """The platform's conversations that have a turn to work on, oldest first."""
        ...

    async def record_command(self, source: str) -> None:
        """The message `source` was a command that changed nothing; raises CommandDone.

        Here and below, `source` is the message that said so, recorded in the same transaction. One
        that was carried out before, was deleted, or is stored as something else raises CommandDone
        and changes nothing: what is done is never done again when that message comes again.
        """
        ...

    async def intend(self, fence: Fence, page: int) -> None:
        """A page is about to be posted."""
        ...

    async def shown(self, fence: Fence, page: int, *, channel: str, message_id: str) -> None:
        """A page was posted, or found again, as message `message_id` in `channel`.

        Raises LostOwnership also when people deleted that message before: the reply is taken back.
        """
        ...

    async def removed(self, fence: Fence, page: int) -> None:
        """A page that is no longer needed was removed from the platform."""
        ...

    async def conclude(self, fence: Fence, conclusion: TurnResult) -> None:
        """The turn's outcome and text are decided; the reply enters the history."""
        ...

    async def finish(self, fence: Fence) -> None:
        """Everything of a concluded turn is shown."""
        ...

    async def reset(self, key: ConversationKey, *, source: str = "") -> Conversation | None:
        """Begin a new epoch; waiting questions end as reset. None when there is none such."""
        ...

    async def undo_reset(
        self, key: ConversationKey, epoch: int | None, *, source: str = ""
    ) -> Conversation | None:
        """Look again at what was said before the last reset; what came since follows it, in order.

        Only if that is epoch `epoch`, where given: pressing a button twice undoes one reset. None
        when there is nothing (more) to bring back.
        """
        ...

    async def stop(self, key: ConversationKey, turn: int | None, *, source: str = "") -> Change:
        """End the running turn, if it is `turn` where given: STOP, or UNKNOWN when none runs.

        Whoever holds it concludes it; if nobody comes to that, the next claim says `stopping`.
        """
        ...

    async def reopen(self, key: ConversationKey, turn: int | None, *, source: str = "") -> Change:
        """Open the newest turn again, in place: AGAIN, or BUSY, OLDER (not that one), UNKNOWN."""
        ...

    async def go_on(
        self,
        key: ConversationKey,
        turn: int | None,
        author: Author,
        text: str,
        *,
        source: str = "",
    ) -> Change:
        """Ask `text` below the newest turn's reply, once for each: AGAIN with the turn that waits.

        Or BUSY, OLDER (there is a newer turn than `turn`), UNKNOWN (nothing to go on from).
        """
        ...

    async def edit(self, source: str, text: str, edited_at: float) -> Change:
        """A stored message says something else. AGAIN: the newest turn was opened again for it.

        KEPT (it waits, or is history), OLDER (later turns see it), SAME, UNKNOWN.
        """
        ...

    async def erase(self, source: str, *, with_reply: bool) -> Change:
        """A message, or a page of a reply, was deleted: forget its text, and never take it again.

        AGAIN: the turn is to be claimed, to go on without it or to take its reply away (that of a
        deleted page; `with_reply` that of a turn whose last question this was). STOP: the running
        turn has no question left. KEPT, SAME, or UNKNOWN: then a tombstone keeps it out.
        """
        ...

    async def choose_model(
        self, key: ConversationKey, model: str | None, *, source: str = ""
    ) -> Conversation | None:
        """Use another model from the next turn on. None when there is no such conversation."""
        ...

    async def history(
        self, conversation: int, *, epoch: int, before: int, limit: int
    ) -> Sequence[Message]:
        """Up to `limit` messages of the epoch with an index below `before`, newest first."""
        ...

    async def find(self, key: ConversationKey) -> Conversation | None:
        """The conversation with this key."""
        ...

    async def conversation_of(self, source: str) -> Conversation | None:
        """The conversation of a platform message: a person's, or a page of a reply."""
        ...

    async def recent(
        self, place: ConversationKey, author: str, limit: int
    ) -> Sequence[Conversation]:
        """The newest conversations in a channel in which `author` spoke in this epoch."""
        ...

    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        """All watermarks of a platform."""
        ...

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        """Raise watermarks; a workspace's own drops those of its channels that are not higher."""
        ...

    async def active(self, platform: str, limit: int) -> Sequence[Conversation]:
        """Up to `limit` conversations, those in which something was said last first."""
        ...

    async def last_questions(self, platform: str, *, since: float, limit: int) -> Sequence[Asked]:
        """The last question of up to `limit` conversations changed since (Unix seconds), the
        newest first; none that was erased.
        """
        ...

    async def said_since(self, key: ConversationKey, position: int) -> bool:
        """Whether the conversation has a message of a person after `position`."""
        ...
