"""The commands about rules: /why and /whoami for everyone, /channel for administrators.

Invariant: a value that an administrator sets applies only after one transaction has stored it, the
command's record and an audit entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.domain import model_names, policy_command_texts
from bot.domain.conversations import Effort
from bot.domain.inbox import Command, CommandReply
from bot.domain.model_names import DEFAULT
from bot.domain.policy import (
    AnswerMode,
    Controllers,
    EffectivePolicy,
    OverrideName,
    PersonKind,
    PersonRef,
)
from bot.domain.prompts import check_prompt
from bot.inbox.commands import CHANNEL, WHOAMI, WHY, Handler
from bot.policy.rules import PolicyRules
from bot.ports.model import ModelCatalog
from bot.ports.policy import PolicyStore
from bot.ports.store import Store

MAX_PROMPT = 8_000
"""The longest prompt that a command may set, in characters: longer than any platform's messages."""

NO_PROMPT = "none"

_WORDS: Mapping[OverrideName, Sequence[str]] = {
    OverrideName.EFFORT: tuple(Effort),
    OverrideName.ANSWERS: tuple(AnswerMode),
    OverrideName.CONTROLS: tuple(Controllers),
}


class PolicyCommands:
    """Executes these commands."""

    def __init__(
        self, *, store: Store, policies: PolicyStore, policy: PolicyRules, catalog: ModelCatalog
    ) -> None:
        self._store, self._policies = store, policies
        self._policy, self._catalog = policy, catalog

    def handlers(self) -> Mapping[str, Handler]:
        """The handlers by command name."""
        return {WHY: self.why, WHOAMI: self.whoami, CHANNEL: self.channel}

    async def why(self, command: Command) -> CommandReply:
        """Tell which values apply here, and why."""
        policy = await self._policy.effective(command.key)
        conversation = await self._store.find(command.key)
        chosen = conversation.model if conversation is not None else None
        text = policy_command_texts.why(
            policy,
            chosen=chosen,
            answering=self._catalog.get(chosen, policy.model.value).name,
            default=self._catalog.default,
        )
        return await self._reply_once(command, text)

    async def whoami(self, command: Command) -> CommandReply:
        """Say how the bot sees the person."""
        key, author = command.key, command.author
        policy = await self._policy.effective(key)
        seen = await self._policy.describe(key, author, _groups_of(policy))
        text = policy_command_texts.whoami(
            author,
            standing=seen.facts.standing if seen.facts is not None else None,
            groups=seen.groups,
            is_admin=await self._policy.is_admin(key, author),
            verdict=await self._policy.may_ask(key, author),
        )
        return await self._reply_once(command, text)

    # ── /channel ──────────────────────────────────────────────────────────────────────────────
    async def channel(self, command: Command) -> CommandReply:
        """Show or change the settings that administrators control for a channel."""
        if not await self._policy.is_admin(command.key, command.author):
            return await self._reply_once(command, policy_command_texts.ADMINS_ONLY)
        word, _, value = command.argument.partition(" ")
        try:
            name, value = OverrideName(word.lower()), value.strip()
        except ValueError:
            name = None
        if name is None or not value:
            found = self._policy.overrides_of(command.key)
            return await self._reply_once(command, policy_command_texts.channel_described(found))
        if value.lower() == DEFAULT:
            return await self._set(command, name, None)
        return await self._set_checked(command, name, value)

    async def _set_checked(self, command: Command, name: OverrideName, value: str) -> CommandReply:
        if name is OverrideName.PROMPT:
            problem = _prompt_problem(value)
            if problem:
                return await self._reply_once(command, policy_command_texts.prompt_refused(problem))
            return await self._set(command, name, "" if value.lower() == NO_PROMPT else value)
        if name is OverrideName.MODEL:
            known = await self._model(value)
            allowed: Sequence[str] = self._catalog.names
        else:
            allowed = _WORDS[name]
            known = value.lower() if value.lower() in allowed else None
        if known is None:
            text = policy_command_texts.channel_refused(name, value, allowed)
            return await self._reply_once(command, text)
        return await self._set(command, name, known)

    async def _model(self, typed: str) -> str | None:
        """Resolve a typed model name: one that people may choose, or one in the configuration."""
        if self._catalog.get(None, typed).name == typed:
            return typed
        return model_names.resolve(typed, await self._catalog.list_names())

    async def _set(self, command: Command, name: OverrideName, value: str | None) -> CommandReply:
        channel = replace(command.key, thread="")
        new = await self._policies.set_override(
            channel, name, value, by=command.author, source=command.source
        )
        self._policy.override(channel, name, new)
        if value is None:
            return CommandReply(policy_command_texts.channel_cleared(name))
        return CommandReply(policy_command_texts.channel_set(name, value))

    async def _reply_once(self, command: Command, text: str) -> CommandReply:
        """Reply to a command that changes nothing, once per command message."""
        if command.source:
            await self._store.record_command(command.source)
        return CommandReply(text)


def _groups_of(policy: EffectivePolicy) -> Sequence[PersonRef]:
    """The groups and people that the rules of a place name."""
    refs = [*(policy.allow.value or ()), *policy.admins]
    refs += [ref for block in policy.block for ref in block.value]
    refs += [ref for budget in policy.budgets for ref in budget.value.who]
    named = (PersonKind.NAME, PersonKind.GROUP, PersonKind.CHANNEL, PersonKind.USER)
    return [ref for ref in dict.fromkeys(refs) if ref.kind in named]


def _prompt_problem(value: str) -> str:
    if len(value) > MAX_PROMPT:
        return f"it has {len(value):,} characters, but at most {MAX_PROMPT:,} are allowed"
    return check_prompt(value)
