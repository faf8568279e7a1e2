"""A fake inbox for the adapters of all platforms: it records its calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bot.domain.conversations import Author, Conversation, ConversationKey
from bot.domain.errors import StoreUnavailable
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


@dataclass
class FakeInbox:
    """Accepts everything; a message that was received before is KNOWN, as in the real store.

    Messages, commands, edits and deletions raise `error` if it is set, and the next `failures` of
    them raise StoreUnavailable.
    """

    connections: int = 0
    received: list[Incoming] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    conversations: dict[str, ConversationKey] = field(default_factory=dict)  # by source
    commands: list[Command] = field(default_factory=list)
    command_seconds: float = 0.0
    answer: CommandReply | None = None
    choices: Sequence[Choice] = ()
    choices_requested: list[tuple[ConversationKey, str]] = field(default_factory=list)
    read: list[list[Incoming]] = field(default_factory=list)  # the arguments of `missed`
    marks: dict[tuple[str, str], Watermark] = field(default_factory=dict)
    active_conversations: list[Conversation] = field(default_factory=list)
    latest_questions: list[Asked] = field(default_factory=list)
    edits: list[tuple[Incoming, float]] = field(default_factory=list)
    deletions: list[str] = field(default_factory=list)
    replacements: list[str] = field(default_factory=list)
    gone_keys: list[ConversationKey] = field(default_factory=list)
    apologies: list[Incoming] = field(default_factory=list)  # only the first one is due
    open_gaps: list[Gap] = field(default_factory=list)
    known_replies: dict[str, int] = field(default_factory=dict)  # by thread
    reads: dict[str, ThreadRead] = field(default_factory=dict)  # by channel
    left: list[Leftover] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)  # conversations
    error: Exception | None = None
    failures: int = 0
    missed_error: Exception | None = None
    refused: int = 0  # calls that raised an error
    listening: frozenset[str] = frozenset()  # channels and categories
    refusals: dict[str, str] = field(default_factory=dict)  # sentences by person id
    before_receive: Callable[[Incoming], Any] = lambda _incoming: None

    def listens(self, channel: ConversationKey, category: str = "") -> bool:
        return bool({channel.channel, category} & self.listening)

    async def refusal(self, key: ConversationKey, author: Author) -> str:
        return self.refusals.get(author.id, "")

    async def wait_seconds(self, key: ConversationKey, author: Author) -> float:
        return 0.0

    async def connected(self, platform: str) -> None:
        self.connections += 1

    async def receive(self, incoming: Incoming) -> Receipt:
        waiting = self.before_receive(incoming)
        if waiting is not None:
            await waiting
        self._raise_if_failing()
        known = incoming.source in self.conversations
        self.receipts.append(Receipt.KNOWN if known else Receipt.QUESTION)
        if not known:
            self.conversations[incoming.source] = incoming.key
            self.received.append(incoming)
        return self.receipts[-1]

    async def apology_due(self, incoming: Incoming) -> bool:
        self.apologies.append(incoming)
        return len(self.apologies) == 1

    async def command(self, command: Command) -> CommandReply:
        await asyncio.sleep(self.command_seconds)
        self._raise_if_failing()
        self.commands.append(command)
        return self.answer or CommandReply(f"done: {command.name}")

    async def conversation_of(self, source: str) -> ConversationKey | None:
        return self.conversations.get(source)

    async def recent(self, place: ConversationKey, author: str) -> Sequence[Choice]:
        self.choices_requested.append((place, author))
        return [choice for choice in self.choices if choice.key.channel == place.channel]

    async def missed(self, messages: Sequence[Incoming]) -> None:
        if self.missed_error is not None:
            raise self.missed_error
        self.read.append(list(messages))
        for message in messages:
            await self.receive(message)

    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        return list(self.marks.values())

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        for mark in marks:
            channel = (mark.workspace, mark.channel)
            old = self.marks.get(channel, mark)
            self.marks[channel] = replace(mark, position=max(mark.position, old.position, 0))

    async def gaps(self, reader: str) -> Sequence[Gap]:
        del reader
        return list(self.open_gaps)

    async def finish_gaps(self, reader: str, gaps: Sequence[Gap]) -> None:
        del reader
        self.open_gaps = [gap for gap in self.open_gaps if gap not in gaps]

    async def thread_reads(self, platform: str, workspace: str) -> Sequence[ThreadRead]:
        del platform, workspace
        return list(self.reads.values())

    async def count_known_replies(self, place: ConversationKey) -> Mapping[str, int]:
        del place
        return self.known_replies

    async def record_thread_read(self, platform: str, read: ThreadRead) -> None:
        del platform
        self.reads[read.channel] = read

    async def active(self, platform: str) -> Sequence[Conversation]:
        return self.active_conversations

    async def is_busy(self, conversation: int) -> bool:
        return conversation in self.busy

    async def add_leftover(self, leftover: Leftover) -> None:
        self._raise_if_failing()
        if leftover not in self.left:
            at = leftover.created_at or time.time()
            self.left.append(replace(leftover, created_at=at))

    async def leftovers(self, platform: str) -> Sequence[Leftover]:
        del platform
        return list(self.left)

    async def leftovers_of(self, conversation: int) -> Sequence[Leftover]:
        return [each for each in self.left if each.conversation == conversation]

    async def remove_leftover(self, leftover: Leftover) -> None:
        self.left[:] = [each for each in self.left if each != leftover]

    async def last_questions(self, platform: str) -> Sequence[Asked]:
        return self.latest_questions

    async def edited(self, incoming: Incoming, edited_at: float) -> None:
        self._raise_if_failing()
        self.edits.append((incoming, edited_at))

    async def deleted(self, source: str) -> None:
        self._raise_if_failing()
        self.deletions.append(source)

    async def replaced(self, source: str) -> None:
        self._raise_if_failing()
        self.replacements.append(source)

    async def gone(self, place: ConversationKey) -> None:
        self.gone_keys.append(place)

    def find(self, text: str) -> Incoming | None:
        """The received message with this text, if any."""
        return next((message for message in self.received if message.text == text), None)

    def _raise_if_failing(self) -> None:
        error = StoreUnavailable("the disk is full") if self.failures else self.error
        self.failures = max(0, self.failures - 1)
        if error is not None:
            self.refused += 1
            raise error
