"""Reads and translates the messages of single channels, for the backfill.

A message that cannot be translated is logged and skipped; any other failure is temporary, and the
page is read again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import discord
import structlog

from adapters.discord.channels import (
    DIRECT_MESSAGES,
    ChannelContext,
    channel_context,
    fetch_channel_context,
)
from adapters.discord.history import PAGE_SIZE, read_page
from adapters.discord.rest import RestApi, request_scopes
from bot.domain.errors import PlatformError, StoreUnavailable, Unsettled
from bot.domain.inbox import Incoming
from bot.domain.replies import Priority
from bot.ports.history import ChannelRef, History, HistoryPage

log = structlog.stdlib.get_logger(__name__)

Rank = tuple[float, ...]
Translate = Callable[[discord.Message, ChannelContext], Awaitable[Incoming | None]]


class ChannelReader:
    """Reads and translates the messages of single channels."""

    def __init__(self, rest: RestApi, translate: Translate) -> None:
        self.rest, self._translate = rest, translate
        self._limits: Any = {"priority": Priority.BACKGROUND, "within": rest.timeouts.read}

    def history_of(self, context: ChannelContext, rank: Rank, until: int = 0) -> History:
        """The messages of a channel up to the id `until`, or to its end."""
        return History(ref_in(context), rank, partial(self._read_page, context, until))

    def history_at(self, ref: ChannelRef) -> History:
        """All messages of a channel; if it is not cached, Discord is asked to describe it first."""
        return History(ref, (0,), partial(self._read_unknown, ref))

    async def list_archived(self, channel: int, before: str | None) -> Sequence[Any]:
        """A page of a channel's archived threads as JSON, the latest archived first.

        `before` is a time of archiving. Raises a PlatformError.
        """
        response: Any = await self.rest.request(
            request_scopes("archive", channel),
            lambda client: client.http.get_public_archived_threads(
                channel, before=before, limit=PAGE_SIZE
            ),
            **self._limits,
        )
        threads = response.get("threads") if isinstance(response, Mapping) else None
        if not isinstance(threads, list):
            raise Unsettled("the archived threads are not a list")
        return threads

    async def _read_unknown(self, ref: ChannelRef, after: int) -> HistoryPage:
        channel = int(ref.channel)
        cached = channel_context((await self.rest.client()).get_channel(channel))
        context = cached or await fetch_channel_context(self.rest, channel, **self._limits)
        if context is None:
            return HistoryPage()  # no conversation is possible there
        return await self._read_page(context, 0, after)

    async def _read_page(self, context: ChannelContext, until: int, after: int) -> HistoryPage:
        client, channel = await self.rest.client(), int(context.id)
        guild = None if context.guild == DIRECT_MESSAGES else int(context.guild)
        where = client.get_partial_messageable(channel, guild_id=guild)
        page = await read_page(self.rest, where, channel, after=after, **self._limits)
        translated = [await self._translate_one(message, context) for message in page.messages]
        reached = max(page.newest, 0 if page.full else until)
        more = page.full and (not until or reached < until)
        return HistoryPage(
            messages=[message for message in translated if message is not None],
            reached=reached,
            next=partial(self._read_page, context, until, reached) if more else None,
        )

    async def _translate_one(
        self, message: discord.Message, context: ChannelContext
    ) -> Incoming | None:
        try:
            return await self._translate(message, context)
        except (PlatformError, StoreUnavailable):
            raise  # temporary: the page is read again
        except Exception as error:  # noqa: BLE001 - the boundary of each message of a page
            log.error("a message cannot be translated", id=message.id, error=repr(error))
            return None


def ref_of(message: discord.Message) -> ChannelRef:
    """The channel of a message, cached or not."""
    guild = message.guild.id if message.guild else getattr(message.channel, "guild_id", None)
    return ref_at(guild, message.channel.id)


def ref_at(guild: int | None, channel: int) -> ChannelRef:
    """A channel by its ids; direct messages have no guild."""
    return ChannelRef(str(guild or DIRECT_MESSAGES), str(channel))


def ref_in(context: ChannelContext) -> ChannelRef:
    """The channel or thread of a context."""
    return ChannelRef(context.guild, context.id)
