"""Leftovers: things on a platform that the bot could not remove immediately, and removes later."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class LeftoverKind(Enum):
    """The kinds of leftovers."""

    MESSAGE = "message"  # a page no longer in the reply, or a message in the wrong place
    FILE = "file"  # the file of a removed message
    STATUS = "status"  # the indicator that the bot is working
    THREAD = "thread"  # an empty thread that was created too late for its reply


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing to remove. `conversation` is 0 if that was erased.

    `name` is the id of the message, file or thread; for a status, the id of its thread. The store
    sets `workspace` and `created_at` (Unix seconds).
    """

    conversation: int
    kind: LeftoverKind
    channel: str
    name: str
    workspace: str = field(default="", compare=False)
    created_at: float = field(default=0.0, compare=False)
