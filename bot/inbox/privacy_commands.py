"""The commands /forget and /export.

Invariant: a person is erased by their own confirmation only; the button names, as a digest, who
asked for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from bot.domain import privacy_texts
from bot.domain.inbox import Choice, Command, CommandReply
from bot.domain.privacy import Person
from bot.inbox.commands import EXPORT, FORGET, Handler
from bot.ports.store import Store
from bot.privacy.forgetting import Forgetter

ME, YES = "me", "yes"


class PrivacyCommands:
    """Executes the commands."""

    def __init__(self, *, store: Store, forgetter: Forgetter) -> None:
        self._store, self._forgetter = store, forgetter

    def handlers(self) -> Mapping[str, Handler]:
        """The handlers by the command's name."""
        return {FORGET: self.forget, EXPORT: self.export}

    async def forget(self, command: Command) -> CommandReply:
        """Ask for a confirmation, or erase the person who confirms."""
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
        """Say how to get the export: a file of private messages has no place in a channel."""
        person = Person.at(command.key, command.author.id)
        if command.key.platform == "web":
            return await self._reply_once(command, privacy_texts.EXPORT_ON_PAGE)
        text = privacy_texts.HOW_TO_EXPORT.format(person=person)
        return await self._reply_once(command, text)

    async def _reply_once(self, command: Command, text: str) -> CommandReply:
        await self._record(command)
        return CommandReply(text)

    async def _record(self, command: Command) -> None:
        if command.source:
            await self._store.record_command(command.source)


def _digest(command: Command) -> str:
    """Which person a button means; other people who press it are not erased."""
    name = f"{command.key.platform}/{command.author.id}"
    return hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
