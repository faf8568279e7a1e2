"""Executes slash commands, buttons and command messages for people who have permission."""

from __future__ import annotations

import structlog

from bot.domain.errors import CommandDone
from bot.domain.inbox import Command, CommandReply, Incoming, Receipt
from bot.inbox.access import AccessGate, Admission
from bot.inbox.background_replies import BackgroundReplies
from bot.inbox.commands import SHOWN_BY_THE_REPLY, Commands
from bot.inbox.rates import RateGate
from bot.ports.store import Store

log = structlog.stdlib.get_logger(__name__)


class CommandExecutor:
    """Checks access and rates before each command, and executes it once."""

    def __init__(
        self,
        *,
        commands: Commands,
        store: Store,
        gate: AccessGate,
        rates: RateGate,
        replies: BackgroundReplies,
    ) -> None:
        self._commands, self._store = commands, store
        self._gate, self._rates, self._replies = gate, rates, replies

    async def run(self, command: Command) -> CommandReply:
        """Execute a slash command, button or shortcut."""
        try:
            return await self._execute(command)
        except CommandDone:
            return SHOWN_BY_THE_REPLY

    async def receive(self, incoming: Incoming, command: Command) -> Receipt:
        """Execute a command once; return when that is stored, also for a redelivery."""
        try:
            answer = await self._execute(command)
        except CommandDone:
            return Receipt.KNOWN
        if answer.refused:
            admission = Admission(incoming, await self._gate.verdict(incoming))
            if admission.refused:  # may not ask either: one notice a day is enough
                return await self._gate.refuse(admission)
        self._replies.say(incoming, answer)
        return Receipt.COMMAND

    async def receive_missed(self, incoming: Incoming, command: Command) -> None:
        """Execute a missed command, unless later messages have already been accepted."""
        if await self._store.has_message_after(incoming.key, incoming.position):
            log.info("a missed command came too late", command=command.name)
            return
        await self.receive(incoming, command)

    async def _execute(self, command: Command) -> CommandReply:
        """Execute a command; raises CommandDone if its message was already processed."""
        log.info("command", command=command.name, conversation=str(command.key))
        return await self._gate.refuse_command(command) or await self._rates.run(
            command, self._commands.run
        )
