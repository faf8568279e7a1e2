"""Commands, once for every platform: a slash, a button and a mention with the word do the same.

They overtake the queue: none waits for a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from bot.domain import texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Address, Change, Choice, Command, CommandReply, Effect, Incoming
from bot.domain.turns import Outcome
from bot.ports.store import Store
from bot.turns.scheduler import Scheduler

RESET, UNDO, MODEL, HELP = "reset", "undo", "model", "help"
STOP, RETRY, CONTINUE = "stop", "retry", "continue"
MOST_DIGITS = 18  # what a column of the database can hold
NAMES = (RESET, UNDO, STOP, RETRY, CONTINUE, MODEL, HELP)

STORED_WITHIN = 0.5
"""Seconds for which a stop waits to be stored: a commit takes some milliseconds, and the model's
request is to end within a second whatever the database does."""

SHOWN_BY_THE_REPLY = CommandReply("")
"""Nothing is to be said: the reply itself shows what the command did."""


def parse(incoming: Incoming, models: Sequence[str]) -> Command | None:
    """The command that a message is, if it is one: the bare word, or `model NAME`.

    Only a message that addresses the bot can be one. `model NAME` counts where NAME is offered or
    the word came with a slash: a direct message may well begin with the word "model".
    """
    if incoming.address not in (Address.MENTION, Address.DIRECT):
        return None
    word, _, argument = incoming.text.strip().partition(" ")
    name, argument = word.removeprefix("/").lower(), argument.strip()
    plain = not argument or (name == MODEL and (argument in models or word.startswith("/")))
    if name not in NAMES or not plain:
        return None
    return Command(
        name=name,
        argument=argument,
        key=incoming.key,
        author=incoming.author,
        source=incoming.source,
    )


class Commands:
    """Carries commands out. `models` are the names that may be chosen, `default` is in use else.

    `help_texts` are those of platforms on which `texts.HELP` would be wrong, by platform.
    """

    def __init__(
        self,
        *,
        store: Store,
        scheduler: Scheduler,
        models: Sequence[str],
        default: str,
        help_texts: Mapping[str, str] | None = None,
    ) -> None:
        self._store, self._scheduler = store, scheduler
        self._models, self._default = tuple(models), default
        self._help_texts = dict(help_texts or {})
        self._known = {
            RESET: self._reset,
            UNDO: self._undo,
            STOP: self._stop,
            RETRY: self._retry,
            CONTINUE: self._continue,
            MODEL: self._model,
            HELP: self._help,
        }

    async def run(self, command: Command) -> CommandReply:
        """Do it, and say so in a sentence; an unknown one is answered with the help.

        An empty sentence is none: the reply shows what was done. One that came as a message is
        recorded in the same transaction; raises CommandDone when it was before.
        """
        return await self._known.get(command.name, self._help)(command)

    # ── the conversation ──────────────────────────────────────────────────────────────────────
    async def _reset(self, command: Command) -> CommandReply:
        conversation = await self._store.reset(command.key, source=command.source)
        if conversation is None:
            return CommandReply(texts.NOTHING_TO_RESET)
        self._scheduler.interrupt(conversation.id, Outcome.RESET)
        ended = str(conversation.epoch - 1)
        return CommandReply(texts.RESET_DONE, (Choice(texts.UNDO, UNDO, conversation.key, ended),))

    async def _undo(self, command: Command) -> CommandReply:
        """Take the last reset back; a button says which one, by the epoch that it ended."""
        done = await self._store.undo_reset(command.key, _number(command), source=command.source)
        return CommandReply(texts.NOTHING_TO_UNDO if done is None else texts.UNDO_DONE)

    # ── the newest reply; a button says which one it means, by its turn ───────────────────────
    async def _stop(self, command: Command) -> CommandReply:
        """Stored first, so that the stop outlives the process; but not waited for long.

        Where the database fails the model's request ends all the same. A word is acknowledged only
        when it is stored: it comes again otherwise.
        """
        turn, stored = _number(command), None
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(STORED_WITHIN):
                stored = await self._store.stop(command.key, turn, source=command.source)
        running = self._scheduler.interrupt_at(command.key, Outcome.STOPPED, turn)
        if stored is None and not (running and not command.source):
            raise StoreUnavailable("a stop could not be stored")
        if running or (stored is not None and stored.effect is Effect.STOP):
            return CommandReply(texts.STOP_DONE)
        return CommandReply(texts.NOTHING_TO_STOP)

    async def _retry(self, command: Command) -> CommandReply:
        change = await self._store.reopen(command.key, _number(command), source=command.source)
        return self._again(command, change, texts.NOTHING_TO_RETRY)

    async def _continue(self, command: Command) -> CommandReply:
        turn = _number(command)
        change = await self._store.go_on(
            command.key, turn, command.author, texts.GO_ON, source=command.source
        )
        return self._again(command, change, texts.NOTHING_TO_CONTINUE)

    def _again(self, command: Command, change: Change, nothing: str) -> CommandReply:
        match change.effect:
            case Effect.REOPENED:
                self._scheduler.wake(change.conversation)
                return SHOWN_BY_THE_REPLY
            case Effect.BUSY:
                return CommandReply(texts.STILL_WRITING)
            case Effect.SUPERSEDED if command.argument:
                return CommandReply(texts.NOT_THE_NEWEST)
            case _:
                return CommandReply(nothing)

    # ── models and help ───────────────────────────────────────────────────────────────────────
    async def _model(self, command: Command) -> CommandReply:
        name = command.argument
        if name not in self._models:
            return await self._told(command, await self._models_told(command))
        chosen = await self._store.choose_model(command.key, name, source=command.source)
        return CommandReply(texts.model_chosen(name) if chosen else texts.MODEL_NEEDS_CONVERSATION)

    async def _models_told(self, command: Command) -> str:
        if not self._models:
            return texts.NO_MODEL_CHOICES
        if command.argument:
            return texts.model_refused(command.argument, self._models)
        conversation = await self._store.find(command.key)
        current = (conversation and conversation.model) or self._default
        return texts.models_offered(current, self._models)

    async def _help(self, command: Command) -> CommandReply:
        text = self._help_texts.get(command.key.platform, texts.HELP)
        return await self._told(command, text)

    async def _told(self, command: Command, text: str) -> CommandReply:
        """What changes nothing is told once, too."""
        if command.source:
            await self._store.record_command(command.source)
        return CommandReply(text)


def _number(command: Command) -> int | None:
    """The turn or the epoch that a button means; None for a command in words."""
    number = command.argument
    return int(number) if number.isdecimal() and len(number) <= MOST_DIGITS else None


def place_of(key: ConversationKey) -> ConversationKey:
    """The channel of a conversation, as a key without a thread."""
    return ConversationKey(key.platform, key.workspace, key.channel, "")
