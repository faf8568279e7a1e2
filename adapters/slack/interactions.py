"""Slash commands, the message shortcut and buttons: read from Slack's payloads, and carried out.

Slack wants an acknowledgement within 3 s and never sends an interaction twice, so the work is done
first and acknowledged with its answer; what takes long is answered at the `response_url` later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.slack import payloads
from adapters.slack import text as slack_text
from adapters.slack.blocks import ACTION, chosen
from adapters.slack.payloads import Payload, ident, items, table, text
from adapters.slack.workspace import Workspace
from bot.domain import texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Choice, Command, CommandReply
from bot.ports.inbox import Inbox

RESET, MODEL, HELP = "reset", "model", "help"
SLASHES = (RESET, MODEL, HELP)
SHORTCUT = "threadline_reset"
NO_SUCH_COMMAND = "I do not know this command. `/help` lists those I know."


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A command as somebody used it.

    `message` is the ts of the message that a shortcut or button is on, `thread` its thread's, which
    has replies already when `in_thread` (Slack shows nothing private in one without); `key` is the
    conversation where the button names it.
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
    ephemeral: bool = False  # the button is in a message that only this person sees


# ── reading payloads ──────────────────────────────────────────────────────────────────────────
def slash(body: Payload, prefix: str) -> Interaction | None:
    """A slash command; None when it is not one of ours."""
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


def shortcut(body: Payload) -> Interaction | None:
    """The shortcut on a message; None when it is not ours."""
    if text(body, "type") != "message_action" or text(body, "callback_id") != SHORTCUT:
        return None
    message, user = table(body, "message"), table(body, "user")
    channel = ident(table(body, "channel"), "id")
    ts = payloads.ts(body, "message_ts") or payloads.ts(message)
    thread = payloads.ts(message, "thread_ts")
    if not ident(user, "id") or not channel or not ts:
        return None
    return Interaction(
        name=RESET,
        user=ident(user, "id"),
        user_name=_name(user),
        channel=channel,
        message=ts,
        thread=thread or ts,
        in_thread=bool(thread),
        response_url=text(body, "response_url"),
    )


def button(body: Payload) -> Interaction | None:
    """A button of ours that was pressed; None when it is not ours."""
    action = next(iter(items(body, "actions")), {})
    container, user = table(body, "container"), table(body, "user")
    action_id, channel = text(action, "action_id"), ident(container, "channel_id")
    if not action_id.startswith(ACTION) or not channel or not ident(user, "id"):
        return None
    key, argument = chosen(text(action, "value"))
    ts, thread = payloads.ts(container, "message_ts"), payloads.ts(container, "thread_ts")
    return Interaction(
        name=action_id.removeprefix(ACTION),
        argument=argument,
        user=ident(user, "id"),
        user_name=_name(user),
        channel=channel,
        message=ts,
        thread=thread or ts,
        in_thread=bool(thread),
        key=key,
        response_url=text(body, "response_url"),
        ephemeral=container.get("is_ephemeral") is True,
    )


def _name(user: Payload) -> str:
    names = (text(user, "name"), text(user, "username"))
    return next(filter(None, map(slack_text.name, names)), ident(user, "id"))


# ── carrying out ──────────────────────────────────────────────────────────────────────────────
class Commands:
    """Carries uses out through the inbox. `models` are the names that people may choose."""

    def __init__(self, *, inbox: Inbox, workspace: Workspace, models: Sequence[str]) -> None:
        self._inbox, self._workspace, self._models = inbox, workspace, tuple(models)

    async def run(self, use: Interaction) -> CommandReply:
        """What to say to the person."""
        try:
            if use.message:
                return await self._in_conversation(use)
            return await self._in_place(use)
        except StoreUnavailable:
            return CommandReply(texts.STORE_DOWN)

    async def _in_conversation(self, use: Interaction) -> CommandReply:
        key = use.key if use.key is not None else await self._conversation(use)
        if key.workspace != self._workspace.me.team:
            return CommandReply(NO_SUCH_COMMAND)
        return await self._command(use, key)

    async def _conversation(self, use: Interaction) -> ConversationKey:
        """The conversation of a message: the store's word, or else the thread that it is in."""
        here = self._workspace.key(use.channel, use.thread)
        source = f"{here.platform}/{here.workspace}/{use.channel}/{use.message}"
        return await self._inbox.conversation_of(source) or here

    async def _in_place(self, use: Interaction) -> CommandReply:
        """A slash command, which cannot be used in a thread: the threads of its place are offered.

        Help needs none, nor does a look at the models or the refusal of a model.
        """
        place = self._workspace.key(use.channel)
        if use.name == HELP or (use.name == MODEL and use.argument not in self._models):
            return await self._command(use, place)
        found = await self._inbox.recent(place, use.user)
        if not found:
            return CommandReply(texts.NO_RECENT)
        return CommandReply(_question(use), tuple(_offer(choice, use) for choice in found))

    async def _command(self, use: Interaction, key: ConversationKey) -> CommandReply:
        author = Author(use.user, use.user_name)
        command = Command(name=use.name, argument=use.argument, key=key, author=author)
        return await self._inbox.command(command)


def _question(use: Interaction) -> str:
    if use.name == MODEL:
        return f"Which conversation should use `{use.argument}`?"
    return texts.WHICH_THREAD


def _offer(choice: Choice, use: Interaction) -> Choice:
    return replace(choice, command=use.name, argument=use.argument if use.name == MODEL else "")
