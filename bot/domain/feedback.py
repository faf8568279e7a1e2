"""What people think of a reply: one vote a person, with a comment on a thumbs-down."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_COMMENT = 2_000
"""Characters of a comment: what a modal's text field takes comfortably on both platforms."""


class Vote(StrEnum):
    """A person's vote on a reply."""

    UP = "up"
    DOWN = "down"


class VoteEffect(StrEnum):
    """What a press of a thumb did."""

    COUNTED = "counted"
    TAKEN_BACK = "taken_back"
    UNKNOWN = "unknown"  # nothing: the place has no such reply, or the reply has no text


@dataclass(frozen=True, slots=True)
class Feedback:
    """A person's vote on the reply of a turn."""

    turn: int
    vote: Vote
    comment: str = ""


@dataclass(frozen=True, slots=True)
class MadeWith:
    """What a reply was made with, beside the model.

    `profile` is the name of the rules' profile, "" for none; `prompt` a digest of the system
    prompt; `start` the index of the conversation's first message in the request.
    """

    profile: str
    prompt: str
    start: int
