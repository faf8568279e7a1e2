"""Completes the names of models while a person types one after /model.

Discord asks after each pause in typing and waits three seconds for the choices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog
from discord.app_commands import Choice

from adapters.discord.access import AllowedGuilds
from bot.domain import model_names
from bot.domain.errors import PlatformError
from bot.ports.model import ModelCatalog

log = structlog.stdlib.get_logger(__name__)

# Documented: https://docs.discord.com/developers/interactions/receiving-and-responding
# (choices of one response) and …/interactions/application-commands (characters of a choice).
MAX_CHOICES, MAX_CHOICE = 25, 100

ACCESS_SECONDS = 0.5
"""How long to wait for Discord to say whether a person may use the bot; the catalog may take two
of the three seconds."""


class ModelCompletion:
    """Finds the choices for what was typed, among the models of `models`."""

    def __init__(self, *, guilds: AllowedGuilds, models: ModelCatalog) -> None:
        self._guilds, self._models = guilds, models

    async def choices(self, guild: object, user: int, typed: str) -> list[Choice[Any]]:
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
        return to_choices(typed, [*await self._models.list_names(), model_names.DEFAULT])


def to_choices(typed: str, names: Iterable[str]) -> list[Choice[Any]]:
    """The first names that contain `typed`.

    A choice's value is what Discord enters, so a name too long for one is left out: typed in full,
    it is accepted like any other.
    """
    fitting = (name for name in names if len(name.strip()) > 0 and len(name) <= MAX_CHOICE)
    found = model_names.search(typed, fitting)[:MAX_CHOICES]
    return [Choice(name=model_names.plain(name), value=name) for name in found]
