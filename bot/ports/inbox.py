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
    """Finds the conversation that a platform message belongs to."""

    async def conversation_of(self, source: str) -> ConversationKey | None:
        """The conversation of a message (`Incoming.source`), or of a page of a reply; None if there
        is none."""
        ...


class AccessLookup(Protocol):
    """Answers adapters' questions about the rules; neither method raises."""

    def listens(self, channel: ConversationKey, category: str = "") -> bool:
        """Whether to report messages of this channel that address no one, as `Address.CHANNEL`.

        The call is cheap, so adapters make it for each message. `channel` is a key without a
        thread; `category` is Discord's id. Also True if the answer depends on a name that only the
        core knows.
        """
        ...

    async def refusal(self, key: ConversationKey, author: Author) -> str:
        """Why this person may not ask here, as a sentence to them; "" if they may, or if this is
        unknown.

        Adapters that can refuse a message before it is sent use this. `receive` decides again.
        """
        ...

    async def wait_seconds(self, key: ConversationKey, author: Author) -> float:
        """Seconds until this person may ask again here, according to the rates in the rules; 0 if
        now."""
        ...


class MessageInbox(ConversationLookup, AccessLookup, Protocol):
    """Reports of the platform's events about messages."""

    async def connected(self, platform: str) -> None:
        """Report that events of `platform` arrive from now on; resumes its unfinished turns."""
        ...

    async def receive(self, incoming: Incoming) -> Receipt:
        """Store a message. Acknowledge it to the platform only after this has returned.

        REFUSED: its author may not ask here. TOO_EARLY: they may not ask before `wait_seconds`. The
        core tells them with `Directory.tell`.
        """
        ...

    async def apology_due(self, incoming: Incoming) -> bool:
        """Whether to tell the author that the message could not be stored.

        Notices are rate-limited; a result of True counts as a sent notice.
        """
        ...

    async def edited(self, incoming: Incoming, edited_at: float) -> None:
        """Report that a message was edited, at `edited_at` in Unix seconds; the same text changes
        nothing.

        A message that is not stored counts as new if it addresses the bot and was edited just now.
        """
        ...

    async def deleted(self, source: str) -> None:
        """Report that a person deleted their message (`Incoming.source`) or a page of a reply.

        Adapters do not report messages that the bot deletes.
        """
        ...

    async def replaced(self, source: str) -> None:
        """Report that another message, received separately, replaced this one and has the same
        text.

        Forgets the message and takes back the reply to it.
        """
        ...

    async def gone(self, place: ConversationKey) -> None:
        """Report that the bot can no longer write in `place`; ends the turns there.

        Without a thread, `place` is a whole channel; without a channel, a whole workspace.
        """
        ...


class CatchUpInbox(AccessLookup, Protocol):
    """Missed messages, and the watermarks up to which none were missed."""

    async def missed(self, messages: Sequence[Incoming]) -> None:
        """Store missed messages of one channel, oldest first.

        Like `receive`, except that a question older than the settings allow becomes history with an
        apology, and that one turn answers all questions of a conversation. A known message with a
        different text counts as edited. After StoreUnavailable, report all of them again.
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
        """The parts of the workspace's threads that were read again. Raises StoreUnavailable."""
        ...

    async def count_known_replies(self, place: ConversationKey) -> Mapping[str, int]:
        """Count the messages of each thread in the channel that the database knows, without the
        root. Raises StoreUnavailable."""
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
        """Record that the leftover was removed, or never can be."""
        ...

    async def is_busy(self, conversation: int) -> bool:
        """Whether the conversation has an unfinished turn."""
        ...


class Inbox(MessageInbox, CatchUpInbox, CommandInbox, LeftoverInbox, Protocol):
    """Everything that an adapter reports to the core."""
