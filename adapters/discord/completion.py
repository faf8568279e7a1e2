"""Completes what a person types after /model, and the value of a setting after /channel.

Discord asks after each pause in typing and waits three seconds for the choices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from discord.app_commands import Choice

from adapters.discord.access import AllowedGuilds
from adapters.discord.commands import SETTING, Typed
from bot.domain import model_names
from bot.domain.conversations import Effort
from bot.domain.errors import PlatformError
from bot.domain.policy import AnswerMode, Controllers, OverrideName
from bot.inbox import commands
from bot.ports.model import ModelCatalog

log = structlog.stdlib.get_logger(__name__)

# Documented: https://docs.discord.com/developers/interactions/receiving-and-responding
# (choices of one response) and …/interactions/application-commands (characters of a choice).
MAX_CHOICES, MAX_CHOICE = 25, 100

WORDS: Mapping[str, Sequence[str]] = {
    OverrideName.EFFORT: tuple(map(str, Effort)),
    OverrideName.ANSWERS: tuple(map(str, AnswerMode)),
    OverrideName.CONTROLS: tuple(map(str, Controllers)),
}

ACCESS_SECONDS = 0.5
"""How long to wait for Discord to say whether a person may use the bot; the catalog may take two
of the three seconds."""


class Completion:
    """Finds the choices for what was typed: `models`, or the words of a setting."""

    def __init__(self, *, guilds: AllowedGuilds, models: ModelCatalog) -> None:
        self._guilds, self._models = guilds, models

    async def choices(self, guild: object, user: int, typed: Typed) -> list[Choice[Any]]:
        """The choices for a user in a guild; none for those who may not use the bot.

        Raises nothing.
        """
        try:
            async with asyncio.timeout(ACCESS_SECONDS):
                allowed = await self._guilds.allows_user(guild, user)
        except (PlatformError, TimeoutError) as error:
            log.info("no completion: access is unknown", error=repr(error))
            return []
        if not allowed:
            return []
        return to_choices(typed.text, [*await self._words(typed), model_names.DEFAULT])

    async def _words(self, typed: Typed) -> Sequence[str]:
        """What may be meant; the default is always possible."""
        if typed.command == commands.MODEL or typed.others.get(SETTING) == OverrideName.MODEL:
            return await self._models.list_names()
        return WORDS.get(typed.others.get(SETTING, ""), ())


def to_choices(typed: str, names: Iterable[str]) -> list[Choice[Any]]:
    """The first names that contain `typed`.

    A choice's value is what Discord enters, so a name too long for one is left out: typed in full,
    it is accepted like any other.
    """
    fitting = (name for name in names if len(name.strip()) > 0 and len(name) <= MAX_CHOICE)
    found = model_names.search(typed, fitting)[:MAX_CHOICES]
    return [Choice(name=model_names.plain(name), value=name) for name in found]
