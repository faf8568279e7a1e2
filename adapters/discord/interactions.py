"""Interactions: slash commands and buttons, which the core executes.

Discord expects the first response within three seconds, so each interaction is deferred
immediately. Only the person who started it sees the reply.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Self

import discord
import structlog

from adapters.discord.access import AllowedGuilds, can_read
from adapters.discord.buttons import CHOICE, CONTROL, choice_view, fits_button, parse_choice
from adapters.discord.channels import (
    PLATFORM,
    ChannelContext,
    channel_context,
    fetch_channel_context,
)
from adapters.discord.commands import Interaction, Typed
from adapters.discord.completion import Completion
from adapters.discord.errors import attempt
from adapters.discord.private_notices import collect_notes
from adapters.discord.render import clip
from adapters.discord.rest import MAX_FILE_BYTES, RestApi
from bot.domain import command_texts, texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, PlatformError, StoreUnavailable, Unsettled
from bot.domain.inbox import Choice, Command, CommandReply
from bot.inbox import commands
from bot.inbox.private_files import deliver
from bot.ports.model import ModelCatalog
from bot.ports.platform import Renderer

log = structlog.stdlib.get_logger(__name__)

BODY_BYTES = 100_000
"""Bytes for everything except the file in an upload request: far more than the text and part
headers need."""

MOST_FILE_BYTES = 25 * 2**20
"""The largest file to upload: boosted servers allow 100 MiB, which would take too much memory and
time."""

Operation = Callable[[], Awaitable[CommandReply]]


class DiscordInteractionHandler:
    """Executes interactions and responds to them."""

    def __init__(
        self, *, rest: RestApi, renderer: Renderer, guilds: AllowedGuilds, models: ModelCatalog
    ) -> None:
        self._rest, self._renderer, self._guilds = rest, renderer, guilds
        self._models = models
        self._completion = Completion(guilds=guilds, models=models)

    async def handle_command(self, interaction: Interaction, command: str, argument: str) -> None:
        """Run a slash command and reply."""

        async def run() -> CommandReply:
            context = await self._find_context(interaction)
            if context.starts_conversations and await self._needs_conversation(command, argument):
                return await self._offer_conversations(interaction, context, command, argument)
            return await self._run(interaction, command, context.key(), argument)

        await self._reply(interaction, run)

    async def complete(self, interaction: Interaction, typed: Typed) -> None:
        """Respond with the choices for what was typed."""
        try:
            user, guild = interaction.user.id, interaction.guild_id
            choices = await self._completion.choices(guild, user, typed)
        except Exception:
            # The boundary of each interaction: without choices, the person can still type.
            log.exception("a name could not be completed")
            choices = []
        await self._acknowledge(interaction.response.autocomplete(choices))

    async def handle_choice(self, interaction: Interaction, choice: Choice) -> None:
        """Run a choice button's command and reply.

        The reply contains nothing from the conversation, which is in another place.
        """

        async def run() -> CommandReply:
            if not await can_read(self._rest, interaction, choice.key):
                return CommandReply(texts.NO_ACCESS)
            reply = await self._run(interaction, choice.command, choice.key, choice.argument)
            return replace(reply, private="", instead="")

        await self._reply(interaction, run)

    async def handle_control(self, interaction: Interaction, command: str, turn: str) -> None:
        """Run the command of a control under a page.

        The page shows the command's effect; a reply only says why it had none. The command
        runs even if the acknowledgment fails: a stop never waits for Discord.
        """

        async def run() -> CommandReply:
            key = await self._conversation_at(interaction)
            return await self._run(interaction, command, key, turn)

        reply, _ = await asyncio.gather(
            self._execute(interaction, run), self._acknowledge(interaction.response.defer())
        )
        if reply.text:
            text = clip(self._renderer, reply.text)
            await self._send(interaction.followup.send(text, ephemeral=True))

    async def run_here(self, interaction: Interaction, command: str, argument: str) -> CommandReply:
        """Run a command about the conversation to which the pressed button's message belongs."""

        async def run() -> CommandReply:
            key = await self._conversation_at(interaction)
            return await self._run(interaction, command, key, argument)

        return await self._execute(interaction, run)

    # ── responding ────────────────────────────────────────────────────────────────────────────
    async def _reply(self, interaction: Interaction, operation: Operation) -> None:
        """Acknowledge and execute concurrently, then show the result to the person."""
        response = interaction.response
        reply, _ = await asyncio.gather(
            self._execute(interaction, operation),
            self._acknowledge(response.defer(ephemeral=True, thinking=True)),
        )
        if reply.file is not None:
            await self._show_file(interaction, reply)
            return
        text, view = clip(self._renderer, reply.whole), choice_view(reply.choices)
        await self._send(interaction.edit_original_response(content=text, view=view))

    async def _show_file(self, interaction: Interaction, reply: CommandReply) -> None:
        """Show a reply with its file, or the reason why the file cannot be sent."""

        async def send(name: str, data: bytes) -> None:
            file = discord.File(io.BytesIO(data), filename=name)
            text = clip(self._renderer, reply.whole)
            await attempt(interaction.edit_original_response(content=text, attachments=[file]))

        shown = await deliver(reply, send, most=_most_bytes(interaction), sent="")
        if shown.text:  # without a file that Discord took and did not confirm
            text = clip(self._renderer, shown.text)
            await self._send(interaction.edit_original_response(content=text, attachments=[]))

    async def respond(self, interaction: Interaction, reply: CommandReply) -> None:
        """Show a reply to the person alone, as the first response."""
        text = clip(self._renderer, reply.text)
        await self._acknowledge(interaction.response.send_message(text, ephemeral=True))

    async def respond_later(
        self, interaction: Interaction, work: asyncio.Task[CommandReply]
    ) -> None:
        """Acknowledge now, then show the reply from `work` to the person alone."""
        await self._acknowledge(interaction.response.defer(ephemeral=True, thinking=True))
        text = clip(self._renderer, (await work).text)
        await self._send(interaction.edit_original_response(content=text))

    async def show_form(self, interaction: Interaction, form: discord.ui.Modal) -> None:
        """Show a form, which must be the first response."""
        await self._acknowledge(interaction.response.send_modal(form))

    async def _execute(self, interaction: Interaction, operation: Operation) -> CommandReply:
        """Return the operation's reply, or a sentence explaining why it failed."""
        try:
            if not await self._guilds.allows_user(interaction.guild_id, interaction.user.id):
                return CommandReply(texts.NOT_SERVED)
            with collect_notes(str(interaction.user.id)) as notes:
                reply = await operation()
            return replace(reply, text="\n\n".join(filter(None, [reply.text, *notes.texts])))
        except StoreUnavailable as error:
            log.error("the database failed", error=str(error))
            return CommandReply(texts.STORE_DOWN)
        except PlatformError as error:
            log.warning("an interaction's channel is unknown", error=str(error))
            return CommandReply(texts.PLACE_UNKNOWN)
        except Exception:
            # The boundary of each interaction: no one is left with "thinking".
            log.exception("an interaction failed")
            return CommandReply(texts.INTERNAL)

    async def _acknowledge(self, request: Awaitable[object]) -> None:
        await self._send(request, within=self._rest.timeouts.interaction)

    async def _send(self, request: Awaitable[object], within: float | None = None) -> None:
        try:
            await attempt(request, within=within or self._rest.timeouts.answer)
        except PlatformError as error:
            log.warning("could not respond to an interaction", error=repr(error))

    # ── executing ─────────────────────────────────────────────────────────────────────────────
    async def _needs_conversation(self, command: str, argument: str) -> bool:
        asks_servers = command == commands.MODEL and argument
        names = await self._models.list_names() if asks_servers else ()
        return commands.needs_conversation(command, argument, names)

    async def _offer_conversations(
        self, interaction: Interaction, context: ChannelContext, command: str, argument: str
    ) -> CommandReply:
        """Ask which of the person's recent conversations in a channel the command is about."""
        inbox = self._rest.inbox
        if inbox is None:
            raise Unsettled("the adapter is not running")
        recent = await inbox.recent(context.key(), str(interaction.user.id))
        visible = await asyncio.gather(*(can_read(self._rest, interaction, c.key) for c in recent))
        choices = tuple(
            replace(choice, command=command, argument=argument)
            for choice, ok in zip(recent, visible, strict=True)
            if ok
        )
        if not choices:
            return CommandReply(texts.NO_RECENT)
        if not all(map(fits_button, choices)):  # the name of a model may be too long
            return CommandReply(command_texts.NEEDS_CONVERSATION[command])
        return CommandReply(command_texts.which_conversation(command, argument), choices)

    async def _run(
        self, interaction: Interaction, name: str, key: ConversationKey, argument: str
    ) -> CommandReply:
        inbox, user = self._rest.inbox, interaction.user
        if inbox is None:
            raise Unsettled("the adapter is not running")
        author = Author(str(user.id), user.display_name)
        return await inbox.command(Command(name=name, argument=argument, key=key, author=author))

    async def _find_context(self, interaction: Interaction) -> ChannelContext:
        context = channel_context(interaction.channel)
        if context is None and interaction.channel_id is not None:
            context = await fetch_channel_context(self._rest, interaction.channel_id)
        if context is None:
            raise Gone("the channel cannot hold a conversation")
        return context

    async def _conversation_at(self, interaction: Interaction) -> ConversationKey:
        """The conversation to which the pressed button's message belongs."""
        context = await self._find_context(interaction)
        if not context.starts_conversations:
            return context.key()
        message = interaction.message.id if interaction.message is not None else 0
        return await self._rest.conversation_of(context.source(message)) or context.key()


