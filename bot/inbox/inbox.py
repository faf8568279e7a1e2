"""What comes in: stored in one transaction before the platform is acknowledged (invariant 1)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import structlog

from bot.common.retry import retry_while_unavailable
from bot.domain.conversations import Conversation, ConversationKey
from bot.domain.errors import CommandDone, PlatformError, StoreUnavailable
from bot.domain.inbox import (
    Accepted,
    Address,
    Asked,
    Choice,
    Command,
    CommandReply,
    Incoming,
    Receipt,
    Watermark,
)
from bot.inbox import commands
from bot.inbox.apologies import Apologies
from bot.inbox.edits import EditHandler
from bot.ports.clock import Clock
from bot.ports.platform import Adapter
from bot.ports.store import Store
from bot.turns.scheduler import Scheduler

log = structlog.stdlib.get_logger(__name__)

# Slack wants its acknowledgement within 3 s; reading an old thread may take this much of it.
BACKLOG_SECONDS = 1.5
# Showing a command's answer may wait for the platform's budget, but not for ever.
SAY_SECONDS = 30.0
# A person's own conversations in a channel that a reset in the channel offers.
RECENT = 5
# After a time without events: so many conversations are looked at by themselves where a platform
# does not tell whether something was said in them.
MOST_ACTIVE = 1_000
# And of so many conversations, no older than this (in seconds), it is looked whether the last
# question was edited or deleted meanwhile: that costs a request each.
MOST_CHANGED, CHANGED_SECONDS = 20, 3_600.0


class DurableInbox:
    """The core's side of `bot.ports.Inbox`."""

    def __init__(
        self,
        *,
        store: Store,
        scheduler: Scheduler,
        commands: commands.Commands,
        models: Sequence[str],
        adapters: Mapping[str, Adapter],
        changes: EditHandler,
        clock: Clock,
        missed_seconds: float,
    ) -> None:
        self._store, self._scheduler, self._commands = store, scheduler, commands
        self._models, self._adapters, self._changes = tuple(models), adapters, changes
        self._clock, self._missed_seconds = clock, missed_seconds
        self._answers: set[asyncio.Task[None]] = set()
        self._apologies = Apologies(clock.monotonic)
        self._connected: set[str] = set()

    async def receive(self, incoming: Incoming) -> Receipt:
        """Accept a message; raises StoreUnavailable when it could not be stored."""
        command = commands.parse(incoming, self._models)
        if command is not None:
            return await self._receive_command(incoming, command)
        with self._waking() as asked:
            asked.append(await self._accept(incoming))
        return asked[0].receipt

    async def apology_due(self, incoming: Incoming) -> bool:
        """Whether to tell somebody, now, that this message of theirs could not be stored."""
        addressed = incoming.address.begins
        if incoming.address is Address.FOLLOW_UP:
            with suppress(StoreUnavailable):  # what cannot be written can often still be read
                addressed = await self._store.find(incoming.key) is not None
        return addressed and self._apologies.due(incoming)

    async def missed(self, messages: Sequence[Incoming]) -> None:
        """As `receive`, for what was said while no events came; turns begin after the last.

        What was stored before may have been edited since, and its event missed.
        """
        too_old = self._clock.time() - self._missed_seconds
        with self._waking() as asked:
            for incoming in messages:
                command = commands.parse(incoming, self._models)
                if command is not None:
                    await self._missed_command(incoming, command)
                elif incoming.address.begins or await self._store.find(incoming.key) is not None:
                    late = incoming.sent_at < too_old
                    asked.append(await self._accept(replace(incoming, late=late)))
                    if asked[-1].receipt is Receipt.KNOWN and incoming.edited_at is not None:
                        await self._changes.edited(incoming, incoming.edited_at)

    async def edited(self, incoming: Incoming, edited_at: float) -> None:
        """A message was edited; one that addresses the bot only now is a new one."""
        if not await self._changes.edited(incoming, edited_at):
            await self.receive(incoming)

    async def deleted(self, source: str) -> None:
        """A message was deleted."""
        await self._changes.deleted(source)

    async def replaced(self, source: str) -> None:
        """A message was replaced by another one."""
        await self._changes.replaced(source)

    async def gone(self, place: ConversationKey) -> None:
        """A place can no longer be written to."""
        self._changes.gone(place)

    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        """How far each place was decided."""
        return await self._store.watermarks(platform)

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        """Store that places were decided so far."""
        await self._store.move_watermarks(marks)

    async def active(self, platform: str) -> Sequence[Conversation]:
        """The conversations in which something was said last, the newest first."""
        return await self._store.active(platform, MOST_ACTIVE)

    async def last_questions(self, platform: str) -> Sequence[Asked]:
        """The last question of conversations of the last hour."""
        since = self._clock.time() - CHANGED_SECONDS
        return await self._store.last_questions(platform, since=since, limit=MOST_CHANGED)

    async def command(self, command: Command) -> CommandReply:
        """Carry out a command of a slash, a button or a shortcut."""
        try:
            return await self._carried_out(command)
        except CommandDone:
            return commands.SHOWN_BY_THE_REPLY

    async def connected(self, platform: str) -> None:
        """Events of this platform arrive from now on: go on with what was left unfinished."""
        self._connected.add(platform)
        unfinished = await retry_while_unavailable(
            lambda: self._store.unfinished(platform), self._clock.sleep
        )
        if unfinished:
            log.info("going on with unfinished turns", platform=platform, turns=len(unfinished))
        for conversation in unfinished:
            self._scheduler.wake(conversation)

    def has_connected(self, platform: str) -> bool:
        """Whether events of this platform have ever arrived."""
        return platform in self._connected

    async def conversation_of(self, source: str) -> ConversationKey | None:
        """The conversation that a platform message belongs to."""
        conversation = await self._store.conversation_of(source)
        return conversation.key if conversation else None

    async def recent(self, place: ConversationKey, author: str) -> Sequence[Choice]:
        """That person's latest conversations in `place`, each as a button that resets it."""
        found = await self._store.recent(place, author, RECENT)
        return [
            Choice(label=conversation.name, command=commands.RESET, key=conversation.key)
            for conversation in found
        ]

    async def aclose(self) -> None:
        """Wait for the answers of commands that are on their way."""
        if self._answers:
            await asyncio.wait(self._answers, timeout=SAY_SECONDS)

    async def _accept(self, incoming: Incoming) -> Accepted:
        accepted = await self._store.accept(incoming, await self._backlog(incoming))
        log.debug("message", source=incoming.source, receipt=accepted.receipt.value)
        return accepted

    @contextmanager
    def _waking(self) -> Iterator[list[Accepted]]:
        """See that the questions accepted within are answered, also when it ends by an error."""
        accepted: list[Accepted] = []
        try:
            yield accepted
        finally:
            for one in accepted:
                if one.receipt is Receipt.QUESTION and one.conversation is not None:
                    self._scheduler.wake(one.conversation)

    async def _missed_command(self, incoming: Incoming, command: Command) -> None:
        """What was meant for the state of then does nothing to what was said since."""
        if await self._store.said_since(incoming.key, incoming.position):
            log.info("a missed command comes too late", command=command.name)
            return
        await self._receive_command(incoming, command)

    async def _receive_command(self, incoming: Incoming, command: Command) -> Receipt:
        """Carry it out once; who brings it again returns when that is stored, too."""
        try:
            answer = await self._carried_out(command)
        except CommandDone:
            return Receipt.KNOWN
        task = asyncio.create_task(self._say(incoming, answer))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)
        return Receipt.COMMAND

    async def _carried_out(self, command: Command) -> CommandReply:
        """Raises CommandDone when the message that it came as was taken in before."""
        log.info("command", command=command.name, conversation=str(command.key))
        return await self._commands.run(command)

    async def _say(self, incoming: Incoming, answer: CommandReply) -> None:
        try:
            async with asyncio.timeout(SAY_SECONDS):
                await self._adapters[incoming.key.platform].say(incoming, answer)
        except (PlatformError, TimeoutError) as error:
            log.warning("a command's answer was not shown", error=repr(error))

    async def _backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """What was said in a thread before the bot was mentioned in it for the first time."""
        if not (incoming.in_old_thread and incoming.address.begins):
            return ()
        if await self._store.find(incoming.key) is not None:
            return ()
        try:
            async with asyncio.timeout(BACKLOG_SECONDS):
                return await self._adapters[incoming.key.platform].backlog(incoming)
        except (PlatformError, TimeoutError) as error:
            log.warning("an old thread could not be read", error=repr(error))
            return ()
