"""Reads slash commands, the message shortcut and buttons from payloads, and executes them.

Slack expects an acknowledgement within 3 s and never resends an interaction. So the command runs
first and the acknowledgement carries its reply; a slow one is answered later at the
`response_url`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from adapters.slack import payloads
from adapters.slack import text as slack_text
from adapters.slack.blocks import ACTION, fits_button, parse_button_value, parse_menu_key
from adapters.slack.feedback import parse_comment
from adapters.slack.payloads import Payload, ident, items, mapping, text
from adapters.slack.private_files import deliver_directly
from adapters.slack.workspace import Workspace
from bot.domain import command_texts, privacy_texts, texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Command, CommandReply
from bot.inbox.commands import (
    CHANNEL,
    CONTEXT,
    EFFORT,
    EXPORT,
    FORGET,
    HELP,
    MODEL,
    RESET,
    USAGE,
    WHOAMI,
    WHY,
    needs_conversation,
)
from bot.inbox.feedback_commands import COMMENT
from bot.ports.inbox import CommandInbox
from bot.ports.model import ModelCatalog

log = structlog.stdlib.get_logger(__name__)

SLASHES = (
    *(RESET, MODEL, EFFORT, CONTEXT),
    *(WHY, WHOAMI, CHANNEL, USAGE, FORGET, EXPORT),
    HELP,
)
SHORTCUT = "threadline_reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """One use of a command by a person.

    `message` is the ts of the message with the shortcut or button, and `thread` the ts of its
    thread. `in_thread` says that the thread already has replies, without which Slack shows no
    private messages there. `key` is the conversation, if the button names one.
    """

    name: str
    argument: str = ""
    user: str
    user_name: str
    channel: str
    message: str = ""
    thread: str = ""
    in_thread: bool = False
    key: ConversationKey | None = None
    response_url: str = ""
    home: str = ""  # the person's workspace, if the payload says it
    trigger_id: str = ""  # opens a modal within 3 s
    ephemeral: bool = False  # the button is in a message that only this person can see


# ── reading payloads ──────────────────────────────────────────────────────────────────────────
def parse_slash_command(body: Payload, prefix: str) -> Interaction | None:
    """A slash command; None if it is another app's."""
    command = text(body, "command")
    name = command.removeprefix("/").removeprefix(prefix)
    user, channel = ident(body, "user_id"), ident(body, "channel_id")
    if name not in SLASHES or command != f"/{prefix}{name}" or not user or not channel:
        return None
    return Interaction(
        name=name,
        argument=text(body, "text").strip(),
        user=user,
        user_name=slack_text.name(text(body, "user_name")) or user,
        channel=channel,
        response_url=text(body, "response_url"),
    )


def parse_shortcut(body: Payload) -> Interaction | None:
    """The shortcut on a message; None if it is not ours."""
    if text(body, "type") != "message_action" or text(body, "callback_id") != SHORTCUT:
        return None
    message, user = mapping(body, "message"), mapping(body, "user")
    channel = ident(mapping(body, "channel"), "id")
    ts = payloads.ts(body, "message_ts") or payloads.ts(message)
    thread = payloads.ts(message, "thread_ts")
    if not ident(user, "id") or not channel or not ts:
        return None
    return Interaction(
        name=RESET,
        user=ident(user, "id"),
        user_name=_name(user),
        home=ident(user, "team_id"),
        channel=channel,
        message=ts,
        thread=thread or ts,
        in_thread=bool(thread),
        response_url=text(body, "response_url"),
    )


def parse_button(body: Payload) -> Interaction | None:
    """A pressed button, or a choice from a menu; None if it is not ours."""
    action = next(iter(items(body, "actions")), {})
    container, user = mapping(body, "container"), mapping(body, "user")
    action_id, channel = text(action, "action_id"), ident(container, "channel_id")
    if not action_id.startswith(ACTION) or not channel or not ident(user, "id"):
        return None
    key, argument = parse_button_value(text(action, "value"))
    if "selected_option" in action:
        key = parse_menu_key(text(action, "block_id"))
        argument = text(mapping(action, "selected_option"), "value")
        if key is None or not argument:
            return None
    ts, thread = payloads.ts(container, "message_ts"), payloads.ts(container, "thread_ts")
    return Interaction(
        name=action_id.removeprefix(ACTION),
        argument=argument,
        user=ident(user, "id"),
        user_name=_name(user),
        home=ident(user, "team_id"),
        channel=channel,
        message=ts,
        thread=thread or ts,
        in_thread=bool(thread),
        key=key,
        response_url=text(body, "response_url"),
        trigger_id=text(body, "trigger_id"),
        ephemeral=container.get("is_ephemeral") is True,
    )


