"""Sentences to people who may not ask, or may not press a button: see `bot.domain.texts`."""

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
"""Groups of administrators that a sentence names."""

_OPERATORS = "the people who run this bot"


def refused(reason: str, admins: Sequence[PersonRef] = ()) -> str:
    """The private sentence to a person who may not ask, with whom to ask instead."""
    return f"I do not answer you here: {reason}. {_ask(admins)}"


def too_early(seconds: float, *, own: bool) -> str:
    """The private sentence to a person who asks more often than the rules allow."""
    whose = "You have" if own else "This channel has"
    left = max(1, math.ceil(seconds))
    when = "1 second" if left == 1 else f"{left} seconds"
    return f"{whose} reached the number of questions a minute here. Please ask again in {when}."


def command_refused(reason: str) -> str:
    """The reply to a command or button of a person who may not do that."""
    return f"Nothing was changed: {reason}."


def _ask(admins: Sequence[PersonRef]) -> str:
    """Whom to ask: groups of administrators, which have names that people know."""
    named = [ref.text for ref in admins if ref.kind is PersonKind.NAME][:MAX_NAMED]
    whom = " or ".join([*(f"`{plain(text, MAX_NAME)}`" for text in named), _OPERATORS])
    return f"Please ask {whom} if you should be able to."
