"""Buttons whose `custom_id` carries their whole meaning, so that they work after a restart.

A control's id also names its turn and page, which identifies the page after a crash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import discord
from discord import ButtonStyle

from bot.domain.conversations import ConversationKey
from bot.domain.feedback import Vote
from bot.domain.inbox import Choice
from bot.domain.replies import Control

# Documented: https://docs.discord.com/developers/components/reference#button
MAX_CUSTOM_ID, MAX_LABEL = 100, 80
MAX_BUTTONS = 25  # documented: five rows of five

LABELS = {Control.STOP: "Stop", Control.RETRY: "Try again", Control.CONTINUE: "Go on"}
THUMBS = {Vote.UP: "👍", Vote.DOWN: "👎"}  # without words, so that replies stay calm

CONTROL = re.compile(r"threadline:(?P<name>stop|retry|continue):(?P<turn>\d+):(?P<page>\d+)")
VOTE = re.compile(r"threadline:(?P<name>up|down):(?P<turn>\d+):(?P<page>\d+)")
CHOICE = re.compile(
    r"threadline-do:(?P<command>[a-z]+):(?P<guild>@me|\w+):(?P<channel>\w+):(?P<thread>\w*)"
    r":(?P<argument>.*)",
    re.DOTALL,
)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class PageId:
    """The turn and page that a message shows."""

    turn: int
    page: int


def page_id_of(message: discord.Message) -> PageId | None:
    """The page that a message's buttons name."""
    for row in message.components:
        for item in getattr(row, "children", ()):
            custom_id = getattr(item, "custom_id", None) or ""
            found = CONTROL.fullmatch(custom_id) or VOTE.fullmatch(custom_id)
            if found is not None:
                return PageId(int(found["turn"]), int(found["page"]))
    return None


def control_view(controls: Sequence[Control], page: PageId) -> discord.ui.View:
    """The control buttons under a page."""
    names = [(control.value, LABELS[control], None) for control in controls if control in LABELS]
    thumbs = THUMBS.items() if Control.FEEDBACK in controls else ()
    buttons = [*names, *((vote.value, None, thumb) for vote, thumb in thumbs)]
    return _view(
        discord.ui.Button(
            label=label,
            emoji=thumb,
            style=ButtonStyle.secondary,
            custom_id=f"threadline:{name}:{page.turn}:{page.page}",
        )
        for name, label, thumb in buttons
    )


def choice_view(choices: Sequence[Choice]) -> discord.ui.View | None:
    """A button for each choice whose id is short enough; None without any."""
    valid = [(choice, choice_id(choice)) for choice in choices if fits_button(choice)]
    if not valid:
        return None
    return _view(
        discord.ui.Button(
            label=_shorten_label(choice.label), style=ButtonStyle.secondary, custom_id=custom_id
        )
        for choice, custom_id in valid[:MAX_BUTTONS]
    )


def fits_button(choice: Choice) -> bool:
    """Whether a button's id has room for a choice."""
    return len(choice_id(choice)) <= MAX_CUSTOM_ID


def choice_id(choice: Choice) -> str:
    """A button's id for a choice."""
    key = choice.key
    guild = key.workspace if not key.workspace.isdigit() else to_base36(key.workspace)
    conversation = f"{guild}:{to_base36(key.channel)}:{to_base36(key.thread)}"
    return f"threadline-do:{choice.command}:{conversation}:{choice.argument}"


def parse_choice(match: re.Match[str], platform: str) -> Choice:
    """The choice in a button's id, matched by `CHOICE`; the id does not contain its label."""
    guild = match["guild"] if match["guild"] == "@me" else _from_base36(match["guild"])
    channel, thread = _from_base36(match["channel"]), _from_base36(match["thread"])
    key = ConversationKey(platform, guild, channel, thread)
    return Choice("", match["command"], key, match["argument"])


def to_base36(snowflake: str) -> str:
    """A snowflake in 13 characters instead of 19."""
    number, out = int(snowflake or 0), ""
    while number:
        number, digit = divmod(number, 36)
        out = _DIGITS[digit] + out
    return out


def _from_base36(text: str) -> str:
    return str(int(text, 36)) if text else ""


def _shorten_label(text: str) -> str:
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"


def _view(buttons: Iterable[discord.ui.Button[discord.ui.View]]) -> discord.ui.View:
    """A stopped view: discord.py would otherwise keep one in memory for every message sent.

    Clicks reach the `DynamicItem` whose pattern matches, with or without a view.
    """
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(button)
    view.stop()
    return view