def _most_bytes(interaction: Interaction) -> int:
    """The largest file that Discord takes here, minus the rest of the request body."""
    limit = interaction.filesize_limit
    known = limit if isinstance(limit, int) and limit > BODY_BYTES else MAX_FILE_BYTES + BODY_BYTES
    return min(known, MOST_FILE_BYTES) - BODY_BYTES


class ControlButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=CONTROL):
    """A control under a page, such as Stop; works after a restart."""

    def __init__(self, button: discord.ui.Button[Any], command: str, turn: str) -> None:
        super().__init__(button)
        self._command, self._turn = command, turn

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Restore the button from its id."""
        assert isinstance(item, discord.ui.Button)  # noqa: S101 - CONTROL matches only buttons
        return cls(item, match["name"], match["turn"])

    async def callback(self, interaction: Interaction) -> None:
        """Handle a press."""
        handler: DiscordInteractionHandler = interaction.client.handler
        await handler.handle_control(interaction, self._command, self._turn)


class ChoiceButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=CHOICE):
    """A choice offered by a command's reply; works after a restart."""

    def __init__(self, button: discord.ui.Button[Any], choice: Choice) -> None:
        super().__init__(button)
        self._choice = choice

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Restore the button from its id."""
        assert isinstance(item, discord.ui.Button)  # noqa: S101 - CHOICE matches only buttons
        return cls(item, parse_choice(match, PLATFORM))

    async def callback(self, interaction: Interaction) -> None:
        """Handle a press."""
        handler: DiscordInteractionHandler = interaction.client.handler
        await handler.handle_choice(interaction, self._choice)
