"""Defines the slash commands, and registers them if Discord's list differs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
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
from bot.domain.policy import OverrideName
from bot.domain.replies import Priority
from bot.inbox import commands
from bot.inbox.model_commands import EFFORTS

log = structlog.stdlib.get_logger(__name__)

Interaction = discord.Interaction[Any]  # always of a ThreadlineClient
RunCommand = Callable[[Interaction, str, str], Awaitable[None]]
"""Runs a command, by its name and argument."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command; all are optional strings."""

    name: str
    description: str
    choices: Sequence[str] = ()
    completes: bool = False  # while a person types


@dataclass(frozen=True, slots=True)
class Typed:
    """The text typed so far in a command option with autocomplete, and the other options."""

    command: str
    text: str
    others: Mapping[str, str]


Complete = Callable[[Interaction, Typed], Awaitable[None]]
"""Responds to an interaction with the choices for what was typed."""

SETTING = "setting"
OPTIONS: Mapping[str, tuple[Option, ...]] = {
    commands.MODEL: (Option("name", texts.MODEL_OPTION, completes=True),),
    commands.EFFORT: (Option("level", texts.EFFORT_OPTION, tuple(map(str, EFFORTS))),),
    commands.CHANNEL: (
        Option(SETTING, texts.SETTING_OPTION, tuple(map(str, OverrideName))),
        Option("value", texts.VALUE_OPTION, completes=True),
    ),
    commands.USAGE: (Option("of", texts.USAGE_OPTION, ("me", "channel")),),
    commands.FORGET: (Option("who", texts.FORGET_OPTION, ("me",)),),
    commands.EXPORT: (Option("who", texts.EXPORT_OPTION, ("me",)),),
}
"""The options of each command that has any; their values, joined by spaces, form the argument."""

STRING_OPTION = 3  # documented option type, the only one used here

_OTHER_VERSION = (app_commands.CommandNotFound, app_commands.CommandSignatureMismatch)

# The fields in which Discord's list is compared with ours; Discord sets the others.
_COMPARED = ("name", "description", "type", "options", "contexts", "integration_types")


class CommandTree(app_commands.CommandTree[discord.Client]):
    """discord.py's command tree, made safe.

    The original raises in a separate task on a malformed payload, and responds to autocomplete
    without a time limit.
    """

    def __init__(self, client: discord.Client, complete: Complete) -> None:
        super().__init__(
            client,
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True),
        )
        self._complete = complete

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Whether discord.py should handle the interaction, that is, a valid command. Answers
        autocomplete requests here."""
        if interaction.type is discord.InteractionType.autocomplete:
            typed = typed_in(interaction.data)
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
        """Tell the person why a command was not run: Discord may still list an earlier version's
        commands."""
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
    """Whether an interaction names a command and gives its options string values."""
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


def typed_in(data: object) -> Typed | None:
    """The text typed in an option with autocomplete; None for other interactions."""
    if not is_valid(data):
        return None
    options = data.get("options", [])
    focused = [option for option in options if option.get("focused")]
    completed = [option.name for option in OPTIONS.get(data["name"], ()) if option.completes]
    if len(focused) != 1 or focused[0]["name"] not in completed:
        return None
    others = {option["name"]: option["value"] for option in options if not option.get("focused")}
    return Typed(data["name"], focused[0]["value"], others)


async def _complete_nothing(_interaction: Interaction, _typed: str) -> list[Any]:
    """Marks an option for autocomplete; `CommandTree.interaction_check` responds."""
    return []


def command_tree(
    client: discord.Client, run: RunCommand, complete: Complete
) -> app_commands.CommandTree[discord.Client]:
    """The command tree for a new client, with one command for each description."""
    tree = CommandTree(client, complete)
    for name, description in texts.SLASH_COMMANDS.items():
        callback: Any = _callback(run, name)
        tree.add_command(
            app_commands.Command(name=name, description=description, callback=callback)
        )
    return tree


def _callback(run: RunCommand, name: str) -> Any:
    """The function that discord.py calls for a command and its options."""
    options = OPTIONS.get(name, ())
    if not options:

        async def run_plain(interaction: Interaction) -> None:
            await run(interaction, name, "")

        return run_plain
    if len(options) == 1:

        async def run_with_one(interaction: Interaction, first: str = "") -> None:
            await run(interaction, name, first.strip())

        return _describe(run_with_one, options)

    async def run_with_two(interaction: Interaction, first: str = "", second: str = "") -> None:
        await run(interaction, name, f"{first.strip()} {second.strip()}".strip())

    return _describe(run_with_two, options)


def _describe(callback: Any, options: Sequence[Option]) -> Any:
    """Return a callback whose parameters are these options."""
    for parameter, option in zip(("first", "second"), options, strict=False):
        app_commands.rename(**{parameter: option.name})(callback)
        app_commands.describe(**{parameter: option.description})(callback)
        if option.choices:
            choices = [app_commands.Choice(name=each, value=each) for each in option.choices]
            app_commands.choices(**{parameter: choices})(callback)
        if option.completes:
            app_commands.autocomplete(**{parameter: _complete_nothing})(callback)
    return callback


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
    """A command list for comparison: sorted by name, without defaults, which Discord may add or
    omit.

    Malformed input is returned so that it differs from our list.
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
