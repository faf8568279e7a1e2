"""The slash commands: their definitions, and their registration if Discord's list differs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeGuard

import discord
import structlog
from discord import app_commands

from adapters.discord.errors import attempt
from adapters.discord.payload_validation import outline
from adapters.discord.payloads import get_int
from adapters.discord.rest import RestApi, request_scopes
from bot.domain import texts
from bot.domain.errors import PlatformError
from bot.domain.replies import Priority
from bot.inbox import commands
from bot.inbox.model_commands import EFFORTS

log = structlog.stdlib.get_logger(__name__)

Interaction = discord.Interaction[Any]  # always of a ThreadlineClient
RunCommand = Callable[[Interaction, str, str], Awaitable[None]]
"""Runs a command, by its name and argument."""
CompleteModel = Callable[[Interaction, str], Awaitable[None]]
"""Responds to an interaction with the models that contain what was typed."""

STRING_OPTION = 3  # documented option type, the only one used here

_OTHER_VERSION = (app_commands.CommandNotFound, app_commands.CommandSignatureMismatch)

# The fields in which Discord's list is compared with ours; Discord sets the others.
_COMPARED = ("name", "description", "type", "options", "contexts", "integration_types")


class CommandTree(app_commands.CommandTree[discord.Client]):
    """discord.py's tree, which would raise in a separate task on a malformed payload, and responds
    to autocomplete without a time limit.
    """

    def __init__(self, client: discord.Client, complete: CompleteModel) -> None:
        super().__init__(
            client,
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True),
        )
        self._complete = complete

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Whether discord.py must handle the interaction: a valid command. Completes names."""
        if interaction.type is discord.InteractionType.autocomplete:
            typed = typed_model(interaction.data)
            if typed is None:
                log.warning("cannot complete an option", structure=outline(interaction.data))
                await _respond(interaction.response.autocomplete([]))
            else:
                await self._complete(interaction, typed)
            return False
        if is_valid(interaction.data):
            # The commands take no users or messages, so there is nothing to resolve.
            interaction.data |= {"type": 1, "resolved": {}}
            return True
        log.warning("a command could not be parsed", structure=outline(interaction.data))
        await _respond(interaction.response.send_message(texts.INTERNAL, ephemeral=True))
        return False

    async def on_error(
        self, interaction: Interaction, error: app_commands.AppCommandError, /
    ) -> None:
        """Say why a command was not executed: Discord may still list an earlier version's."""
        is_foreign = isinstance(error, _OTHER_VERSION)
        log.warning("a command was not executed", error=repr(error), exc_info=not is_foreign)
        text = texts.NO_SUCH_COMMAND if is_foreign else texts.INTERNAL
        await _respond(interaction.response.send_message(text, ephemeral=True))


async def _respond(response: Awaitable[object]) -> None:
    try:
        await attempt(response)
    except PlatformError as error:
        log.warning("could not respond to an interaction", error=repr(error))


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


def typed_model(data: object) -> str | None:
    """The text in the option of /model so far; None if something else is completed."""
    if not is_valid(data) or data["name"] != commands.MODEL:
        return None
    focused = [option["value"] for option in data.get("options", []) if option.get("focused")]
    return focused[0] if len(focused) == 1 else None


async def _complete_nothing(_interaction: Interaction, _typed: str) -> list[Any]:
    """Marks an option for autocomplete; `CommandTree.interaction_check` responds."""
    return []


def command_tree(
    client: discord.Client, run: RunCommand, complete: CompleteModel
) -> app_commands.CommandTree[discord.Client]:
    """The command tree of a new client."""
    tree, described = CommandTree(client, complete), texts.SLASH_COMMANDS
    efforts = [app_commands.Choice(name=str(effort), value=str(effort)) for effort in EFFORTS]

    @tree.command(name=commands.RESET, description=described[commands.RESET])
    async def reset(interaction: Interaction) -> None:
        await run(interaction, commands.RESET, "")

    @tree.command(name=commands.MODEL, description=described[commands.MODEL])
    @app_commands.describe(name=texts.MODEL_OPTION)
    @app_commands.autocomplete(name=_complete_nothing)
    async def model(interaction: Interaction, name: str = "") -> None:
        await run(interaction, commands.MODEL, name.strip())

    @tree.command(name=commands.EFFORT, description=described[commands.EFFORT])
    @app_commands.describe(level=texts.EFFORT_OPTION)
    @app_commands.choices(level=efforts)
    async def effort(interaction: Interaction, level: str = "") -> None:
        await run(interaction, commands.EFFORT, level)

    @tree.command(name=commands.CONTEXT, description=described[commands.CONTEXT])
    async def context(interaction: Interaction) -> None:
        await run(interaction, commands.CONTEXT, "")

    @tree.command(name=commands.HELP, description=described[commands.HELP])
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
