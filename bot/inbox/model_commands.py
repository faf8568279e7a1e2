"""The commands about a conversation's model: /model, /effort and /context."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from bot.domain import command_texts, model_names
from bot.domain.conversations import Conversation, Effort
from bot.domain.inbox import Command, CommandReply, Menu
from bot.domain.model_names import DEFAULT
from bot.ports.context import ContextReporter
from bot.ports.model import ModelCatalog
from bot.ports.store import Store

EFFORTS = (*Effort, DEFAULT)


class ModelCommands:
    """Executes these commands: `catalog` has the models, `reporter` describes contexts."""

    def __init__(self, *, store: Store, catalog: ModelCatalog, reporter: ContextReporter) -> None:
        self._store, self._catalog, self._reporter = store, catalog, reporter

    async def model(self, command: Command) -> CommandReply:
        """Choose the named model, or say which are offered.

        A name that is known needs no server, so that the choice takes no time.
        """
        typed, default = command.argument, self._catalog.default
        if not typed:
            return await self._describe_models(command)
        if typed.lower() == DEFAULT:
            return await self._choose(command, None, command_texts.default_model_chosen(default))
        name = model_names.resolve(typed, self._catalog.names)
        names = self._catalog.names if name else await self._catalog.list_names()
        name = name or model_names.resolve(typed, names)
        if name is None:
            return await self._refuse_model(command, names)
        return await self._choose(command, name, command_texts.model_chosen(name))

    async def _choose(self, command: Command, name: str | None, text: str) -> CommandReply:
        chosen = await self._store.choose_model(command.key, name, source=command.source)
        return CommandReply(text if chosen else command_texts.NEEDS_CONVERSATION["model"])

    async def _describe_models(self, command: Command) -> CommandReply:
        names = await self._catalog.list_names()
        conversation = await self._store.find(command.key)
        chosen = conversation.model if conversation else None
        answering = self._catalog.get(chosen).name
        text = command_texts.models_offered(chosen, answering, self._catalog.default, names)
        options = (*names, DEFAULT) if names else ()
        menu = Menu(command.name, command.key, options) if options else None
        return await self.reply_once(command, CommandReply(text, menu=menu))

    async def _refuse_model(self, command: Command, names: Sequence[str]) -> CommandReply:
        if not names:
            text = command_texts.NO_MODEL_CHOICES
            return await self.reply_once(command, CommandReply(text))
        similar = await asyncio.to_thread(model_names.suggest, command.argument, names)
        text = command_texts.model_refused(command.argument, similar)
        menu = Menu(command.name, command.key, tuple(similar)) if similar else None
        return await self.reply_once(command, CommandReply(text, menu=menu))

    # ── effort ────────────────────────────────────────────────────────────────────────────────
    async def effort(self, command: Command) -> CommandReply:
        """Choose the level, or say which one is in use."""
        typed = command.argument.lower()
        if typed in EFFORTS:
            return await self._choose_effort(command, None if typed == DEFAULT else Effort(typed))
        if typed:
            text = command_texts.effort_refused(command.argument)
        else:
            conversation = await self._store.find(command.key)
            effort = conversation.effort if conversation else None
            text = command_texts.effort_in_use(effort, *self._model_of(conversation))
        menu = Menu(command.name, command.key, EFFORTS)
        return await self.reply_once(command, CommandReply(text, menu=menu))

    async def _choose_effort(self, command: Command, effort: Effort | None) -> CommandReply:
        chosen = await self._store.choose_effort(command.key, effort, source=command.source)
        if chosen is None:
            return CommandReply(command_texts.NEEDS_CONVERSATION["effort"])
        return CommandReply(command_texts.effort_chosen(effort, *self._model_of(chosen)))

    def _model_of(self, conversation: Conversation | None) -> tuple[str, bool | None]:
        """The name of the model that answers, and whether it takes an effort."""
        model = self._catalog.get(conversation.model if conversation else None)
        return model.name, model.facts.effort

    # ── context ───────────────────────────────────────────────────────────────────────────────
    async def context(self, command: Command) -> CommandReply:
        """Describe what the model gets with the next question."""
        report = await self._reporter.report(command.key)
        if report is None:
            text = command_texts.NEEDS_CONVERSATION["context"]
            return await self.reply_once(command, CommandReply(text))
        reply = CommandReply(command_texts.context_described(report))
        if report.summary.strip():
            reply = replace(reply, private=command_texts.summary_shown(report.summary))
        return await self.reply_once(command, reply)

    async def reply_once(self, command: Command, reply: CommandReply) -> CommandReply:
        """Reply to a command that changes nothing, once per message."""
        if command.source:
            await self._store.record_command(command.source)
        return reply
