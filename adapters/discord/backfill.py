"""Catches up with Discord: finds and reads the messages sent between two sessions.

Discord expects no acknowledgement of events, so only these reads bring back a message that
was not stored. READY and GUILD_CREATE name the newest message of every channel and active
thread, and the bot reads those that are ahead of their watermark. A resumed session needs no
reads: Discord sends the events that it missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import discord
import structlog

from adapters.discord.backfill_plan import ChannelState, group_archived, select_unread
from adapters.discord.channel_reader import ChannelReader, Rank, Translate, ref_at, ref_in
from adapters.discord.channels import (
    DIRECT_MESSAGES,
    PLATFORM,
    ChannelContext,
    ChannelKind,
    channel_context,
)
from adapters.discord.edits import DiscordEditListener
from adapters.discord.history import PAGE_SIZE
from adapters.discord.payload_schemas import THREAD
from adapters.discord.payload_validation import validate
from adapters.discord.recheck import report_changes
from adapters.discord.rest import RestApi, id_in
from bot.catchup.backfill import Backfill
from bot.catchup.watermark_saver import WatermarkSaver
from bot.catchup.watermarks import WatermarkTracker
from bot.domain.conversations import Conversation
from bot.ports.history import ChannelRef, History, HistoryPage
from bot.ports.inbox import CatchUpInbox

log = structlog.stdlib.get_logger(__name__)

# How far the guild's watermark stays behind its newest message, in snowflakes: events of different
# channels arrive only roughly in the order of their ids. One minute; the time is above 22 bits.
LAG = 60_000 << 22
# Threads without a message for this long are not looked up among the archived ones, in seconds.
ARCHIVED_SECONDS = 14 * 86_400.0

GuildChannel = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread
Parent = discord.TextChannel | discord.ForumChannel


class DiscordBackfill:
    """Decides when to read a shard's guilds.

    `translate` turns a message into an Incoming, or None if it is irrelevant.
    """

    def __init__(
        self,
        shard: int,
        *,
        rest: RestApi,
        inbox: CatchUpInbox,
        saver: WatermarkSaver,
        translate: Translate,
        edits: DiscordEditListener,
    ) -> None:
        self._rest, self._tracker, self._shard = rest, saver.tracker, shard
        self._channels = ChannelReader(rest, translate)
        self._backfill = Backfill(
            platform=PLATFORM,
            inbox=inbox,
            saver=saver,
            clock=rest.clock,
            report_changes=partial(report_changes, rest, edits),
            pauses=rest.timeouts.reads,
            owns=lambda workspace: rest.shard_of(workspace) == shard,
            since=rest.clock.monotonic(),
        )

    async def start_session(self) -> None:
        """Catch up on direct messages if this shard receives them; `start_guild` follows for each
        guild."""
        await self._backfill.restart()
        if self._shard == self._rest.shard_of(DIRECT_MESSAGES):
            self._backfill.start(DirectMessages(self._channels))

    def start_guild(self, guild: discord.Guild) -> None:
        """Catch up on a guild whose channels have just arrived."""
        self._backfill.start(GuildChannels(guild, self._channels, self._tracker))

    def retry(self, ref: ChannelRef, message: int) -> None:
        """Read a channel again after a pause, to bring back a message that could not be stored."""
        history = self._channels.history_at(ref)
        self._backfill.reread(history, self._rest.timeouts.again, since=message - 1)

    def reread(self, client: discord.Client, guild: int | None, channel: int) -> None:
        """Read a channel again after an unreadable message event."""
        context = channel_context(client.get_channel(channel))
        ref = ref_in(context) if context is not None else ref_at(guild, channel)
        self._tracker.hold(ref)
        self._backfill.reread(self._channels.history_at(ref), 0.0)

    async def aclose(self) -> None:
        """Stop all reads."""
        await self._backfill.aclose()


# ── what may have been missed ─────────────────────────────────────────────────────────────────
class DirectMessages:
    """A HistoryReader for known direct messages; Discord names no others."""

    def __init__(self, channels: ChannelReader) -> None:
        self._channels = channels
        self.workspace = DIRECT_MESSAGES
        self.newest = discord.utils.time_snowflake(discord.utils.utcnow())

    async def find_histories(self, conversations: Sequence[Conversation]) -> Sequence[History]:
        """Every channel with a conversation: Discord does not report which ones have new
        messages."""
        return [
            self._channels.history_of(
                _context_of(conversation, ChannelKind.DIRECT), _rank(conversation)
            )
            for conversation in conversations
            if conversation.key.workspace == DIRECT_MESSAGES
        ]


class GuildChannels:
    """A HistoryReader for a guild."""

    def __init__(
        self, guild: discord.Guild, channels: ChannelReader, tracker: WatermarkTracker
    ) -> None:
        self._guild, self._channels, self._tracker = guild, channels, tracker
        self.workspace = str(guild.id)
        # A snapshot: live messages, which are not missed, advance `last_message_id`.
        self._newest = {str(c.id): c.last_message_id or 0 for c in _message_channels(guild)}
        self.newest = max(self._newest.values(), default=0)

    async def find_histories(self, conversations: Sequence[Conversation]) -> Sequence[History]:
        """Channels and active threads with new messages, and known threads that are archived."""
        own = [c for c in conversations if c.key.workspace == self.workspace]
        known = {conversation.key.thread for conversation in own}
        channels = {str(channel.id): channel for channel in _message_channels(self._guild)}
        states = [
            ChannelState(id_, self._newest.get(id_, 0), isinstance(c, discord.Thread), id_ in known)
            for id_, c in channels.items()
        ]
        histories = [
            self._history(channels[state.channel], state.rank, state.newest)
            for state in select_unread(states, self._watermark)
            if _is_readable(channels[state.channel])
        ]
        since = self._channels.rest.clock.time() - ARCHIVED_SECONDS
        for channel, archived in group_archived(own, channels, since).items():
            parent = self._guild.get_channel(int(channel))
            if isinstance(parent, Parent) and _is_readable(parent):
                histories.append(self._archived(parent, archived))
        return histories

    def _archived(self, parent: Parent, conversations: Sequence[Conversation]) -> History:
        """For one archived thread, itself; for several, those that the archive list shows to have
        new messages."""
        newest = conversations[0]
        if len(conversations) == 1:
            return self._channels.history_of(_context_of(newest, ChannelKind.THREAD), _rank(newest))
        ref = ChannelRef(self.workspace, f"{parent.id}/archived")
        return History(ref, _rank(newest), lambda _: self._read_archived(parent, None))

    async def _read_archived(self, parent: Parent, before: str | None) -> HistoryPage:
        """Archived threads with new messages, back to those archived before the gap."""
        listed = await self._channels.list_archived(parent.id, before)
        threads = [thread for data in listed if (thread := _parse_thread(parent, data)) is not None]
        following = None
        if len(listed) == PAGE_SIZE and threads:
            archived_at = threads[-1].archive_timestamp
            if archived_at > discord.utils.snowflake_time(self._watermark("")):
                following = partial(self._read_archived, parent, archived_at.isoformat())
        newest = [(thread, thread.last_message_id or 0) for thread in threads]
        unread = [(t, last) for t, last in newest if last > self._watermark(str(t.id))]
        return HistoryPage(
            threads=[self._history(t, (1,), last) for t, last in unread], next=following
        )

    def _history(self, channel: GuildChannel, rank: Rank, until: int) -> History:
        context = channel_context(channel)
        assert context is not None  # noqa: S101 - each of these types has a context
        return self._channels.history_of(context, rank, until)

    def _watermark(self, channel: str) -> int:
        return self._tracker.position_of(ChannelRef(self.workspace, channel))


def _context_of(conversation: Conversation, kind: ChannelKind) -> ChannelContext:
    key, visibility = conversation.key, conversation.visibility
    return ChannelContext(kind, key.workspace, key.channel, key.thread, visibility=visibility)


def _rank(conversation: Conversation) -> Rank:
    return (0, -conversation.updated_at)


# ── discord.py's objects ──────────────────────────────────────────────────────────────────────
def _message_channels(guild: discord.Guild) -> Iterator[GuildChannel]:
    yield from guild.threads
    yield from guild.text_channels
    yield from guild.voice_channels
    yield from guild.stage_channels


def _is_readable(channel: GuildChannel | discord.ForumChannel) -> bool:
    """Whether the bot may read a channel, decided from the cache: Discord bans clients with many
    refused requests.

    Without the Read Message History permission, Discord would return an empty list.
    """
    if channel.guild.me is None:
        return True  # unknown: the request will reveal it
    permissions = channel.permissions_for(channel.guild.me)
    if permissions.view_channel and permissions.read_message_history:
        return True
    log.warning("skipped a channel: no permission to read its history", channel=channel.id)
    return False


def _parse_thread(parent: Parent, data: Any) -> discord.Thread | None:
    """A thread from Discord's JSON; None if discord.py cannot parse it."""
    try:
        known: Any = validate(data, THREAD)
        return discord.Thread(guild=parent.guild, state=parent._state, data=known)
    except Exception as error:  # noqa: BLE001 - the boundary of each thread of a list
        log.error("an archived thread cannot be parsed", id=id_in(data), error=repr(error))
        return None
