"""Buttons whose `custom_id` says everything, so that they work after a restart.

A control's id also names its turn and page: by it a page is found again after a crash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import discord
from discord import ButtonStyle

from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Choice
from bot.domain.replies import Control

MAX_CUSTOM_ID = 100  # documented
MAX_LABEL = 80  # documented
MOST_BUTTONS = 25  # five rows of five

LABELS = {Control.STOP: "Stop", Control.RETRY: "Try again", Control.CONTINUE: "Go on"}

CONTROL = re.compile(r"threadline:(?P<name>stop|retry|continue):(?P<turn>\d+):(?P<page>\d+)")
CHOICE = re.compile(
    r"threadline-do:(?P<command>[a-z]+):(?P<guild>@me|\w+):(?P<channel>\w+):(?P<thread>\w*)"
    r":(?P<argument>.*)",
    re.DOTALL,
)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which page of which turn a message is."""

    turn: int
    page: int


def identity_of(message: discord.Message) -> Identity | None:
    """What a message's buttons say that it is."""
    for row in message.components:
        for item in getattr(row, "children", ()):
            found = CONTROL.fullmatch(getattr(item, "custom_id", None) or "")
            if found is not None:
                return Identity(int(found["turn"]), int(found["page"]))
    return None


def control_view(controls: Sequence[Control], of: Identity) -> discord.ui.View:
    """The buttons under a page."""
    return _view(
        discord.ui.Button(
            label=LABELS[control],
            style=ButtonStyle.secondary,
            custom_id=f"threadline:{control.value}:{of.turn}:{of.page}",
        )
        for control in controls
    )


def choice_view(choices: Sequence[Choice]) -> discord.ui.View | None:
    """A button for each choice whose id has room for it; None when none is left."""
    ids = [(choice, choice_id(choice)) for choice in choices]
    fitting = [(choice, id_) for choice, id_ in ids if len(id_) <= MAX_CUSTOM_ID]
    if not fitting:
        return None
    return _view(
        discord.ui.Button(
            label=_label(choice.label), style=ButtonStyle.secondary, custom_id=custom_id
        )
        for choice, custom_id in fitting[:MOST_BUTTONS]
    )


def choice_id(choice: Choice) -> str:
    """A choice as a button's id."""
    key = choice.key
    guild = key.workspace if not key.workspace.isdigit() else packed(key.workspace)
    place = f"{guild}:{packed(key.channel)}:{packed(key.thread)}"
    return f"threadline-do:{choice.command}:{place}:{choice.argument}"


def choice_of(found: re.Match[str], platform: str) -> Choice:
    """The choice that a button's id says (its label is gone)."""
    guild = found["guild"] if found["guild"] == "@me" else _unpacked(found["guild"])
    key = ConversationKey(platform, guild, _unpacked(found["channel"]), _unpacked(found["thread"]))
    return Choice("", found["command"], key, found["argument"])


def packed(snowflake: str) -> str:
    """A snowflake in 13 characters instead of 19."""
    number, out = int(snowflake or 0), ""
    while number:
        number, digit = divmod(number, 36)
        out = _DIGITS[digit] + out
    return out


def _unpacked(text: str) -> str:
    return str(int(text, 36)) if text else ""


def _label(text: str) -> str:
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"


def _view(buttons: Iterable[discord.ui.Button[discord.ui.View]]) -> discord.ui.View:
    """A view that discord.py does not keep: it would keep one for every message ever sent.

    Clicks reach the `DynamicItem` whose pattern matches, with or without a view.
    """
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(button)
    view.stop()
    return view
