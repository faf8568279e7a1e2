"""Votes on replies: one vote for each person, with an optional comment on a thumbs-down."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_COMMENT = 2_000
"""The most characters of a comment; fits the text field of a modal on both platforms."""


class Vote(StrEnum):
    """A person's vote on a reply."""

    UP = "up"
    DOWN = "down"


class VoteEffect(StrEnum):
    """The effect of pressing a thumb."""

    COUNTED = "counted"
    TAKEN_BACK = "taken_back"
    UNKNOWN = "unknown"  # nothing: there is no such reply here, or it has no text


@dataclass(frozen=True, slots=True)
class Feedback:
    """A person's vote on the reply of a turn."""

    turn: int
    vote: Vote
    comment: str = ""


@dataclass(frozen=True, slots=True)
class MadeWith:
    """The configuration that produced a reply, in addition to its model.

    `profile` is the name of the profile from the rules, "" if none applied; `prompt` is a digest of
    the system prompt; `start` is the index of the first conversation message in the request.
    """

    profile: str
    prompt: str
    start: int
