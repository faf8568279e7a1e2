"""The inbox port: what adapters report to the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.conversations import Conversation, ConversationKey
from bot.domain.inbox import Asked, Choice, Command, CommandReply, Incoming, Receipt, Watermark


class Inbox(Protocol):
    """What adapters tell the core. All methods return once the database has it."""

    async def connected(self, platform: str) -> None:
        """Events arrive from now on (a start or a new session): unfinished turns go on."""
        ...

    async def receive(self, incoming: Incoming) -> Receipt:
        """Accept a message; only then it may be acknowledged. Raises StoreUnavailable."""
        ...

    async def apology_due(self, incoming: Incoming) -> bool:
        """Whether to tell its author, now, that it could not be stored; a yes counts as told."""
        ...

    async def missed(self, messages: Sequence[Incoming]) -> None:
        """Accept what one place said while its events did not arrive, oldest first.

        As `receive`, but what is older than the settings allow becomes history with an apology, and
        a conversation's questions are answered together. One that is known and says another text
        now was edited meanwhile. All come again after StoreUnavailable.
        """
        ...

    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        """How far each place was decided when it was last stored."""
        ...

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        """Store that places were decided so far; a watermark never goes back."""
        ...

    async def active(self, platform: str) -> Sequence[Conversation]:
        """The platform's conversations in which something was said last, the newest first."""
        ...

    async def last_questions(self, platform: str) -> Sequence[Asked]:
        """The last question of the few conversations in which somebody may still change it."""
        ...

    async def command(self, command: Command) -> CommandReply:
        """Carry out a command of a slash, a button or a shortcut."""
        ...

    async def edited(self, incoming: Incoming, edited_at: float) -> None:
        """A message was edited (in Unix seconds); the same text again changes nothing.

        One that is not stored counts as new where it addresses the bot and was edited just now.
        """
        ...

    async def deleted(self, source: str) -> None:
        """A message was deleted: a person's (`Incoming.source`), or a page of ours.

        Messages that the adapter itself deletes are not reported.
        """
        ...

    async def replaced(self, source: str) -> None:
        """A person's message was replaced by another with the same words, which is received too.

        It is forgotten, and a reply to it is taken back.
        """
        ...

    async def gone(self, place: ConversationKey) -> None:
        """A place can no longer be written to: end what is being written there.

        Without a thread it is a channel, without a channel the whole workspace.
        """
        ...

    async def conversation_of(self, source: str) -> ConversationKey | None:
        """The conversation that a platform message (`Incoming.source`, or a page's) belongs to."""
        ...

    async def recent(self, place: ConversationKey, author: str) -> Sequence[Choice]:
        """That person's latest conversations in `place` (its thread is ignored), to reset."""
        ...
