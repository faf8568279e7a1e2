"""The commands about a conversation's model and context: /model, /effort and /context."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from bot.domain import command_texts, model_names
from bot.domain.conversations import Conversation, ConversationKey, Effort
from bot.domain.inbox import Command, CommandReply, Menu
from bot.domain.model_names import DEFAULT
from bot.ports.context import ContextReporter
from bot.ports.model import ModelCatalog
from bot.ports.policy import Policy
from bot.ports.store import Store

EFFORTS = (*Effort, DEFAULT)


class ModelCommands:
    """Executes these commands: `catalog` has the models, `reporter` describes contexts.

    `policy` says which model and effort apply to a place; if it is None, the defaults apply
    everywhere.
    """

    def __init__(
        self,
        *,
        store: Store,
        catalog: ModelCatalog,
        reporter: ContextReporter,
        policy: Policy | None = None,
    ) -> None:
        self._store, self._catalog, self._reporter = store, catalog, reporter
        self._policy = policy

    async def model(self, command: Command) -> CommandReply:
        """Choose the named model, or list the models on offer.

        Choosing a known name is immediate, because it does not contact the model's server.
        """
        typed = command.argument
        if not typed:
            return await self._describe_models(command)
        if typed.lower() == DEFAULT:
            default = await self._default(command.key)
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
        default = await self._default(command.key)
        answering = self._catalog.get(chosen).name if chosen else default
        text = command_texts.models_offered(chosen, answering, default, names)
        options = (*names, DEFAULT) if names else ()
        menu = Menu(command.name, command.key, options) if options else None
        return await self.reply_once(command, CommandReply(text, menu=menu))

    async def _default(self, key: ConversationKey) -> str:
        """The model that answers here unless another one is chosen."""
        return self._catalog.get(None, await self._find_assigned(key)).name

    async def _find_assigned(self, key: ConversationKey) -> str | None:
        return None if self._policy is None else (await self._policy.effective(key)).model.value

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
        """Choose the effort level, or say which one is in use."""
        typed = command.argument.lower()
        if typed in EFFORTS:
            return await self._choose_effort(command, None if typed == DEFAULT else Effort(typed))
        if typed:
            text = command_texts.effort_refused(command.argument)
        else:
            conversation = await self._store.find(command.key)
            effort = conversation.effort if conversation else None
            effort = effort or await self._usual_effort(command.key)
            text = command_texts.effort_in_use(effort, *await self._model_of(command, conversation))
        menu = Menu(command.name, command.key, EFFORTS)
        return await self.reply_once(command, CommandReply(text, menu=menu))

    async def _choose_effort(self, command: Command, effort: Effort | None) -> CommandReply:
        chosen = await self._store.choose_effort(command.key, effort, source=command.source)
        if chosen is None:
            return CommandReply(command_texts.NEEDS_CONVERSATION["effort"])
        effort = effort or await self._usual_effort(command.key)
        model = await self._model_of(command, chosen)
        return CommandReply(command_texts.effort_chosen(effort, *model))

    async def _usual_effort(self, key: ConversationKey) -> Effort | None:
        return None if self._policy is None else (await self._policy.effective(key)).effort.value

    async def _model_of(
        self, command: Command, conversation: Conversation | None
    ) -> tuple[str, bool | None]:
        """The name of the model that answers, and whether it supports effort levels."""
        chosen = conversation.model if conversation else None
        model = self._catalog.get(chosen, await self._find_assigned(command.key))
        return model.name, model.facts.effort

    # ── context ───────────────────────────────────────────────────────────────────────────────
    async def context(self, command: Command) -> CommandReply:
        """Describe what the model will receive with the next question."""
        report = await self._reporter.report(command.key)
        if report is None:
            text = command_texts.NEEDS_CONVERSATION["context"]
            return await self.reply_once(command, CommandReply(text))
        reply = CommandReply(command_texts.context_described(report))
        if report.summary.strip():
            reply = replace(reply, private=command_texts.summary_shown(report.summary))
        return await self.reply_once(command, reply)

    async def reply_once(self, command: Command, reply: CommandReply) -> CommandReply:
        """Reply to a command that changes nothing, once per command message."""
        if command.source:
            await self._store.record_command(command.source)
        return reply
