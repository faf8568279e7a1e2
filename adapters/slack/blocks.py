"""What our messages are made of: a `markdown` block, buttons, and `text` for those who see neither.

A button carries all that pressing it needs, so that it works after a restart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.slack.markdown import BREAK
from adapters.slack.mrkdwn import Mrkdwn
from adapters.slack.payloads import table
from adapters.slack.render import harmless
from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Choice, CommandReply
from bot.domain.replies import Control

ACTION = "threadline_"  # what our action_ids begin with; the rest is the command's name
METADATA = "threadline_reply"
# Notifications show the beginning only; it is converted for every edit, so it is kept short.
NOTIFICATION = 300
# A screen reader reads `text` instead of the blocks, so a page that is complete has all that fits.
WHOLE = 3_000
LABELS = {Control.STOP: "Stop", Control.RETRY: "Try again", Control.CONTINUE: "Go on"}
MOST_LABEL = 75  # characters of a button, and of our words beside one
CHOOSE = {"reset": "Start over", "model": "Use it here"}

Json = dict[str, Any]


class MessageBuilder:
    """Makes `text` and `blocks`."""

    def __init__(self, mrkdwn: Mrkdwn) -> None:
        self._mrkdwn = mrkdwn

    def page(self, text: str, *, complete: bool, controls: Sequence[Control], turn: int) -> Json:
        """A page of a reply; `text` is rendered, `complete` says that it will not change soon."""
        most = WHOLE if complete else NOTIFICATION
        blocks = [_markdown(text), *self.controls(controls, turn)]
        return {"text": self._mrkdwn.short(text, most) or BREAK, "blocks": blocks}

    def controls(self, controls: Sequence[Control], turn: int) -> list[Json]:
        """The buttons below a reply, as blocks; none without controls."""
        if not controls:
            return []
        buttons = [_button(control.value, LABELS[control], {"t": turn}) for control in controls]
        return [{"type": "actions", "elements": buttons}]

    def answer(self, answer: CommandReply) -> Json:
        """A command's answer, each choice on a line of its own."""
        text = harmless(answer.text)
        blocks = [_markdown(text), *(_choice(choice) for choice in answer.choices)]
        return {"text": self._mrkdwn.short(text), "blocks": blocks}


def identity(turn: int, page: int) -> Json:
    """The metadata by which a page is found again."""
    return {"event_type": METADATA, "event_payload": {"turn": turn, "page": page}}


def identified(message: Mapping[str, Any]) -> tuple[int, int] | None:
    """The turn and page of a message of ours, if it says so."""
    metadata = table(message, "metadata")
    payload = table(metadata, "event_payload")
    turn, page = payload.get("turn"), payload.get("page")
    if metadata.get("event_type") != METADATA or type(turn) is not int or type(page) is not int:
        return None
    return turn, page


def chosen(value: str) -> tuple[ConversationKey | None, str]:
    """The conversation and the argument that a button carries.

    A button of a reply carries its turn as the argument, and no conversation.
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
        "text": {"type": "plain_text", "text": label[:MOST_LABEL]},
        "value": json.dumps(carried, separators=(",", ":")),
    }
    return button | ({"style": "danger"} if command == Control.STOP else {})


def _choice(choice: Choice) -> Json:
    """A line with its button: an action_id may occur once in a block only.

    What is no conversation to choose but something to do is a button alone.
    """
    name = choice.label.strip() or "A conversation"
    carried = {"k": str(choice.key), "a": choice.argument}
    if choice.command not in CHOOSE:
        return {"type": "actions", "elements": [_button(choice.command, name, carried)]}
    return {
        "type": "section",
        "text": {"type": "plain_text", "text": name[:MOST_LABEL]},
        "accessory": _button(choice.command, CHOOSE[choice.command], carried),
    }
