"""Commands, implemented once for slash commands, buttons and mentions that contain a command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from bot.domain import model_names, texts
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Address, Change, Choice, Command, CommandReply, Effect, Incoming
from bot.domain.turns import Outcome
from bot.inbox.model_commands import EFFORTS, ModelCommands
from bot.ports.context import ContextReporter
from bot.ports.model import ModelCatalog
from bot.ports.policy import Policy
from bot.ports.store import Store
from bot.turns.scheduler import Scheduler

RESET, UNDO, HELP = "reset", "undo", "help"
MODEL, EFFORT, CONTEXT = "model", "effort", "context"
STOP, RETRY, CONTINUE = "stop", "retry", "continue"
SHOW = "show"
"""Shows another version of a question or an answer, by its index. Only buttons send this."""
WHY, WHOAMI, CHANNEL = "why", "whoami", "channel"
USAGE, FORGET, EXPORT = "usage", "forget", "export"
MAX_DIGITS = 18  # fits a 64-bit integer column
WITH_SLASH = (WHY, WHOAMI, CHANNEL, USAGE, FORGET, EXPORT)
"""Commands that need a slash in a message: "why" alone is a question to the model."""
TAKE_ARGUMENT = (MODEL, EFFORT, CHANNEL, USAGE, FORGET, EXPORT)
NAMES = (RESET, UNDO, STOP, RETRY, CONTINUE, MODEL, EFFORT, CONTEXT, *WITH_SLASH, HELP)

STOP_STORE_SECONDS = 0.5
"""Seconds that a stop waits for the database. A commit takes milliseconds, and the model's request
must end within a second, whatever the database does."""

Handler = Callable[[Command], Awaitable[CommandReply]]

WHY_NOT_SHOWN = {Effect.BUSY: texts.STILL_WRITING, Effect.SUPERSEDED: texts.STARTED_OVER}

SHOWN_BY_THE_REPLY = CommandReply("")
"""An empty reply: the turn's reply itself shows what the command did."""


def parse(incoming: Incoming, models: Sequence[str]) -> Command | None:
    """The command in a message, or None: the word alone, `model NAME` or `effort LEVEL`.

    The message must address the bot and have no attachment, because a word next to a file is about
    the file. `model NAME` counts only if NAME is one of `models` or the word has a slash, because
    an ordinary direct message may start with the word "model"; the same is true of levels.
    """
    if incoming.address not in (Address.MENTION, Address.DIRECT) or incoming.attachments:
        return None
    word, _, argument = incoming.text.strip().partition(" ")
    name, argument = word.removeprefix("/").lower(), argument.strip()
    has_slash = word.startswith("/")
    if name not in NAMES or (name in WITH_SLASH and not has_slash):
        return None
    takes_argument = has_slash and name in TAKE_ARGUMENT
    if argument and not takes_argument and not is_choice(name, argument, models):
        return None
    return Command(
        name=name,
        argument=argument,
        key=incoming.key,
        author=incoming.author,
        source=incoming.source,
    )


def is_choice(name: str, argument: str, models: Sequence[str]) -> bool:
    """Whether the command chooses one of `models`, an effort level, or the default of either."""
    if name == EFFORT:
        return argument.lower() in EFFORTS
    is_default = argument.lower() == model_names.DEFAULT
    return name == MODEL and (is_default or model_names.resolve(argument, models) is not None)


def needs_conversation(name: str, argument: str, models: Sequence[str]) -> bool:
    """Whether the command is about one conversation, so that a channel must ask which one."""
    return name in (RESET, CONTEXT) or is_choice(name, argument, models)


