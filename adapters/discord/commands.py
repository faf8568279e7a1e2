"""The slash commands: their definitions, and their registration if Discord's list differs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeGuard

import discord
import structlog
from discord import app_commands

from adapters.discord.payload_validation import outline
from adapters.discord.payloads import get_int
from adapters.discord.rest import RestApi, attempt, request_scopes
from bot.domain import texts
from bot.domain.errors import PlatformError
from bot.domain.replies import Priority
from bot.inbox import commands

log = structlog.stdlib.get_logger(__name__)

Interaction = discord.Interaction[Any]  # always of a ThreadlineClient
RunCommand = Callable[[Interaction, str, str], Awaitable[None]]
"""Runs a command, by its name and argument."""

MAX_CHOICES = 25  # documented: choices of one option
STRING_OPTION = 3  # documented option type, the only one used here

# The fields in which Discord's list is compared with ours; Discord sets the others.
_COMPARED = ("name", "description", "type", "options", "contexts", "integration_types")


class CommandTree(app_commands.CommandTree[discord.Client]):
    """discord.py's tree, which would raise in a separate task on a malformed payload."""

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Whether discord.py can parse the command; if not, apologizes."""
        if is_valid(interaction.data):
            # The commands take no users or messages, so there is nothing to resolve.
            interaction.data |= {"type": 1, "resolved": {}}
            return True
        log.warning("a command could not be parsed", structure=outline(interaction.data))
        try:
            await attempt(interaction.response.send_message(texts.INTERNAL, ephemeral=True))
        except PlatformError as error:
            log.warning("could not respond to an interaction", error=repr(error))
        return False


def is_valid(data: object) -> TypeGuard[dict[str, Any]]:
    """Whether an interaction names a command, and options with string values."""
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        return False
    options = data.get("options", [])
    return (
        get_int(data, "type") in (0, 1)  # a slash command, or no valid type
        and isinstance(options, list)
        and all(
            isinstance(option, dict)
            and isinstance(option.get("name"), str)
            and option.get("type") == STRING_OPTION
            and isinstance(option.get("value"), str)
            for option in options
        )
    )


def command_tree(
    client: discord.Client, run: RunCommand, models: Sequence[str]
) -> app_commands.CommandTree[discord.Client]:
    """The command tree of a new client; `models` are the choices of /model."""
    tree = CommandTree(
        client,
        allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True),
    )
    choices = [app_commands.Choice(name=m, value=m) for m in models[:MAX_CHOICES]]

    @tree.command(name=commands.RESET, description=texts.SLASH_COMMANDS[commands.RESET])
    async def reset(interaction: Interaction) -> None:
        await run(interaction, commands.RESET, "")

    @tree.command(name=commands.MODEL, description=texts.SLASH_COMMANDS[commands.MODEL])
    @app_commands.describe(name=texts.MODEL_OPTION)
    @app_commands.choices(name=choices)
    async def model(interaction: Interaction, name: str = "") -> None:
        await run(interaction, commands.MODEL, name)

    @tree.command(name=commands.HELP, description=texts.SLASH_COMMANDS[commands.HELP])
    async def help_(interaction: Interaction) -> None:
        await run(interaction, commands.HELP, "")

    return tree


async def register_commands(rest: RestApi, tree: app_commands.CommandTree[discord.Client]) -> None:
    """Replace Discord's list of commands if it differs from the tree. Raises a PlatformError."""
    application = tree.client.application_id
    if application is None:
        return
    wanted = [command.to_dict(tree) for command in tree.get_commands()]
    scopes = request_scopes("commands")
    registered: Any = await rest.request(
        scopes,
        lambda client: client.http.get_global_commands(application),
        priority=Priority.BACKGROUND,
    )
    if comparable(registered) != comparable(wanted):
        await rest.request(
            scopes,
            lambda client: client.http.bulk_upsert_global_commands(application, wanted),
            priority=Priority.BACKGROUND,
        )
        log.info("registered the commands", commands=[c["name"] for c in wanted])


def comparable(command_list: object) -> list[dict[str, Any]]:
    """A list of commands without defaults, which Discord may add or omit; sorted by name.

    Anything else compares as different from our list.
    """
    listed = command_list if isinstance(command_list, list) else []
    mappings = [entry for entry in listed if isinstance(entry, Mapping)]
    found = ({key: _drop_empty(c[key]) for key in _COMPARED if c.get(key)} for c in mappings)
    return sorted(found, key=lambda command: str(command.get("name")))


def _drop_empty(value: Any) -> Any:
    """A value without its false and empty parts; lists of numbers are sorted."""
    if isinstance(value, Mapping):
        return {key: _drop_empty(part) for key, part in value.items() if part}
    if isinstance(value, list | tuple):
        parts = [_drop_empty(part) for part in value]
        return sorted(parts) if all(isinstance(part, int) for part in parts) else parts
    return value
