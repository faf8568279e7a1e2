"""Read-only links to conversations, for the signed-in users of one server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """A link. `uid` is its address, `conversation` the public id of what it shows.

    `shared_at` is when its messages were chosen: `messages` then, of which `shown` are still as
    they were. `has_news`: an update would show something else. Times are Unix seconds.
    """

    uid: str
    conversation: str
    name: str
    shared_by: str
    created_at: float
    shared_at: float
    messages: int
    shown: int
    has_news: bool
