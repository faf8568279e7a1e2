"""The command /usage: shows a person's usage or, to administrators, a channel's."""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain import spending_texts
from bot.domain.inbox import Command, CommandReply
from bot.inbox.commands import USAGE, Handler
from bot.ports.policy import Policy
from bot.ports.spending import UsageReporter
from bot.ports.store import Store

OF_CHANNEL = "channel"


class UsageCommands:
    """Executes the command. Amounts are shown only where no one else can see them."""

    def __init__(self, *, store: Store, policy: Policy, reports: UsageReporter) -> None:
        self._store, self._policy, self._reports = store, policy, reports

    def handlers(self) -> Mapping[str, Handler]:
        """The handlers by command name."""
        return {USAGE: self.usage}

    async def usage(self, command: Command) -> CommandReply:
        """Tell how much was used and how much is left."""
        key, author = command.key, command.author
        zone, currency = self._reports.zone, self._reports.currency
        if command.argument.strip().lower() == OF_CHANNEL:
            if not await self._policy.is_admin(key, author):
                return await self._reply_once(command, CommandReply(spending_texts.ADMINS_ONLY))
            channel = await self._reports.of_channel(key)
            text = spending_texts.usage_of_channel(channel, zone, currency)
        else:
            summary = await self._reports.of_person(key, author)
            text = spending_texts.usage_of_person(summary, zone, currency)
        return await self._reply_once(
            command, CommandReply(spending_texts.USAGE_IS_PRIVATE, instead=text)
        )

    async def _reply_once(self, command: Command, reply: CommandReply) -> CommandReply:
        if command.source:
            await self._store.record_command(command.source)
        return reply
