"""Finds and reads the channels in which messages may have been missed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import discord
import structlog

from adapters.discord.backfill_plan import ChannelState, group_archived, select_unread
from adapters.discord.events import DIRECT_MESSAGES, ChannelContext, Kind, place_of
from adapters.discord.history import PAGE_SIZE, read_page
from adapters.discord.payload_fitting import fitted
from adapters.discord.payload_shapes import THREAD
from adapters.discord.rest import RestApi, at, id_in
from bot.domain.conversations import Conversation
from bot.domain.errors import PlatformError, StoreUnavailable, Unsettled
from bot.domain.inbox import Incoming
from bot.domain.replies import Priority
from bot.ports.history import ChannelRef, History, HistoryPage

log = structlog.stdlib.get_logger(__name__)

# Threads without a message for this long are not looked up among the archived ones, in seconds.
ARCHIVED_SECONDS = 14 * 86_400.0

GuildChannel = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread
AnyChannel = GuildChannel | discord.DMChannel | discord.PartialMessageable
Parent = discord.TextChannel | discord.ForumChannel
Rank = tuple[float, ...]
Translate = Callable[[discord.Message, ChannelContext], Awaitable[Incoming | None]]
Watermarks = Callable[[ChannelRef], int]


class ChannelReader:
    """Reads and translates the messages of single channels."""

    def __init__(self, *, rest: RestApi, translate: Translate) -> None:
        self._rest, self._translate = rest, translate

    def history(
        self,
        channel: AnyChannel,
        context: ChannelContext,
        *,
        rank: Rank = (0,),
        until: int = 0,
        after: int = 0,
    ) -> History:
        """The messages of a channel up to the id `until`, or to its end."""
        ref = ChannelRef(context.guild, context.own)
        return History(ref, rank, partial(self._read_page, channel, context, until), after)

    async def _read_page(
        self, channel: AnyChannel, context: ChannelContext, until: int, after: int
    ) -> HistoryPage:
        page = await read_page(
            self._rest,
            channel,
            channel.id,
            after=after,
            priority=Priority.BACKGROUND,
            within=self._rest.waits.read,
        )
        translated = [await self._translate_one(message, context) for message in page.messages]
        reached = max(page.newest, 0 if page.full else until)
        more = page.full and (not until or reached < until)
        return HistoryPage(
            messages=[message for message in translated if message is not None],
            reached=reached,
            next=partial(self._read_page, channel, context, until, reached) if more else None,
        )

    async def _translate_one(
        self, message: discord.Message, context: ChannelContext
    ) -> Incoming | None:
        try:
            return await self._translate(message, context)
        except (PlatformError, StoreUnavailable):
            raise  # temporary: the page is read again
        except Exception as error:  # noqa: BLE001
            # The boundary of one message: the rest of its page is still accepted.
            log.error("a message cannot be translated", id=message.id, error=repr(error))
            return None


class DirectMessages:
    """`bot.ports.history.HistoryReader` for direct messages, in the channels that the bot knows.

    Discord names no others.
    """

    def __init__(self, *, rest: RestApi, channels: ChannelReader) -> None:
        self._rest, self._channels = rest, channels
        self.workspace = DIRECT_MESSAGES
        self.newest = discord.utils.time_snowflake(discord.utils.utcnow())

    async def find_histories(self, conversations: Sequence[Conversation]) -> Sequence[History]:
        """All known channels: nothing tells which have news."""
        client = await self._rest.client()
        return [
            self._channels.history(
                client.get_partial_messageable(int(conversation.key.channel)),
                ChannelContext(Kind.DIRECT, DIRECT_MESSAGES, conversation.key.channel),
                rank=_rank(conversation),
            )
            for conversation in conversations
            if conversation.key.workspace == DIRECT_MESSAGES
        ]


class GuildChannels:
    """`bot.ports.history.HistoryReader` for a guild."""

    def __init__(
        self,
        guild: discord.Guild,
        *,
        rest: RestApi,
        channels: ChannelReader,
        watermark: Watermarks,
    ) -> None:
        self._guild, self._rest = guild, rest
        self._channels, self._watermark = channels, watermark
        self.workspace = str(guild.id)
        # Now: each live message moves `last_message_id`, and none of them is missed.
        self._newest = {str(c.id): c.last_message_id or 0 for c in _message_channels(guild)}
        self.newest = max(self._newest.values(), default=0)

    async def find_histories(self, conversations: Sequence[Conversation]) -> Sequence[History]:
        """Channels and active threads with news, and known threads that were archived since."""
        own = [c for c in conversations if c.key.workspace == self.workspace]
        known = {conversation.key.thread for conversation in own}
        channels = {str(channel.id): channel for channel in _message_channels(self._guild)}
        states = [
            ChannelState(id_, self._newest.get(id_, 0), isinstance(c, discord.Thread), id_ in known)
            for id_, c in channels.items()
        ]
        histories = [
            self._history(channels[state.channel], state.rank, state.newest)
            for state in select_unread(states, lambda id_: self._watermark(self._ref(id_)))
            if _is_readable(channels[state.channel])
        ]
        since = self._rest.clock.time() - ARCHIVED_SECONDS
        for channel, archived in group_archived(own, channels, since).items():
            parent = self._guild.get_channel(int(channel))
            if isinstance(parent, Parent) and _is_readable(parent):
                histories.append(await self._archived(parent, archived))
        return histories

    async def _archived(self, parent: Parent, conversations: Sequence[Conversation]) -> History:
        """A single archived thread itself; for several, the list that tells which have news."""
        newest = conversations[0]
        if len(conversations) > 1:
            ref = self._ref(f"{parent.id}/archived")
            return History(ref, _rank(newest), lambda _: self._list_archived(parent, None))
        key = newest.key
        client = await self._rest.client()
        return self._channels.history(
            client.get_partial_messageable(int(key.thread), guild_id=self._guild.id),
            ChannelContext(
                Kind.THREAD, key.workspace, key.channel, key.thread, visibility=newest.visibility
            ),
            rank=_rank(newest),
        )

    async def _list_archived(self, parent: Parent, before: str | None) -> HistoryPage:
        """A page of a channel's archived threads, the latest archived first.

        The list ends with threads that were archived before the gap.
        """
        response: Any = await self._rest.ask(
            at("archive", parent.id),
            lambda client: client.http.get_public_archived_threads(
                parent.id, before=before, limit=PAGE_SIZE
            ),
            priority=Priority.BACKGROUND,
            within=self._rest.waits.read,
        )
        listed = response.get("threads") if isinstance(response, Mapping) else None
        if not isinstance(listed, list):
            raise Unsettled("the archived threads are not a list")
        threads = [thread for data in listed if (thread := _parse_thread(parent, data)) is not None]
        unread = [t for t in threads if (t.last_message_id or 0) > self._watermark(self._ref(t.id))]
        following = None
        if len(listed) == PAGE_SIZE and threads:
            archived_at = threads[-1].archive_timestamp
            if archived_at > discord.utils.snowflake_time(self._watermark(self._ref(""))):
                following = partial(self._list_archived, parent, archived_at.isoformat())
        return HistoryPage(
            threads=[self._history(t, (1,), t.last_message_id or 0) for t in unread], next=following
        )

    def _history(self, channel: GuildChannel, rank: Rank, until: int) -> History:
        context = place_of(channel)
        assert context is not None  # noqa: S101 - each of these types has a context
        return self._channels.history(channel, context, rank=rank, until=until)

    def _ref(self, channel: object) -> ChannelRef:
        return ChannelRef(self.workspace, str(channel))


# ── discord.py's objects ──────────────────────────────────────────────────────────────────────
def _message_channels(guild: discord.Guild) -> Iterator[GuildChannel]:
    yield from guild.threads
    yield from guild.text_channels
    yield from guild.voice_channels
    yield from guild.stage_channels


def _is_readable(channel: GuildChannel | discord.ForumChannel) -> bool:
    """Whether the bot may read a channel, without a request: Discord bans bots for many refusals.

    Without the Read Message History permission, Discord would return an empty list.
    """
    if channel.guild.me is None:
        return True  # unknown: the request will tell
    permissions = channel.permissions_for(channel.guild.me)
    if permissions.view_channel and permissions.read_message_history:
        return True
    log.warning("skipped a channel: no permission to read its history", channel=channel.id)
    return False


def _parse_thread(parent: Parent, data: Any) -> discord.Thread | None:
    """A thread from Discord's JSON; None if discord.py cannot parse it."""
    try:
        known: Any = fitted(data, THREAD)
        return discord.Thread(guild=parent.guild, state=parent._state, data=known)
    except Exception as error:  # noqa: BLE001
        # The boundary of one thread: the rest of the list is still read.
        log.error("an archived thread cannot be parsed", id=id_in(data), error=repr(error))
        return None


def _rank(conversation: Conversation) -> Rank:
    return (0, -conversation.updated_at)
