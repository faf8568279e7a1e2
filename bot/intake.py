"""What comes in: stored in one transaction before the platform is acknowledged (invariant 1)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from bot import commands
from bot.domain import Answer, Choice, Command, ConversationKey, Incoming, Receipt
from bot.errors import PlatformError
from bot.ports import Adapter, Store
from bot.scheduler import Scheduler

log = structlog.stdlib.get_logger(__name__)

# Slack wants its acknowledgement within 3 s; reading an old thread may take this much of it.
BACKLOG_SECONDS = 1.5
# Showing a command's answer may wait for the platform's budget, but not for ever.
SAY_SECONDS = 30.0
# A person's own conversations in a channel that a reset in the channel offers.
RECENT = 5


class Intake:
    """The core's side of `bot.ports.Inbox`."""

    def __init__(
        self,
        *,
        store: Store,
        scheduler: Scheduler,
        commands: commands.Commands,
        models: Sequence[str],
        adapters: Mapping[str, Adapter],
    ) -> None:
        self._store, self._scheduler, self._commands = store, scheduler, commands
        self._models, self._adapters = tuple(models), adapters
        self._answers: set[asyncio.Task[None]] = set()
        self._in_hand: set[str] = set()  # commands being carried out: they may come twice at once

    async def receive(self, incoming: Incoming) -> Receipt:
        """Accept a message; raises StoreUnavailable when it could not be stored."""
        command = commands.parse(incoming, self._models)
        if command is not None:
            return await self._receive_command(incoming, command)
        backlog = await self._backlog(incoming)
        accepted = await self._store.accept(incoming, backlog)
        log.debug("message", source=incoming.source, receipt=accepted.receipt.value)
        if accepted.receipt is Receipt.QUESTION and accepted.conversation is not None:
            self._scheduler.wake(accepted.conversation)
        return accepted.receipt

    async def command(self, command: Command) -> Answer:
        """Carry out a command of a slash, a button or a shortcut."""
        log.info("command", command=command.name, conversation=str(command.key))
        return await self._commands.run(command)

    async def connected(self, platform: str) -> None:
        """Events of this platform arrive from now on: go on with what was left unfinished."""
        unfinished = await self._store.unfinished(platform)
        if unfinished:
            log.info("going on with unfinished turns", platform=platform, turns=len(unfinished))
        for conversation in unfinished:
            self._scheduler.wake(conversation)

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

    async def _receive_command(self, incoming: Incoming, command: Command) -> Receipt:
        source = incoming.source
        if source in self._in_hand:
            return Receipt.KNOWN
        self._in_hand.add(source)
        try:
            if await self._store.command_done(source):
                return Receipt.KNOWN
            answer = await self.command(command)
            await self._store.record_command(source)
        finally:
            self._in_hand.discard(source)
        task = asyncio.create_task(self._say(incoming, answer))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)
        return Receipt.COMMAND

    async def _say(self, incoming: Incoming, answer: Answer) -> None:
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
