"""Read-only links to conversations, for the signed-in users of one server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """A link. `uid` is its address; `conversation` is the public id of the shared conversation.

    At `shared_at`, `messages` messages were chosen, of which `shown` are unchanged. `has_news`: an
    update of the link would show something else. Times are Unix seconds.
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
