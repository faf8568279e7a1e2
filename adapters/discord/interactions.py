"""Slash commands and buttons: acknowledged at once, then carried out by the core.

Discord wants the first response within three seconds, so each is deferred before anything else;
only the person who asked sees the answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeGuard

import discord
import structlog
from discord import app_commands

from adapters.discord import rest as w
from adapters.discord.access import Servers, sees
from adapters.discord.buttons import CHOICE, CONTROL, choice_of, choice_view
from adapters.discord.events import PLATFORM, ChannelContext, Kind, place_of
from adapters.discord.payload_fitting import shape_of
from adapters.discord.payloads import whole
from adapters.discord.places import read_place
from adapters.discord.render import size
from adapters.discord.rest import RestApi, attempt
from bot.domain import texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, PlatformError, StoreUnavailable, Unsettled
from bot.domain.inbox import Choice, Command, CommandReply
from bot.domain.replies import Priority
from bot.inbox import commands
from bot.ports.platform import Renderer

if TYPE_CHECKING:
    from adapters.discord.adapter import ThreadlineClient

log = structlog.stdlib.get_logger(__name__)

Interaction = discord.Interaction[Any]  # always of our client, which has the desk
Work = Callable[[Interaction], Awaitable[CommandReply]]

MOST_CHOICES = 25  # documented: of one option
STRING_OPTION = 3  # documented: an option's type; ours have no other

DESCRIPTIONS = {
    commands.RESET: "Start over: forget what was said here before",
    commands.MODEL: "See or choose the model of this conversation",
    commands.HELP: "What I can do",
}
MODEL_OPTION = "The model from the next answer on"

# What is compared to know whether Discord's list is still ours; the rest is Discord's own.
_COMPARED = ("name", "description", "type", "options", "contexts", "integration_types")


class Tree(app_commands.CommandTree["ThreadlineClient"]):
    """discord.py's tree, which raises in a task of its own on a payload of another form."""

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Whether the command can be read."""
        if readable(interaction.data):
            # The bot's commands take no users or messages, so nothing has to be resolved.
            interaction.data |= {"type": 1, "resolved": {}}
            return True
        log.warning("a command could not be read", shape=shape_of(interaction.data))
        try:
            await attempt(interaction.response.send_message(texts.INTERNAL, ephemeral=True))
        except PlatformError as error:
            log.warning("an answer was not shown", error=repr(error))
        return False


def readable(data: object) -> TypeGuard[dict[str, Any]]:
    """Whether an interaction names a command, and options with values."""
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        return False
    options = data.get("options", [])
    return (
        whole(data, "type") in (0, 1)  # 0: not said, or unreadable; ours are all slash commands
        and isinstance(options, list)
        and all(
            isinstance(option, dict)
            and isinstance(option.get("name"), str)
            and option.get("type") == STRING_OPTION
            and isinstance(option.get("value"), str)
            for option in options
        )
    )


class InteractionHandler:
    """Where interactions are answered."""

    def __init__(
        self, *, wire: RestApi, renderer: Renderer, models: Sequence[str], servers: Servers
    ) -> None:
        self._wire, self._renderer, self._servers = wire, renderer, servers
        self._models = tuple(models)

    # ── registering ───────────────────────────────────────────────────────────────────────────
    def install(self, client: ThreadlineClient) -> app_commands.CommandTree[ThreadlineClient]:
        """The command tree of a new client, which also knows our buttons."""
        tree = Tree(
            client,
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True),
        )
        for command in (self._reset(), self._model(), self._help()):
            tree.add_command(command)
        client.add_dynamic_items(ControlButton, ChoiceButton)
        return tree

    async def sync(self, tree: app_commands.CommandTree[ThreadlineClient]) -> None:
        """Register the commands, if Discord's list is another one. Raises a PlatformError."""
        application = tree.client.application_id
        if application is None:
            return
        wanted = [command.to_dict(tree) for command in tree.get_commands()]
        scopes = w.at("commands")
        there: Any = await self._wire.ask(
            scopes,
            lambda client: client.http.get_global_commands(application),
            priority=Priority.BACKGROUND,
        )
        if compared(there) != compared(wanted):
            await self._wire.ask(
                scopes,
                lambda client: client.http.bulk_upsert_global_commands(application, wanted),
                priority=Priority.BACKGROUND,
            )
            log.info("registered the commands", commands=[c["name"] for c in wanted])

    def _reset(self) -> app_commands.Command[Any, ..., None]:
        @app_commands.command(name=commands.RESET, description=DESCRIPTIONS[commands.RESET])
        async def reset(interaction: Interaction) -> None:
            await self.answer(interaction, self._start_over)

        return reset

    def _model(self) -> app_commands.Command[Any, ..., None]:
        choices = [app_commands.Choice(name=m, value=m) for m in self._models[:MOST_CHOICES]]

        @app_commands.command(name=commands.MODEL, description=DESCRIPTIONS[commands.MODEL])
        @app_commands.describe(name=MODEL_OPTION)
        @app_commands.choices(name=choices)
        async def model(interaction: Interaction, name: str = "") -> None:
            await self.answer(interaction, self._simply(commands.MODEL, name))

        return model

    def _help(self) -> app_commands.Command[Any, ..., None]:
        @app_commands.command(name=commands.HELP, description=DESCRIPTIONS[commands.HELP])
        async def help_(interaction: Interaction) -> None:
            await self.answer(interaction, self._simply(commands.HELP))

        return help_

    # ── answering ─────────────────────────────────────────────────────────────────────────────
    async def answer(self, interaction: Interaction, work: Work) -> None:
        """Acknowledge and work, whichever is first, and show the answer to the person who asked."""
        response = interaction.response
        answer, _ = await asyncio.gather(
            self._done(interaction, work),
            self._acknowledge(response.defer(ephemeral=True, thinking=True)),
        )
        text, view = clipped(self._renderer, answer.text), choice_view(answer.choices)
        await self._tell(interaction.edit_original_response(content=text, view=view))

    async def _done(self, interaction: Interaction, work: Work) -> CommandReply:
        """What the work answers, or what is to be said when it failed."""
        try:
            if not await self._servers.serve_person(interaction.guild_id, interaction.user.id):
                return CommandReply(texts.NOT_SERVED)
            return await work(interaction)
        except StoreUnavailable as error:
            log.error("the database failed", error=str(error))
            return CommandReply(texts.STORE_DOWN)
        except PlatformError as error:
            log.warning("an interaction's place cannot be found out", error=str(error))
            return CommandReply(texts.PLACE_UNKNOWN)
        except Exception:
            # An interaction's boundary: whatever it was, people are not left with "thinking".
            log.exception("an interaction failed")
            return CommandReply(texts.INTERNAL)

    async def _acknowledge(self, request: Awaitable[object]) -> None:
        """Say that we are at it. What was asked is done all the same where that fails."""
        await self._tell(request, within=self._wire.waits.interaction)

    async def _tell(self, request: Awaitable[object], within: float | None = None) -> None:
        try:
            await attempt(request, within=within or self._wire.waits.answer)
        except PlatformError as error:
            log.warning("an answer was not shown", error=repr(error))

    async def press(self, interaction: Interaction, command: str, turn: str) -> None:
        """A control under a reply was used: the reply shows what it did, words why it did not.

        It is done whatever becomes of the acknowledgement: a stop waits for no answer of Discord's.
        """

        async def work(interaction: Interaction) -> CommandReply:
            key = await self._conversation_at(interaction)
            return await self._run(interaction, command, key, turn)

        answer, _ = await asyncio.gather(
            self._done(interaction, work), self._acknowledge(interaction.response.defer())
        )
        if answer.text:
            text = clipped(self._renderer, answer.text)
            await self._tell(interaction.followup.send(text, ephemeral=True))

    async def choose(self, interaction: Interaction, choice: Choice) -> None:
        """A choice of an answer was used."""

        async def work(interaction: Interaction) -> CommandReply:
            if not await sees(self._wire, interaction, choice.key):
                return CommandReply(texts.NO_ACCESS)
            return await self._run(interaction, choice.command, choice.key, choice.argument)

        await self.answer(interaction, work)

    def _simply(self, command: str, argument: str = "") -> Work:
        async def work(interaction: Interaction) -> CommandReply:
            place = await self._place(interaction)
            return await self._run(interaction, command, place.key(), argument)

        return work

    async def _start_over(self, interaction: Interaction) -> CommandReply:
        """In a thread or direct message at once; in a channel, which conversation is asked."""
        place = await self._place(interaction)
        if place.kind in (Kind.THREAD, Kind.DIRECT):
            return await self._run(interaction, commands.RESET, place.key(), "")
        inbox = self._wire.inbox
        if inbox is None:
            raise Unsettled("the adapter is not running")
        found = await inbox.recent(place.key(), str(interaction.user.id))
        seen = await asyncio.gather(*(sees(self._wire, interaction, c.key) for c in found))
        choices = [choice for choice, visible in zip(found, seen, strict=True) if visible]
        return CommandReply(texts.WHICH_THREAD if choices else texts.NO_RECENT, tuple(choices))

    async def _run(
        self, interaction: Interaction, name: str, key: ConversationKey, argument: str
    ) -> CommandReply:
        inbox, user = self._wire.inbox, interaction.user
        if inbox is None:
            raise Unsettled("the adapter is not running")
        author = Author(str(user.id), user.display_name)
        return await inbox.command(Command(name=name, argument=argument, key=key, author=author))

    # ── places ────────────────────────────────────────────────────────────────────────────────
    async def _place(self, interaction: Interaction) -> ChannelContext:
        place = place_of(interaction.channel)
        if place is None and interaction.channel_id is not None:
            place = await read_place(self._wire, interaction.channel_id)
        if place is None:
            raise Gone("no place for a conversation")
        return place

    async def _conversation_at(self, interaction: Interaction) -> ConversationKey:
        """The conversation of the message whose button was used."""
        place = await self._place(interaction)
        if place.kind in (Kind.THREAD, Kind.DIRECT):
            return place.key()
        message = interaction.message.id if interaction.message is not None else 0
        return await self._wire.known(place.source(message)) or place.key()


class ControlButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=CONTROL):
    """Stop and its kind, under a reply; it works after a restart."""

    def __init__(self, button: discord.ui.Button[Any], command: str, turn: str) -> None:
        super().__init__(button)
        self._command, self._turn = command, turn

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild it from the id."""
        assert isinstance(item, discord.ui.Button)  # noqa: S101 - we make buttons only
        return cls(item, match["name"], match["turn"])

    async def callback(self, interaction: Interaction) -> None:
        """It was pressed."""
        desk: InteractionHandler = interaction.client.desk
        await desk.press(interaction, self._command, self._turn)


class ChoiceButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=CHOICE):
    """A choice that an answer offers; it works after a restart."""

    def __init__(self, button: discord.ui.Button[Any], choice: Choice) -> None:
        super().__init__(button)
        self._choice = choice

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Rebuild it from the id."""
        assert isinstance(item, discord.ui.Button)  # noqa: S101 - we make buttons only
        return cls(item, choice_of(match, PLATFORM))

    async def callback(self, interaction: Interaction) -> None:
        """It was pressed."""
        desk: InteractionHandler = interaction.client.desk
        await desk.choose(interaction, self._choice)


def clipped(renderer: Renderer, markdown: str) -> str:
    """A short text of ours for one message; what is over the limit is cut at a line's end."""
    text = renderer.render(markdown)
    if size(text) <= renderer.limit:
        return text
    cut = text.encode("utf-16-le")[: 2 * (renderer.limit - 1)].decode("utf-16-le", "ignore")
    return (cut.rpartition("\n")[0] or cut) + "…"


def compared(commands_there: object) -> list[dict[str, Any]]:
    """What matters of a list of commands, without defaults that Discord fills in or leaves out.

    Anything but a list of commands differs from ours.
    """
    listed = commands_there if isinstance(commands_there, list) else []
    commands_ = [entry for entry in listed if isinstance(entry, Mapping)]
    found = ({key: _plain(c[key]) for key in _COMPARED if c.get(key)} for c in commands_)
    return sorted(found, key=lambda command: str(command.get("name")))


def _plain(value: Any) -> Any:
    """A value without what is false or empty in it, lists of numbers in their order."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items() if part}
    if isinstance(value, list | tuple):
        parts = [_plain(part) for part in value]
        return sorted(parts) if all(isinstance(part, int) for part in parts) else parts
    return value