def _name(user: Payload) -> str:
    names = (text(user, "name"), text(user, "username"))
    return next(filter(None, map(slack_text.name, names)), ident(user, "id"))


# ── execution ─────────────────────────────────────────────────────────────────────────────────
class SlackInteractionHandler:
    """Executes interactions through the inbox. `models` are those that people may choose."""

    def __init__(self, *, inbox: CommandInbox, workspace: Workspace, models: ModelCatalog) -> None:
        self._inbox, self._workspace, self._models = inbox, workspace, models

    async def run(self, interaction: Interaction) -> CommandReply:
        """Execute `interaction`; returns the reply to the person."""
        self._workspace.facts.note_home(interaction.user, interaction.home)
        try:
            if interaction.message and not _is_for_channel(interaction):
                return await self._run_in_conversation(interaction)
            reply = await self._run_in_channel(interaction)
            return await deliver_directly(
                self._workspace.api,
                reply,
                channel=interaction.channel,
                user=interaction.user,
                sent=privacy_texts.EXPORT_IN_DM,
            )
        except StoreUnavailable as error:
            log.error("the database failed", error=str(error))
            return CommandReply(texts.STORE_DOWN)
        except Exception:
            # The boundary of each interaction: Slack would show a code, and never resends.
            log.exception("an interaction failed")
            return CommandReply(texts.INTERNAL)

    async def _run_in_conversation(self, interaction: Interaction) -> CommandReply:
        key = await self.conversation(interaction)
        if key.workspace != self._workspace.me.team:
            return CommandReply(texts.NO_SUCH_COMMAND)
        if key.channel != interaction.channel:  # the person may not see that channel
            return CommandReply(texts.NO_ACCESS)
        return await self._send_command(interaction, key)

    async def comment(self, body: Payload) -> CommandReply | None:
        """Store the comment from a submitted modal; None if it is another app's.

        The modal was opened for a person who saw the reply, and Slack returns its metadata
        unchanged; the core stores a comment only alongside this person's own vote.
        """
        found = parse_comment(body)
        if found is None:
            return None
        key, turn, user, said = found
        if key != self._workspace.key(key.channel, key.thread):
            return None
        author = Author(user, _name(mapping(body, "user")))
        command = Command(name=COMMENT, argument=f"{turn} {said}", key=key, author=author)
        try:
            return await self._inbox.command(command)
        except StoreUnavailable as error:
            log.error("the database failed", error=str(error))
            return CommandReply(texts.STORE_DOWN)

    async def conversation(self, interaction: Interaction) -> ConversationKey:
        """The conversation to which the pressed button's message belongs."""
        return interaction.key or await self._find_conversation(interaction)

    async def _find_conversation(self, interaction: Interaction) -> ConversationKey:
        """The conversation that the store knows for the message, or else the message's thread."""
        here = self._workspace.key(interaction.channel, interaction.thread)
        source = f"{here.platform}/{here.workspace}/{interaction.channel}/{interaction.message}"
        return await self._inbox.conversation_of(source) or here

    async def _run_in_channel(self, interaction: Interaction) -> CommandReply:
        """Offer the channel's threads, since Slack allows no slash commands in threads.

        Help, lists of choices, and refusals of unknown choices need no thread.
        """
        channel = self._workspace.key(interaction.channel)
        if not await self._needs_conversation(interaction):
            return await self._send_command(interaction, channel)
        recent = await self._inbox.recent(channel, interaction.user)
        if not recent:
            return CommandReply(texts.NO_RECENT)
        name, argument = interaction.name, interaction.argument
        choices = tuple(replace(choice, command=name, argument=argument) for choice in recent)
        if not all(map(fits_button, choices)):  # the name of a model may be too long
            return CommandReply(command_texts.NEEDS_CONVERSATION[name])
        return CommandReply(command_texts.which_conversation(name, argument), choices)

    async def _needs_conversation(self, interaction: Interaction) -> bool:
        name, argument = interaction.name, interaction.argument
        asks_servers = name == MODEL and argument
        names = await self._models.list_names() if asks_servers else ()
        return needs_conversation(name, argument, names)

    async def _send_command(self, interaction: Interaction, key: ConversationKey) -> CommandReply:
        author = Author(interaction.user, interaction.user_name)
        return await self._inbox.command(
            Command(name=interaction.name, argument=interaction.argument, key=key, author=author)
        )


def _is_for_channel(interaction: Interaction) -> bool:
    """Whether a menu was offered for a whole channel, without a conversation."""
    return interaction.key is not None and not interaction.key.thread
