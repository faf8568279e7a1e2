"""Slash commands, the message shortcut and buttons: read from Slack's payloads, and carried out.

Slack wants an acknowledgement within 3 s and never sends an interaction twice, so the work is done
first and acknowledged with its answer; what takes long is answered at the `response_url` later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters.slack.blocks import ACTION, chosen
from adapters.slack.workspace import Workspace
from bot import texts
from bot.domain import Answer, Author, Choice, Command, ConversationKey
from bot.errors import StoreUnavailable
from bot.ports import Inbox

RESET, MODEL, HELP = "reset", "model", "help"
SLASHES = (RESET, MODEL, HELP)
SHORTCUT = "threadline_reset"
NO_SUCH_COMMAND = "I do not know this command. `/help` lists those I know."

Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
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
def slash(body: Payload, prefix: str) -> Use | None:
    """A slash command; None when it is not one of ours."""
    name = str(body.get("command", "")).removeprefix("/").removeprefix(prefix)
    if name not in SLASHES or body.get("command") != f"/{prefix}{name}":
        return None
    return Use(
        name=name,
        argument=str(body.get("text") or "").strip(),
        user=str(body["user_id"]),
        user_name=str(body.get("user_name") or body["user_id"]),
        channel=str(body["channel_id"]),
        response_url=str(body.get("response_url") or ""),
    )


def shortcut(body: Payload) -> Use | None:
    """The shortcut on a message; None when it is not ours."""
    if body.get("type") != "message_action" or body.get("callback_id") != SHORTCUT:
        return None
    message, user = body.get("message") or {}, body["user"]
    ts = str(body.get("message_ts") or message.get("ts") or "")
    return Use(
        name=RESET,
        user=str(user["id"]),
        user_name=_name(user),
        channel=str(body["channel"]["id"]),
        message=ts,
        thread=str(message.get("thread_ts") or ts),
        in_thread=bool(message.get("thread_ts")),
        response_url=str(body.get("response_url") or ""),
    )


def button(body: Payload) -> Use | None:
    """A button of ours that was pressed; None when it is not ours."""
    action = (body.get("actions") or [{}])[0]
    container = body.get("container") or {}
    action_id = str(action.get("action_id") or "")
    if not action_id.startswith(ACTION) or not container.get("channel_id"):
        return None
    key, argument = chosen(str(action.get("value") or ""))
    ts, user = str(container.get("message_ts") or ""), body["user"]
    return Use(
        name=action_id.removeprefix(ACTION),
        argument=argument,
        user=str(user["id"]),
        user_name=_name(user),
        channel=str(container["channel_id"]),
        message=ts,
        thread=str(container.get("thread_ts") or ts),
        in_thread=bool(container.get("thread_ts")),
        key=key,
        response_url=str(body.get("response_url") or ""),
        ephemeral=bool(container.get("is_ephemeral")),
    )


def _name(user: Payload) -> str:
    return str(user.get("name") or user.get("username") or user["id"])


# ── carrying out ──────────────────────────────────────────────────────────────────────────────
class Commands:
    """Carries uses out through the inbox. `models` are the names that people may choose."""

    def __init__(self, *, inbox: Inbox, workspace: Workspace, models: Sequence[str]) -> None:
        self._inbox, self._workspace, self._models = inbox, workspace, tuple(models)

    async def run(self, use: Use) -> Answer:
        """What to say to the person."""
        try:
            if use.message:
                return await self._in_conversation(use)
            return await self._in_place(use)
        except StoreUnavailable:
            return Answer(texts.STORE_DOWN)

    async def _in_conversation(self, use: Use) -> Answer:
        key = use.key if use.key is not None else await self._conversation(use)
        if key.workspace != self._workspace.me.team:
            return Answer(NO_SUCH_COMMAND)
        return await self._command(use, key)

    async def _conversation(self, use: Use) -> ConversationKey:
        """The conversation of a message: the store's word, or else the thread that it is in."""
        here = self._workspace.key(use.channel, use.thread)
        source = f"{here.platform}/{here.workspace}/{use.channel}/{use.message}"
        return await self._inbox.conversation_of(source) or here

    async def _in_place(self, use: Use) -> Answer:
        """A slash command, which cannot be used in a thread: the threads of its place are offered.

        Help needs none, nor does a look at the models or the refusal of a model.
        """
        place = self._workspace.key(use.channel)
        if use.name == HELP or (use.name == MODEL and use.argument not in self._models):
            return await self._command(use, place)
        found = await self._inbox.recent(place, use.user)
        if not found:
            return Answer(texts.NO_RECENT)
        return Answer(_question(use), tuple(_offer(choice, use) for choice in found))

    async def _command(self, use: Use, key: ConversationKey) -> Answer:
        author = Author(use.user, use.user_name)
        command = Command(name=use.name, argument=use.argument, key=key, author=author)
        return await self._inbox.command(command)


def _question(use: Use) -> str:
    if use.name == MODEL:
        return f"Which conversation should use `{use.argument}`?"
    return texts.WHICH_THREAD


def _offer(choice: Choice, use: Use) -> Choice:
    return replace(choice, command=use.name, argument=use.argument if use.name == MODEL else "")
