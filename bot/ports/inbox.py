"""The inbox port: what adapters report to the core.

An adapter gets the whole `Inbox`; a class that needs only a part of it asks for that part:

Inbox
├── MessageInbox    events: messages, edits, deletions
├── CatchUpInbox    missed messages, and the watermarks that reveal them
├── CommandInbox    commands, and the conversations they are about
└── LeftoverInbox   leftovers, which the bot has yet to remove from the platform

Every method returns after the database has committed the report, and raises StoreUnavailable
if it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.domain.conversations import Author, Conversation, ConversationKey
from bot.domain.inbox import (
    Asked,
    Choice,
    Command,
    CommandReply,
    Gap,
    Incoming,
    Receipt,
    ThreadRead,
    Watermark,
)
from bot.domain.leftovers import Leftover


class ConversationLookup(Protocol):
    """Finds the conversation of a platform message."""

    async def conversation_of(self, source: str) -> ConversationKey | None:
        """The conversation of a message (`Incoming.source`) or of a page of a reply, if any."""
        ...


class AccessLookup(Protocol):
    """What adapters ask about the rules; neither method raises."""

    def listens(self, channel: ConversationKey, category: str = "") -> bool:
        """Whether to report messages that address no one in this channel, as `Address.CHANNEL`.

        Costs nothing, so adapters ask for each message. `channel` is a key without thread;
        `category` is Discord's id. True also if that depends on a name that only the core knows.
        """
        ...

    async def refusal(self, key: ConversationKey, author: Author) -> str:
        """Why this person may not ask here, as a sentence to them; "" if they may, or if that is
        unknown.

        For adapters that can refuse before a message is sent. `receive` decides again.
        """
        ...

    async def wait_seconds(self, key: ConversationKey, author: Author) -> float:
        """Seconds until this person may ask again here, by the rates of the rules; 0 is now."""
        ...


class MessageInbox(ConversationLookup, AccessLookup, Protocol):
    """Messages and what happens to them afterwards, as the platform's events report it."""

    async def connected(self, platform: str) -> None:
        """Events of `platform` arrive from now on: resumes its unfinished turns."""
        ...

    async def receive(self, incoming: Incoming) -> Receipt:
        """Store a message. Acknowledge it to the platform only after this has returned.

        REFUSED: its author may not ask here; TOO_EARLY: not before `wait_seconds`. The core tells
        them, with `Directory.tell`.
        """
        ...

    async def apology_due(self, incoming: Incoming) -> bool:
        """Whether to tell the author that the message could not be stored.

        Notices are rate-limited; True counts as one that was sent.
        """
        ...

    async def edited(self, incoming: Incoming, edited_at: float) -> None:
        """A message was edited, at `edited_at` in Unix seconds; the same text changes nothing.

        A message that is not stored counts as new if it addresses the bot and was edited just now.
        """
        ...

    async def deleted(self, source: str) -> None:
        """A person deleted a message of theirs (`Incoming.source`) or a page of a reply.

        Adapters do not report the messages that they delete themselves.
        """
        ...

    async def replaced(self, source: str) -> None:
        """Another message replaced this one, with the same text, and is received separately.

        Forgets the message and takes back the reply to it.
        """
        ...

    async def gone(self, place: ConversationKey) -> None:
        """The bot can no longer write in `place`: ends the turns there.

        Without a thread, `place` is a whole channel; without a channel, a whole workspace.
        """
        ...


class CatchUpInbox(AccessLookup, Protocol):
    """Missed messages, and the watermarks below which no message was missed."""

    async def missed(self, messages: Sequence[Incoming]) -> None:
        """Store the messages of one channel that were missed, oldest first.

        As `receive`, except that a question older than the settings allow becomes history with an
        apology, and that one turn answers all questions of a conversation. A known message with
        another text counts as edited. After StoreUnavailable, report all of them again.
        """
        ...

    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        """The stored watermarks of `platform`."""
        ...

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        """Raise watermarks; a lower position than the stored one changes nothing."""
        ...

    async def gaps(self, reader: str) -> Sequence[Gap]:
        """The gaps of processes that `reader` has not finished. Raises StoreUnavailable."""
        ...

    async def finish_gaps(self, reader: str, gaps: Sequence[Gap]) -> None:
        """Record that `reader` has read everything since these gaps. Raises StoreUnavailable."""
        ...

    async def thread_reads(self, platform: str, workspace: str) -> Sequence[ThreadRead]:
        """What of the workspace's threads was read again. Raises StoreUnavailable."""
        ...

    async def count_known_replies(self, place: ConversationKey) -> Mapping[str, int]:
        """How many messages each thread of the channel has as far as the database knows, without
        its root. Raises StoreUnavailable."""
        ...

    async def record_thread_read(self, platform: str, read: ThreadRead) -> None:
        """Record that a thread was read again. Raises StoreUnavailable."""
        ...

    async def active(self, platform: str) -> Sequence[Conversation]:
        """The most recently active conversations of `platform`, newest first."""
        ...

    async def last_questions(self, platform: str) -> Sequence[Asked]:
        """The last question of each recent conversation, to re-check for edits and deletions."""
        ...


class CommandInbox(ConversationLookup, Protocol):
    """Commands from slash commands, buttons and shortcuts."""

    async def command(self, command: Command) -> CommandReply:
        """Execute a command."""
        ...

    async def recent(self, place: ConversationKey, author: str) -> Sequence[Choice]:
        """The author's most recent conversations in the channel of `place`, as reset buttons."""
        ...


class LeftoverInbox(ConversationLookup, Protocol):
    """Leftovers. All methods raise StoreUnavailable."""

    async def add_leftover(self, leftover: Leftover) -> None:
        """Record a leftover."""
        ...

    async def leftovers(self, platform: str) -> Sequence[Leftover]:
        """The leftovers on the platform, oldest first."""
        ...

    async def leftovers_of(self, conversation: int) -> Sequence[Leftover]:
        """The leftovers of one conversation."""
        ...

    async def remove_leftover(self, leftover: Leftover) -> None:
        """It was removed, or never can be."""
        ...

    async def is_busy(self, conversation: int) -> bool:
        """Whether the conversation has an unfinished turn."""
        ...


class Inbox(MessageInbox, CatchUpInbox, CommandInbox, LeftoverInbox, Protocol):
    """Everything that an adapter reports to the core."""