class Commands:
    """Executes commands.

    People may choose from `models`; `reporter` describes contexts. `help_texts` replace
    `texts.HELP`, by platform. `policy` knows the default models of places. `more` has the handlers
    of other rooms' commands, by name. `keeping` names the platforms that keep earlier answers, so
    that a retry does not replace the answer there.
    """

    def __init__(
        self,
        *,
        store: Store,
        scheduler: Scheduler,
        models: ModelCatalog,
        reporter: ContextReporter,
        help_texts: Mapping[str, str] | None = None,
        policy: Policy | None = None,
        more: Mapping[str, Handler] | None = None,
        keeping: Collection[str] = (),
    ) -> None:
        self._store, self._scheduler = store, scheduler
        model_commands = ModelCommands(
            store=store, catalog=models, reporter=reporter, policy=policy
        )
        self._reply_once = model_commands.reply_once
        self._help_texts, self._keeping = dict(help_texts or {}), frozenset(keeping)
        self._known = {
            RESET: self._reset,
            UNDO: self._undo,
            STOP: self._stop,
            RETRY: self._retry,
            CONTINUE: self._continue,
            SHOW: self._show,
            MODEL: model_commands.model,
            EFFORT: model_commands.effort,
            CONTEXT: model_commands.context,
            HELP: self._help,
            **(more or {}),
        }

    async def run(self, command: Command) -> CommandReply:
        """Execute a command and return its reply; an unknown command gets the help text.

        The reply is empty if the turn's own reply shows the effect. A command that arrived as a
        message is recorded in the same transaction; if the message was already recorded,
        CommandDone is raised.
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
        done = await self._store.undo_reset(command.key, number_of(command), source=command.source)
        return CommandReply(texts.NOTHING_TO_UNDO if done is None else texts.UNDO_DONE)

    # ── the newest reply; a button names its turn ─────────────────────────────────────────────
    async def _stop(self, command: Command) -> CommandReply:
        """Store the stop, so that it outlives the process, then interrupt the turn.

        The turn is interrupted even if the database fails. In that case, a stop that arrived as a
        message raises StoreUnavailable, so that the platform delivers it again.
        """
        turn, stored = number_of(command), None
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
        turn = number_of(command)
        if command.key.platform in self._keeping:
            change = await self._store.answer_again(
                command.key, turn, model=command.model, source=command.source
            )
        else:
            change = await self._store.reopen(command.key, turn, source=command.source)
        return self._wake(command, change, texts.NOTHING_TO_RETRY)

    async def _continue(self, command: Command) -> CommandReply:
        turn = number_of(command)
        change = await self._store.continue_reply(
            command.key, turn, command.author, texts.GO_ON, source=command.source
        )
        return self._wake(command, change, texts.NOTHING_TO_CONTINUE)

    async def _show(self, command: Command) -> CommandReply:
        version = number_of(command)
        if version is None:
            return CommandReply(texts.NO_SUCH_VERSION)
        change = await self._store.show_version(command.key, version, source=command.source)
        if change.effect in (Effect.STORED, Effect.SAME):
            return SHOWN_BY_THE_REPLY
        return CommandReply(WHY_NOT_SHOWN.get(change.effect, texts.NO_SUCH_VERSION))

    def _wake(self, command: Command, change: Change, nothing: str) -> CommandReply:
        match change.effect:
            case Effect.REOPENED:
                self._scheduler.wake(change.conversation)
                return replace(SHOWN_BY_THE_REPLY, turn=change.turn)
            case Effect.BUSY:
                return CommandReply(texts.STILL_WRITING)
            case Effect.FULL:
                return CommandReply(texts.TOO_MANY_VERSIONS)
            case Effect.SUPERSEDED if command.key.platform in self._keeping:
                return CommandReply(texts.STARTED_OVER)
            case Effect.SUPERSEDED if command.argument:
                return CommandReply(texts.NOT_THE_NEWEST)
            case _:
                return CommandReply(nothing)

    # ── help ──────────────────────────────────────────────────────────────────────────────────
    async def _help(self, command: Command) -> CommandReply:
        text = self._help_texts.get(command.key.platform, texts.HELP)
        return await self._reply_once(command, CommandReply(text))


def number_of(command: Command) -> int | None:
    """The turn or epoch that a button names; None for a typed command."""
    number = command.argument
    return int(number) if number.isdecimal() and len(number) <= MAX_DIGITS else None
