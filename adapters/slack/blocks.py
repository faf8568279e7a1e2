"""Builds the bot's messages: a `markdown` block, buttons, and a plain `text` as the fallback.

A button carries everything that its handler needs, so it works after a restart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.slack.markdown import BREAK
from adapters.slack.mrkdwn import Mrkdwn
from adapters.slack.payloads import mapping
from adapters.slack.render import defuse_mentions
from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Choice, CommandReply
from bot.domain.replies import Control

ACTION = "threadline_"  # the prefix of our action_ids; the command's name follows
METADATA = "threadline_reply"
# Characters of `text`. Notifications show only its beginning, and every edit converts it again, so
# it is short while a page grows. Screen readers read it instead of the blocks, so it is longer once
# the page is complete.
INTERIM_TEXT, COMPLETE_TEXT = 300, 3_000
LABELS = {Control.STOP: "Stop", Control.RETRY: "Try again", Control.CONTINUE: "Go on"}
MAX_LABEL = 75  # characters of a button's label, and of the text beside a button
CHOOSE = {"reset": "Start over", "model": "Use it here"}

Json = dict[str, Any]


class MessageBuilder:
    """Builds the `text` and `blocks` of messages."""

    def __init__(self, mrkdwn: Mrkdwn) -> None:
        self._mrkdwn = mrkdwn

    def page(self, text: str, *, complete: bool, controls: Sequence[Control], turn: int) -> Json:
        """A page of a reply, from rendered `text`; `complete` if it will not change soon."""
        limit = COMPLETE_TEXT if complete else INTERIM_TEXT
        blocks = [_markdown(text), *self.controls(controls, turn)]
        return {"text": self._mrkdwn.summarize(text, limit) or BREAK, "blocks": blocks}

    def controls(self, controls: Sequence[Control], turn: int) -> list[Json]:
        """The blocks with the buttons below a reply."""
        if not controls:
            return []
        buttons = [_button(control.value, LABELS[control], {"t": turn}) for control in controls]
        return [{"type": "actions", "elements": buttons}]

    def command_reply(self, reply: CommandReply) -> Json:
        """The reply to a command, with each choice on a separate line."""
        text = defuse_mentions(reply.text)
        blocks = [_markdown(text), *(_choice(choice) for choice in reply.choices)]
        return {"text": self._mrkdwn.summarize(text), "blocks": blocks}


def identity(turn: int, page: int) -> Json:
    """The metadata that identifies a page of a reply after a crash."""
    return {"event_type": METADATA, "event_payload": {"turn": turn, "page": page}}


def read_identity(message: Mapping[str, Any]) -> tuple[int, int] | None:
    """The turn and page in a message's metadata, if there are any."""
    metadata = mapping(message, "metadata")
    payload = mapping(metadata, "event_payload")
    turn, page = payload.get("turn"), payload.get("page")
    if metadata.get("event_type") != METADATA or type(turn) is not int or type(page) is not int:
        return None
    return turn, page


def parse_button_value(value: str) -> tuple[ConversationKey | None, str]:
    """The conversation and the argument in a button's value.

    A reply's button carries its turn as the argument, and no conversation.
    """
    try:
        carried = json.loads(value or "{}")
        parts = str(carried.get("k") or "").split("/", 3)
        key = ConversationKey(*parts) if len(parts) == 4 else None
        return key, str(carried.get("a") or carried.get("t") or "")
    except (ValueError, AttributeError, RecursionError):
        return None, ""


def _markdown(text: str) -> Json:
    return {"type": "markdown", "text": text if text.strip() else BREAK}


def _button(command: str, label: str, carried: Mapping[str, Any]) -> Json:
    button = {
        "type": "button",
        "action_id": ACTION + command,
        "text": {"type": "plain_text", "text": label[:MAX_LABEL]},
        "value": json.dumps(carried, separators=(",", ":")),
    }
    return button | ({"style": "danger"} if command == Control.STOP else {})


def _choice(choice: Choice) -> Json:
    """A conversation's name with a button, or just a button if the choice is an action.

    Each choice is a separate block, because an action_id may occur only once in a block.
    """
    name = choice.label.strip() or "A conversation"
    carried = {"k": str(choice.key), "a": choice.argument}
    if choice.command not in CHOOSE:
        return {"type": "actions", "elements": [_button(choice.command, name, carried)]}
    return {
        "type": "section",
        "text": {"type": "plain_text", "text": name[:MAX_LABEL]},
        "accessory": _button(choice.command, CHOOSE[choice.command], carried),
    }
