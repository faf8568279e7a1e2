"""Commands, once for every platform: a slash, a button and a mention with the word do the same.

They overtake the queue: none waits for a turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot import texts
from bot.domain import Address, Answer, Command, ConversationKey, Incoming, Outcome
from bot.ports import Store
from bot.scheduler import Scheduler

RESET, STOP, MODEL, HELP = "reset", "stop", "model", "help"
NAMES = (RESET, STOP, MODEL, HELP)


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
    return Command(name=name, argument=argument, key=incoming.key, author=incoming.author)


class Commands:
    """Carries commands out. `models` are the names that may be chosen, `default` is in use else."""

    def __init__(
        self, *, store: Store, scheduler: Scheduler, models: Sequence[str], default: str
    ) -> None:
        self._store, self._scheduler = store, scheduler
        self._models, self._default = tuple(models), default
        self._known = {
            RESET: self._reset,
            STOP: self._stop,
            MODEL: self._model,
            HELP: self._help,
        }

    async def run(self, command: Command) -> Answer:
        """Do it, and say so in a sentence; an unknown one is answered with the help."""
        return Answer(await self._known.get(command.name, self._help)(command))

    async def _reset(self, command: Command) -> str:
        conversation = await self._store.reset(command.key)
        if conversation is None:
            return texts.NOTHING_TO_RESET
        self._scheduler.interrupt(conversation.id, Outcome.RESET)
        return texts.RESET_DONE

    async def _stop(self, command: Command) -> str:
        conversation = await self._store.find(command.key)
        if conversation and self._scheduler.interrupt(conversation.id, Outcome.STOPPED):
            return texts.STOP_DONE
        return texts.NOTHING_TO_STOP

    async def _model(self, command: Command) -> str:
        if not self._models:
            return texts.NO_MODEL_CHOICES
        if not command.argument:
            conversation = await self._store.find(command.key)
            current = (conversation and conversation.model) or self._default
            return texts.models_offered(current, self._models)
        if command.argument not in self._models:
            return texts.model_refused(command.argument, self._models)
        if await self._store.choose_model(command.key, command.argument) is None:
            return texts.MODEL_NEEDS_CONVERSATION
        return texts.model_chosen(command.argument)

    async def _help(self, _command: Command) -> str:
        return texts.HELP


def place_of(key: ConversationKey) -> ConversationKey:
    """The channel of a conversation, as a key without a thread."""
    return ConversationKey(key.platform, key.workspace, key.channel, "")
