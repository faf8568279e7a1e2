"""Sentences for people who may not ask or may not press a button: see `bot.domain.texts`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bot.domain.model_names import plain
from bot.domain.policy import PersonKind, PersonRef
from bot.domain.policy_texts import MAX_NAME

NO_LONGER = "The person who asked this may no longer ask here."
ASKER_UNKNOWN = (
    "I could not find out whether the person who asked this may ask here. Please ask again in a "
    "few minutes."
)
ASKER_REFUSED = "the person who asked this may no longer ask here"
MAX_NAMED = 3
"""The most administrator groups that a sentence names."""

_OPERATORS = "the people who run this bot"


def refused(reason: str, admins: Sequence[PersonRef] = ()) -> str:
    """Tell a person privately why they may not ask, and whom to contact."""
    return f"I do not answer you here: {reason}. {_ask(admins)}"


def too_early(seconds: float, *, own: bool) -> str:
    """Tell a person privately that they ask more often than the rules allow."""
    whose = "You have" if own else "This channel has"
    left = max(1, math.ceil(seconds))
    when = "1 second" if left == 1 else f"{left} seconds"
    return f"{whose} reached the number of questions a minute here. Please ask again in {when}."


def command_refused(reason: str) -> str:
    """The reply when a person may not use this command or button."""
    return f"Nothing was changed: {reason}."


def _ask(admins: Sequence[PersonRef]) -> str:
    """Name the groups to contact. Only groups are listed, because people know their names."""
    named = [ref.text for ref in admins if ref.kind is PersonKind.NAME][:MAX_NAMED]
    whom = " or ".join([*(f"`{plain(text, MAX_NAME)}`" for text in named), _OPERATORS])
    return f"Please ask {whom} if you should be able to."
