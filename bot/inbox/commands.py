"""Commands, implemented once for slash commands, buttons and mentions with the command's word.

Invariant: a command never waits for a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from bot.domain import texts
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Address, Change, Choice, Command, CommandReply, Effect, Incoming
from bot.domain.turns import Outcome
from bot.ports.model import ModelCatalog
from bot.ports.store import Store
from bot.turns.scheduler import Scheduler

RESET, UNDO, MODEL, HELP = "reset", "undo", "model", "help"
STOP, RETRY, CONTINUE = "stop", "retry", "continue"
MAX_DIGITS = 18  # fits a 64-bit integer column
NAMES = (RESET, UNDO, STOP, RETRY, CONTINUE, MODEL, HELP)

STOP_STORE_SECONDS = 0.5
"""How long a stop waits for the database: a commit takes milliseconds, and the model's request must
end within a second whatever the database does."""

SHOWN_BY_THE_REPLY = CommandReply("")
"""No sentence: the reply itself shows what the command did."""


def parse(incoming: Incoming, models: Sequence[str]) -> Command | None:
    """The command in a message, if there is one: the word alone, or `model NAME`.

    The message must address the bot, without a file: a word beside one is about it. `model NAME`
    counts if NAME is one of `models` or the word has a slash, because an ordinary direct message
    may start with the word "model".
    """
    if incoming.address not in (Address.MENTION, Address.DIRECT) or incoming.attachments:
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
    """Executes commands.

    `models` are those that people may choose. `help_texts` replace `texts.HELP`, by platform.
    """

    def __init__(
        self,
        *,
        store: Store,
        scheduler: Scheduler,
        models: ModelCatalog,
        help_texts: Mapping[str, str] | None = None,
    ) -> None:
        self._store, self._scheduler = store, scheduler
        self._models = models
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
        """Execute a command and return its reply; an unknown command gets the help text.

        The reply is empty if the turn's own reply shows the effect. A command that arrived as a
        message is recorded in the same transaction; CommandDone is raised for a repetition.
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
        """Undo the last reset; a button names the epoch that its reset ended."""
        done = await self._store.undo_reset(command.key, _number(command), source=command.source)
        return CommandReply(texts.NOTHING_TO_UNDO if done is None else texts.UNDO_DONE)

    # ── the newest reply; a button names its turn ─────────────────────────────────────────────
    async def _stop(self, command: Command) -> CommandReply:
        """Store the stop, so that it outlives the process, then interrupt the turn.

        The turn is interrupted even if the database fails. A stop that arrived as a message raises
        StoreUnavailable then, so that the platform delivers it again.
        """
        turn, stored = _number(command), None
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(STOP_STORE_SECONDS):
                stored = await self._store.stop(command.key, turn, source=command.source)
        running = self._scheduler.interrupt_at(command.key, Outcome.STOPPED, turn)
        if stored is None and not (running and not command.source):
            raise StoreUnavailable("a stop could not be stored")
        if running or (stored is not None and stored.effect is Effect.STOP):
            return CommandReply(texts.STOP_DONE)
        return CommandReply(texts.NOTHING_TO_STOP)

    async def _retry(self, command: Command) -> CommandReply:
        change = await self._store.reopen(command.key, _number(command), source=command.source)
        return self._wake(command, change, texts.NOTHING_TO_RETRY)

    async def _continue(self, command: Command) -> CommandReply:
        turn = _number(command)
        change = await self._store.continue_reply(
            command.key, turn, command.author, texts.GO_ON, source=command.source
        )
        return self._wake(command, change, texts.NOTHING_TO_CONTINUE)

    def _wake(self, command: Command, change: Change, nothing: str) -> CommandReply:
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
        if name not in self._models.names:
            return await self._reply_once(command, await self._describe_models(command))
        chosen = await self._store.choose_model(command.key, name, source=command.source)
        return CommandReply(texts.model_chosen(name) if chosen else texts.MODEL_NEEDS_CONVERSATION)

    async def _describe_models(self, command: Command) -> str:
        if not self._models.names:
            return texts.NO_MODEL_CHOICES
        if command.argument:
            return texts.model_refused(command.argument, self._models.names)
        conversation = await self._store.find(command.key)
        current = (conversation and conversation.model) or self._models.default
        return texts.models_offered(current, self._models.names)

    async def _help(self, command: Command) -> CommandReply:
        text = self._help_texts.get(command.key.platform, texts.HELP)
        return await self._reply_once(command, text)

    async def _reply_once(self, command: Command, text: str) -> CommandReply:
        """Reply to a command that changes nothing, once per message."""
        if command.source:
            await self._store.record_command(command.source)
        return CommandReply(text)


def _number(command: Command) -> int | None:
    """The turn or epoch that a button names; None for a command in words."""
    number = command.argument
    return int(number) if number.isdecimal() and len(number) <= MAX_DIGITS else None
