"""Sentences for one person: in the reply to their command or button, or as a direct message.

Invariant: no other person can read them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import discord
from cachetools import LRUCache

from adapters.discord.channels import DIRECT_MESSAGES
from adapters.discord.payload_schemas import DIRECT_TYPE
from adapters.discord.payloads import read_id
from adapters.discord.render import clip
from adapters.discord.rest import RestApi, message_scopes, request_scopes
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Unsettled
from bot.ports.platform import Renderer

MAX_CHANNELS = 10_000  # about 1 MB
UPLOAD_SECONDS = 20.0  # 10 MB at 500 kB/s
MAX_WAITING = 10  # sentences of one interaction


@dataclass
class Notes:
    """Collects sentences for the person behind an interaction until its reply is shown."""

    user: str
    texts: list[str] = field(default_factory=list)
    is_open: bool = True


_current: ContextVar[Notes | None] = ContextVar("interaction_notes", default=None)


@contextmanager
def collect_notes(user: str) -> Iterator[Notes]:
    """Collect notices to `user` inside this block for the reply to their interaction."""
    notes = Notes(user)
    token = _current.set(notes)
    try:
        yield notes
    finally:
        notes.is_open = False
        _current.reset(token)


class PrivateNotices:
    """Shows sentences to one person; limits how many people per hour get direct messages: see
    `rest.LIMITS`."""

    def __init__(self, *, rest: RestApi, renderer: Renderer) -> None:
        self._rest, self._renderer = rest, renderer
        self._channels: LRUCache[str, str] = LRUCache(MAX_CHANNELS)  # by user id

    async def tell(self, key: ConversationKey, author: Author, text: str) -> None:
        """Show `text` to a person who wrote at `key`.

        Raises a PlatformError: Gone if they accept no direct messages.
        """
        notes = _current.get()
        fits = notes is not None and notes.is_open and len(notes.texts) < MAX_WAITING
        if notes is not None and fits and notes.user == author.id:
            notes.texts.append(text)
            return
        if self._rest.inbox is None:
            raise Unsettled("the adapter is not running")
        channel = key.channel if key.workspace == DIRECT_MESSAGES else await self._open(author.id)
        await self._rest.request(
            message_scopes(channel),
            lambda _: self._rest.send(channel, clip(self._renderer, text)),
        )

    async def send_file(
        self, key: ConversationKey, author: Author, text: str, name: str, data: bytes
    ) -> None:
        """Show a file to a person who wrote at `key`, as a direct message.

        Raises a PlatformError: Gone if they accept no direct messages.
        """
        channel = key.channel if key.workspace == DIRECT_MESSAGES else await self._open(author.id)
        await self._rest.request(
            message_scopes(channel),
            lambda _: self._rest.send(
                channel,
                clip(self._renderer, text),
                file=discord.File(io.BytesIO(data), filename=name),
            ),
            within=UPLOAD_SECONDS,
        )

    async def _open(self, user: str) -> str:
        """The channel of direct messages with a user. Raises a PlatformError."""
        known = self._channels.get(user)
        if known is not None:
            return known
        if not user.isdecimal():
            raise Unsettled("not a user's id")
        response: Any = await self._rest.request(
            request_scopes("open-dm"), lambda client: client.http.start_private_message(int(user))
        )
        channel = read_id(response, "id")
        if channel is None or response.get("type") != DIRECT_TYPE:
            raise Unsettled("the response is not a channel of direct messages")
        self._channels[user] = str(channel)
        return str(channel)
