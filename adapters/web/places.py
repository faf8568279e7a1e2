"""Decides which conversations a user of the page sees: their own, and those in the shared channels.

In a shared channel all users see each other's questions and answers, and continue each other's
threads; its conversations belong to EVERYONE's workspace rather than to a user's.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import HTTPException

from bot.domain import http_texts
from bot.domain.conversations import TEAM, ConversationKey, Visibility
from bot.domain.records import AttachmentContent, ConversationRecord, RecordScope, ThreadRecord
from bot.ports.library import Library

PLATFORM = "web"
CHANNEL = "general"
"""The channel of a user's own threads on the page."""

API_CHANNEL = "api"
"""The channel for conversations created through the API."""

EVERYONE = TEAM
"""The workspace for everything that all users see; no user has this name."""


@dataclass(frozen=True, slots=True)
class Places:
    """The page's channels: each user's own one, and the `shared` ones by name."""

    library: Library
    shared: tuple[str, ...] = ()

    def key(self, user: str, channel: str | None, thread: str = "") -> ConversationKey:
        """A thread in a shared channel, or in the user's own one if `channel` is None.

        Raises HTTPException 404 if there is no such channel.
        """
        if channel is None:
            return ConversationKey(PLATFORM, user, CHANNEL, thread)
        if channel not in self.shared:
            raise HTTPException(404, http_texts.NO_SUCH_CHANNEL)
        return ConversationKey(PLATFORM, EVERYONE, channel, thread)

    async def find(
        self, uid: str, user: str, channel: str | None = None
    ) -> ConversationRecord | None:
        """A conversation that the user may read.

        This is their own, in `channel` if that is given, or one in a channel that is currently
        shared.
        """
        own = await self.library.find(uid, user_scope(user, channel))
        if own is not None or not self.shared:
            return own
        found = await self.library.find(uid, RecordScope(PLATFORM, EVERYONE))
        is_open = found is not None and found.conversation.key.channel in self.shared
        return found if is_open else None

    @property
    def shared_scopes(self) -> list[RecordScope]:
        """The channels that are currently shared: every user may read their conversations."""
        return [RecordScope(PLATFORM, EVERYONE, channel) for channel in self.shared]

    async def attachment(self, uid: str, user: str) -> AttachmentContent | None:
        """A file of a conversation that the user may read."""
        for scope in [user_scope(user), *self.shared_scopes]:
            if (found := await self.library.attachment(uid, scope)) is not None:
                return found
        return None

    async def thread(self, key: ConversationKey) -> ThreadRecord | None:
        """The thread of this key, if it has a question."""
        return await self.library.thread(key.thread, scope_of(key))


def user_scope(user: str, channel: str | None = None) -> RecordScope:
    """The scope of a user's own conversations."""
    return RecordScope(PLATFORM, user, channel)


def scope_of(key: ConversationKey) -> RecordScope:
    """The scope of a channel's conversations."""
    return RecordScope(key.platform, key.workspace, key.channel)


def visibility_of(key: ConversationKey) -> Visibility:
    """Public in a shared channel, else private."""
    return Visibility.PUBLIC if key.workspace == EVERYONE else Visibility.PRIVATE


def shared_channel(key: ConversationKey) -> str | None:
    """The name of the shared channel; None in a user's own one."""
    return key.channel if key.workspace == EVERYONE else None


def shared_name(place: RecordScope) -> str | None:
    """As `shared_channel`, for a channel's scope."""
    return place.channel if place.workspace == EVERYONE else None


def is_shared(record: ConversationRecord) -> bool:
    """Whether the conversation is in a shared channel."""
    return record.conversation.key.workspace == EVERYONE


def is_on_page(key: ConversationKey) -> bool:
    """Whether the page shows the conversation; programs have channels of their own."""
    return key.channel == CHANNEL or key.workspace == EVERYONE
