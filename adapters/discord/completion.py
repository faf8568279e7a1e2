"""Autocompletes model names after /model and setting values after /channel.

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
"""How long to wait for Discord to say whether a person may use the bot.

Discord allows three seconds in all, of which the catalog may take two.
"""


class Completion:
    """Finds the choices for what a person has typed: `models`, or the values of a setting."""

    def __init__(self, *, guilds: AllowedGuilds, models: ModelCatalog) -> None:
        self._guilds, self._models = guilds, models

    async def choices(self, guild: object, user: int, typed: Typed) -> list[Choice[Any]]:
        """The choices for a user in a guild; none for users who may not use the bot.

        Never raises.
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
        """The values that the person may mean; the default is always among them."""
        if typed.command == commands.MODEL or typed.others.get(SETTING) == OverrideName.MODEL:
            return await self._models.list_names()
        return WORDS.get(typed.others.get(SETTING, ""), ())


def to_choices(typed: str, names: Iterable[str]) -> list[Choice[Any]]:
    """The first names that contain `typed`.

    Discord submits a choice's value, so names too long for a value are left out. Typed in full,
    such a name works like any other.
    """
    fitting = (name for name in names if len(name.strip()) > 0 and len(name) <= MAX_CHOICE)
    found = model_names.search(typed, fitting)[:MAX_CHOICES]
    return [Choice(name=model_names.plain(name), value=name) for name in found]
