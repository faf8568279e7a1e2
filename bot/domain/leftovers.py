"""Leftovers: things on a platform that the bot could not remove immediately, and removes later."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class LeftoverKind(Enum):
    """The kinds of leftovers."""

    MESSAGE = "message"  # a page that the reply no longer has, or a message in the wrong place
    FILE = "file"  # the file of a removed message
    STATUS = "status"  # the sign that the bot is working
    THREAD = "thread"  # an empty thread that came too late for its reply


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing to remove. `conversation` is 0 if that was erased.

    `name` is the id of the message, file or thread; of a status, the thread's. `workspace` and
    `created_at` (Unix seconds) are the store's.
    """

    conversation: int
    kind: LeftoverKind
    channel: str
    name: str
    workspace: str = field(default="", compare=False)
    created_at: float = field(default=0.0, compare=False)
