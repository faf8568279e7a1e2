"""The commands /forget and /export.

Invariant: only the person's own confirmation erases them; the button contains a digest of the
person who asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from bot.domain import privacy_texts
from bot.domain.errors import TooEarly
from bot.domain.inbox import Choice, Command, CommandReply
from bot.domain.privacy import Person
from bot.inbox.commands import EXPORT, FORGET, Handler
from bot.ports.store import Store
from bot.privacy.forgetting import Forgetter
from bot.privacy.personal_exports import PersonalExports

ME, YES = "me", "yes"


class PrivacyCommands:
    """Executes the commands. `without_files` maps each platform that shows no files to a sentence
    that explains how to get an export there."""

    def __init__(
        self,
        *,
        store: Store,
        forgetter: Forgetter,
        exports: PersonalExports,
        without_files: Mapping[str, str] | None = None,
    ) -> None:
        self._store, self._forgetter, self._exports = store, forgetter, exports
        self._without_files = without_files or {}

    def handlers(self) -> Mapping[str, Handler]:
        """The handlers by command name."""
        return {FORGET: self.forget, EXPORT: self.export}

    async def forget(self, command: Command) -> CommandReply:
        """Ask for confirmation, or erase the person who confirms."""
        word, _, confirmation = command.argument.strip().lower().partition(" ")
        if word not in ("", ME):
            return await self._reply_once(command, privacy_texts.HOW_TO_FORGET)
        if not confirmation:
            argument = f"{ME} {_digest(command)}"
            choice = Choice(privacy_texts.FORGET_BUTTON, FORGET, command.key, argument)
            await self._record(command)
            return CommandReply(privacy_texts.CONFIRM, (choice,))
        if confirmation not in (YES, _digest(command)):
            return await self._reply_once(command, privacy_texts.NOT_YOUR_BUTTON)
        await self._record(command)
        person = Person.at(command.key, command.author.id)
        receipt = await self._forgetter.forget(person, by=command.author.id, key=command.key)
        return CommandReply(privacy_texts.forgotten(receipt))

    async def export(self, command: Command) -> CommandReply:
        """Deliver the export as a file that only the person sees, or say how to get it.

        The file is created after the reply is recorded; Slack waits only for that record, so it
        does not redeliver the command.
        """
        key, user = command.key, command.author.id
        person = Person.at(key, user)
        if (how := self._without_files.get(key.platform)) is not None:
            return await self._reply_once(command, how.format(person=person))
        await self._record(command)
        try:
            file = self._exports.file(person, by=user, key=key)
        except TooEarly as error:
            return CommandReply(privacy_texts.export_too_early(error.seconds))
        return CommandReply(privacy_texts.EXPORT_READY, file=file)

    async def _reply_once(self, command: Command, text: str) -> CommandReply:
        await self._record(command)
        return CommandReply(text)

    async def _record(self, command: Command) -> None:
        if command.source:
            await self._store.record_command(command.source)


def _digest(command: Command) -> str:
    """The digest of the person whom a button would erase; a press by anyone else has no effect."""
    name = f"{command.key.platform}/{command.author.id}"
    return hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
