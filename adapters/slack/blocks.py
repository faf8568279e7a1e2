"""Builds the bot's messages: a `markdown` block, buttons, and plain `text` as the fallback.

A button carries everything that its handler needs, so it works after a restart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.slack.feedback import FeedbackButtons
from adapters.slack.literal_text import BREAK
from adapters.slack.mrkdwn import Mrkdwn
from adapters.slack.payloads import mapping
from adapters.slack.render import defuse_mentions
from bot.domain import model_names
from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Choice, CommandReply, Menu
from bot.domain.replies import Control
from bot.ports.clock import Clock

ACTION = "threadline_"  # the prefix of our action_ids; the command's name follows
METADATA = "threadline_reply"
# Characters of `text`. Notifications show only its beginning, and every edit converts it again, so
# it is short while a page grows. Screen readers read it instead of the blocks, so it is longer once
# the page is complete.
INTERIM_TEXT, COMPLETE_TEXT = 300, 3_000
LABELS = {Control.STOP: "Stop", Control.RETRY: "Try again", Control.CONTINUE: "Go on"}
MAX_LABEL = 75  # characters of a button's label, of the text beside a button, of a menu's entry
CHOOSE = {
    "reset": "Start over",
    "model": "Use it here",
    "effort": "Use it here",
    "context": "Show it",
}
# Documented: docs.slack.dev/reference/block-kit/block-elements/select-menu-element, and
# …/composition-objects/option-object (characters of an entry's value).
MAX_OPTIONS, MAX_OPTION_VALUE = 100, 150
MAX_BLOCK_ID = 255
MAX_VALUE = 2_000  # documented: characters of a button's value
# Documented: chat.postMessage cuts text above 40,000 characters. Edits take `mrkdwn.MAX_UNITS`.
MAX_NEW_TEXT = 39_000
_MENU = "threadline_menu "  # the prefix of a menu's block_id; the conversation follows
OTHERS = "Others"  # the label of names without a provider
PLACEHOLDERS = {"model": "Choose a model", "effort": "Choose an effort"}

Json = dict[str, Any]


class MessageBuilder:
    """Builds the `text` and `blocks` of one workspace's messages."""

    def __init__(self, mrkdwn: Mrkdwn, clock: Clock) -> None:
        self._mrkdwn = mrkdwn
        self.feedback = FeedbackButtons(clock)

    def page(self, text: str, *, complete: bool, controls: Sequence[Control], turn: int) -> Json:
        """A page of a reply, from rendered `text`; `complete` means that it will not change
        soon."""
        limit = COMPLETE_TEXT if complete else INTERIM_TEXT
        blocks = [_markdown(text), *self.controls(controls, turn)]
        return {"text": self._mrkdwn.summarize(text, limit) or BREAK, "blocks": blocks}

    def bare(self, text: str, limit: int) -> Json:
        """A page without blocks, for a workspace that refuses them, of at most `limit` UTF-16
        units."""
        return {"text": self._mrkdwn.summarize(text, limit) or BREAK, "blocks": []}

    def controls(self, controls: Sequence[Control], turn: int) -> list[Json]:
        """The blocks with the buttons below a reply."""
        buttons = [
            _button(control.value, LABELS[control], {"t": turn})
            for control in controls
            if control in LABELS
        ]
        blocks: list[Json] = [{"type": "actions", "elements": buttons}] if buttons else []
        return blocks + self.feedback.block(turn) if Control.FEEDBACK in controls else blocks

    def command_reply(self, reply: CommandReply) -> Json:
        """The reply to a command, with each choice on a separate line."""
        text = defuse_mentions(reply.whole)
        blocks = [_markdown(text), *(_choice(choice) for choice in reply.choices)]
        if reply.menu is not None:
            blocks += _menu(reply.menu)
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


def fits_button(choice: Choice) -> bool:
    """Whether a button's value has room for a choice."""
    return len(_value(_carried(choice))) <= MAX_VALUE


def parse_button_value(value: str) -> tuple[ConversationKey | None, str]:
    """The conversation and the argument in a button's value.

    A reply's button carries its turn as the argument, and no conversation.
    """
    try:
        carried = json.loads(value or "{}")
        key = _parse_key(str(carried.get("k") or ""))
        return key, str(carried.get("a") or carried.get("t") or "")
    except (ValueError, AttributeError, RecursionError):
        return None, ""


def parse_menu_key(block_id: str) -> ConversationKey | None:
    """The conversation for a menu, from its block's id; without a thread, the channel."""
    return _parse_key(block_id.removeprefix(_MENU)) if block_id.startswith(_MENU) else None


def _parse_key(text: str) -> ConversationKey | None:
    parts = text.split("/", 3)
    return ConversationKey(*parts) if len(parts) == 4 else None


def _markdown(text: str) -> Json:
    return {"type": "markdown", "text": text if text.strip() else BREAK}


def _button(command: str, label: str, carried: Mapping[str, Any]) -> Json:
    button = {
        "type": "button",
        "action_id": ACTION + command,
        "text": {"type": "plain_text", "text": label[:MAX_LABEL]},
        "value": _value(carried),
    }
    return button | ({"style": "danger"} if command == Control.STOP else {})


def _value(carried: Mapping[str, Any]) -> str:
    return json.dumps(carried, separators=(",", ":"))


def _carried(choice: Choice) -> Json:
    return {"k": str(choice.key), "a": choice.argument}


def _choice(choice: Choice) -> Json:
    """A conversation's name with a button, or just a button if the choice is an action.

    Each choice is a separate block, because an action_id may occur only once in a block.
    """
    name = choice.label.strip() or "A conversation"
    carried = _carried(choice)
    if choice.command not in CHOOSE:
        return {"type": "actions", "elements": [_button(choice.command, name, carried)]}
    return {
        "type": "section",
        "text": {"type": "plain_text", "text": name[:MAX_LABEL]},
        "accessory": _button(choice.command, CHOOSE[choice.command], carried),
    }


def _menu(menu: Menu) -> list[Json]:
    """A menu's block; none if it has too many entries, and the text must suffice.

    A name too long for an entry's value is left out, since the value is what gets chosen.
    """
    options = [
        option
        for option in dict.fromkeys(menu.options)
        if option.strip() and len(option) <= MAX_OPTION_VALUE
    ]
    block_id = f"{_MENU}{menu.key}"
    if not 0 < len(options) <= MAX_OPTIONS or len(block_id) > MAX_BLOCK_ID:
        return []
    element: Json = {"type": "static_select", "action_id": ACTION + menu.command}
    element["placeholder"] = _plain(PLACEHOLDERS[menu.command])
    groups = model_names.group(options)
    if len(groups) == 1:
        element["options"] = list(map(_option, options))
    else:
        element["option_groups"] = [
            {"label": _plain(provider or OTHERS), "options": list(map(_option, names))}
            for provider, names in groups.items()
        ]
    return [{"type": "actions", "block_id": block_id, "elements": [element]}]


def _option(option: str) -> Json:
    return {"text": _plain(option), "value": option}


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": model_names.plain(text, MAX_LABEL), "emoji": False}
