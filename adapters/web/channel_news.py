"""Tracks which shared channels have news for a user.

Invariant: messages from before a user's first visit are never news. A mark is a message's time,
never this process's own: the process that stored the message may have another clock.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from adapters.web.auth import User
from adapters.web.chat import ChatService
from adapters.web.places import scope_of
from adapters.web.thread_list import ReadMark


class ChannelNews:
    """The read marks of shared channels."""

    def __init__(self, chat: ChatService) -> None:
        self._chat, self._library, self._places = chat, chat.library, chat.places

    def router(self) -> APIRouter:
        """The route, which belongs to the page and not to the API description."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/channels/{channel}/read", self.mark_read, methods=["POST"])
        return router

    async def of(self, user: str) -> list[str]:
        """The names of channels with news for a user. A first visit marks all of them as read."""
        places = self._places.shared_scopes
        found = await self._library.channel_reads(user, places)
        for place, read in zip(places, found, strict=True):
            if read.read_at is None:
                await self._library.mark_channel_read(user, place, read.active_at or 0.0)
        return [read.channel for read in found if read.has_news]

    async def mark_read(self, user: User, channel: str, mark: ReadMark) -> dict[str, Any]:
        """Mark a channel as read, also in the user's other tabs and devices."""
        place = scope_of(self._places.key(user, channel))
        if await self._library.mark_channel_read(user, place, mark.until):
            # With the time, because there may be a newer message that was not seen.
            seen = {"name": channel, "until": mark.until}
            self._chat.hub.feed(user).push("channel", lambda: seen)
            # Their tabs at other processes read the marks again. No conversation has changed.
            self._chat.tell_others(user, 0)
        return {}
