"""What was said while no events came, read from Discord at every new session.

Discord acknowledges nothing, so this is how "stored before acknowledged" is kept here: READY tells
the newest message of every channel and active thread, and what is behind its watermark is read. A
session that was resumed needs nothing: Discord sends again what it missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import discord
import structlog

from adapters.discord import rest as w
from adapters.discord.backfill_plan import Newest, not_shown, to_read
from adapters.discord.edits import EditListener
from adapters.discord.events import DIRECT_MESSAGES, PLATFORM, ChannelContext, Kind, place_of
from adapters.discord.history import READ_AT_ONCE, read_page
from adapters.discord.payload_fitting import fitted
from adapters.discord.payload_shapes import THREAD
from adapters.discord.places import read_place
from adapters.discord.recheck import Look
from adapters.discord.rest import RestApi, id_in
from bot.catchup.backfill import LATER_SECONDS, BackfillQueue, WatermarkSaver
from bot.catchup.recheck import LastQuestions
from bot.catchup.watermarks import ChannelRef
from bot.domain.conversations import Conversation
from bot.domain.errors import PlatformError, StoreUnavailable, Unsettled
from bot.domain.inbox import Incoming
from bot.domain.replies import Priority
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)

# Between channels of a guild the order of arrival is the order of the ids only roughly.
LAG = 60_000 << 22  # a minute, in snowflakes
# A thread in which nobody spoke for so long is not looked for among the archived ones. Seconds.
ARCHIVED_SECONDS = 14 * 86_400.0

Channel = (
    discord.TextChannel
    | discord.VoiceChannel
    | discord.StageChannel
    | discord.Thread
    | discord.DMChannel
    | discord.PartialMessageable
)
InGuild = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread
Understood = Callable[[discord.Message, ChannelContext], Awaitable[Incoming | None]]


@dataclass(slots=True)
class _Reading:
    """One place as it is being read, up to `until`, or (0) to its end."""

    spot: ChannelRef
    place: ChannelContext
    channel: Channel
    until: int = 0


@dataclass(slots=True)
class _Archive:
    """A channel's archived threads, the latest archived first."""

    parent: discord.TextChannel | discord.ForumChannel
    threads: list[discord.Thread] = field(default_factory=list)


# ── carrying out ──────────────────────────────────────────────────────────────────────────────
class Gap:
    """Reads what the client missed. `understood` translates a message; `take` accepts it as if
    it had arrived live.
    """

    def __init__(
        self,
        *,
        wire: RestApi,
        inbox: Inbox,
        keeper: WatermarkSaver,
        understood: Understood,
        changes: EditListener,
        take: Callable[[discord.Message], Awaitable[None]],
    ) -> None:
        self._wire, self._inbox, self._keeper = wire, inbox, keeper
        self._take = take
        self._marks = keeper.marks
        self._understood = understood
        look = Look(wire=wire, changes=changes)
        self._last = LastQuestions(platform=PLATFORM, inbox=inbox, look=look)
        self._reads = BackfillQueue(wire.clock)
        self._again: set[ChannelRef] = set()
        self._pauses: dict[int, float] = {}  # before the next try, of messages that are tried now
        self._conversations: asyncio.Task[Sequence[Conversation]] | None = None

    async def session(self) -> None:
        """A new session: what was said between it and the last one is not coming by itself."""
        earlier, self._reads = self._reads, BackfillQueue(self._wire.clock)
        self._again.clear()
        self._conversations = None
        self._marks.interrupted()
        self._reads.begin(self._direct_messages(), name="gap: direct messages")
        await earlier.aclose()

    def guild(self, guild: discord.Guild) -> None:
        """A guild is there, with the newest message of each of its places."""
        self._marks.interrupted(str(guild.id))
        # At once: what arrives from now on moves a channel's newest message, and is not missed.
        newest = {str(place.id): place.last_message_id or 0 for place in _talked_in(guild)}
        self._reads.begin(self._guild(guild, newest), name=f"gap: guild {guild.id}")

    def again(self, message: discord.Message) -> None:
        """A message could not be stored: it is brought again, by reading its place."""
        place = place_of(message.channel)
        if place is None or not isinstance(message.channel, Channel):
            pause = self._pauses.pop(message.id, self._wire.waits.again)
            self._reads.begin(self._take_later(message, pause), name="gap: again")
            return
        reading = _Reading(_spot(place), place, message.channel)
        if reading.spot not in self._again:  # once for all that fail meanwhile
            self._again.add(reading.spot)
            self._reads.begin(self._read_later(reading, self._wire.waits.again), name="gap: again")

    async def read_again(self, client: discord.Client, guild: int | None, channel: int) -> None:
        """A message of this channel could not be read: hold its watermark, and read the channel.

        Raises a PlatformError when the channel is not known and cannot be asked for.
        """
        place = place_of(client.get_channel(channel)) or await read_place(self._wire, channel)
        if place is None:
            return
        where = client.get_partial_messageable(channel, guild_id=guild)
        reading = _Reading(_spot(place), place, where)
        self._marks.unread(reading.spot)
        self._reads.begin(self._read_later(reading, 0.0), name="gap: unreadable")

    async def aclose(self) -> None:
        """Give up; the watermarks say what is left."""
        await self._reads.aclose()

    # ── places ────────────────────────────────────────────────────────────────────────────────
    async def _guild(self, guild: discord.Guild, newest: Mapping[str, int]) -> None:
        await self._keeper.loaded()
        workspace = str(guild.id)
        if not self._marks.known(workspace):  # new here: its past is nobody's question to us
            await self._begin(workspace, max(newest.values(), default=0))
            return
        conversations = await self._active()
        asked = await self._last.before(workspace, self._reads)
        known = {c.key.thread for c in conversations if c.key.workspace == workspace}
        channels = {str(channel.id): channel for channel in _talked_in(guild)}
        places = [
            Newest(id_, newest.get(id_, 0), _is_thread(channel), id_ in known)
            for id_, channel in channels.items()
        ]
        ended = [
            self._read(_reading(channels[place.channel], place.last), place.rank)
            for place in to_read(places, lambda id_: self._marks.of(ChannelRef(workspace, id_)))
            if _readable(channels[place.channel])
        ]
        theirs = [c for c in conversations if c.key.workspace == workspace]
        ended += [
            self._archived(guild, channel, missing)
            for channel, missing in not_shown(theirs, channels, self._since()).items()
        ]
        await self._close(workspace, ended)
        await self._last.look_at(asked, self._reads)

    async def _direct_messages(self) -> None:
        """Those that are known: Discord tells a bot about no other."""
        await self._keeper.loaded()
        if not self._marks.known(DIRECT_MESSAGES):
            now = discord.utils.time_snowflake(discord.utils.utcnow())
            await self._begin(DIRECT_MESSAGES, now)
            return
        conversations = await self._active()
        asked = await self._last.before(DIRECT_MESSAGES, self._reads)
        client = await self._wire.client()
        ended = []
        for conversation in conversations:
            key = conversation.key
            if key.workspace == DIRECT_MESSAGES:
                channel = client.get_partial_messageable(int(key.channel))
                place = ChannelContext(Kind.DIRECT, DIRECT_MESSAGES, key.channel)
                reading = _Reading(_spot(place), place, channel)
                ended.append(self._read(reading, (0, -conversation.updated_at)))
        await self._close(DIRECT_MESSAGES, ended)
        await self._last.look_at(asked, self._reads)

    async def _archived(
        self, guild: discord.Guild, channel: str, missing: Sequence[Conversation]
    ) -> bool:
        """Threads that were archived meanwhile: one is read, of several the list tells which."""
        parent = guild.get_channel(int(channel))
        if not isinstance(parent, discord.TextChannel | discord.ForumChannel):
            return True
        if not _readable(parent):
            return True
        if len(missing) == 1:
            return await self._read(await self._stored(missing[0]), _rank(missing[0]))
        archive = _Archive(parent)
        listed = self._reads.add(
            f"archived threads of {channel}", _rank(missing[0]), lambda: self._list(archive)
        )
        if not await listed:
            return False
        ended = [
            self._read(_reading(thread, thread.last_message_id or 0), (1,))
            for thread in archive.threads
            if (thread.last_message_id or 0)
            > self._marks.of(ChannelRef(str(guild.id), str(thread.id)))
        ]
        return all(await asyncio.gather(*ended))

    async def _stored(self, conversation: Conversation) -> _Reading:
        key = conversation.key
        client = await self._wire.client()
        place = ChannelContext(
            Kind.THREAD, key.workspace, key.channel, key.thread, visibility=conversation.visibility
        )
        channel = client.get_partial_messageable(int(key.thread), guild_id=int(key.workspace))
        return _Reading(_spot(place), place, channel)

    async def _begin(self, workspace: str, position: int) -> None:
        self._marks.begin(workspace, position)
        self._marks.whole(workspace)
        await self._keeper.save()  # at once: without it the next start would be the first again

    async def _close(self, workspace: str, ended: Iterable[Awaitable[bool]]) -> None:
        whole = all(await asyncio.gather(*ended))
        self._marks.whole(workspace)
        self._keeper.save_soon()
        log.info("caught up", guild=workspace, whole=whole)

    async def _active(self) -> Sequence[Conversation]:
        """The latest conversations; asked for once a session."""
        if self._conversations is None:
            self._conversations = self._reads.begin(self._last_active(), name="gap: conversations")
        return await asyncio.shield(self._conversations)

    async def _last_active(self) -> Sequence[Conversation]:
        """For as long as it takes: the database may fail."""
        while True:
            found = await self._reads.get(
                "conversations", (-1,), lambda: self._inbox.active(PLATFORM)
            )
            if found is not None:
                return found
            await self._wire.clock.sleep(LATER_SECONDS)

    def _since(self) -> float:
        return self._wire.clock.time() - ARCHIVED_SECONDS

    # ── requests ──────────────────────────────────────────────────────────────────────────────
    async def _read(self, reading: _Reading, rank: tuple[float, ...]) -> bool:
        """Read a place to its end; whether that was possible, or is not permitted for good."""
        spot = reading.spot
        done = await self._reads.add(f"channel {spot.channel}", rank, lambda: self._page(reading))
        if done:
            self._marks.found(spot)
            self._marks.closed(spot)
        else:
            self._marks.unread(spot)
            self._reads.begin(self._read_later(reading, LATER_SECONDS), name="gap: later")
        self._keeper.save_soon()
        return done

    async def _page(self, reading: _Reading) -> bool:
        """The next hundred messages of a place; whether there are more."""
        after = self._marks.of(reading.spot)
        page = await read_page(
            self._wire,
            reading.channel,
            reading.channel.id,
            after=after,
            priority=Priority.BACKGROUND,
            within=self._wire.waits.read,
        )
        read = [await self._translate(message, reading.place) for message in page.messages]
        found = [message for message in read if message is not None]
        await self._inbox.missed(found)
        for message in found:
            self._last.seen(message.source)
        reached = max(page.newest, 0 if page.full else reading.until)
        self._marks.read(reading.spot, reached)
        self._keeper.save_soon()
        return page.full and (not reading.until or reached < reading.until)

    async def _translate(self, message: discord.Message, place: ChannelContext) -> Incoming | None:
        try:
            return await self._understood(message, place)
        except (PlatformError, StoreUnavailable):
            raise  # it passes, and the page is read again
        except Exception as error:  # noqa: BLE001
            # A message's boundary: whatever is odd in it, the others of its page are taken in.
            log.error("a message cannot be taken in", id=message.id, error=repr(error))
            return None

    async def _list(self, archive: _Archive) -> bool:
        """The next hundred archived threads; whether more were archived since the gap began."""
        parent = archive.parent
        before = archive.threads[-1].archive_timestamp.isoformat() if archive.threads else None
        answer: Any = await self._wire.ask(
            w.at("archive", parent.id),
            lambda client: client.http.get_public_archived_threads(
                parent.id, before=before, limit=READ_AT_ONCE
            ),
            priority=Priority.BACKGROUND,
            within=self._wire.waits.read,
        )
        listed = answer.get("threads") if isinstance(answer, Mapping) else None
        if not isinstance(listed, list):
            raise Unsettled("a list of archived threads is none")
        read = (_thread_of(parent, data) for data in listed)
        found = [thread for thread in read if thread is not None]
        began = discord.utils.snowflake_time(self._marks.of(ChannelRef(str(parent.guild.id), "")))
        archive.threads += found
        full = len(listed) == READ_AT_ONCE and bool(found)
        return full and found[-1].archive_timestamp > began

    async def _take_later(self, message: discord.Message, pause: float) -> None:
        """Its place could not be found out: nothing can be read there, so it is taken in again."""
        await self._wire.clock.sleep(pause)
        self._pauses[message.id] = min(2 * pause, self._wire.waits.longest)
        try:
            await self._take(message)
        finally:
            self._pauses.pop(message.id, None)

    async def _read_later(self, reading: _Reading, seconds: float) -> None:
        await self._wire.clock.sleep(seconds)
        self._again.discard(reading.spot)
        await self._read(reading, (0,))


# ── discord.py's objects ──────────────────────────────────────────────────────────────────────
def _talked_in(guild: discord.Guild) -> Iterator[InGuild]:
    yield from guild.threads
    yield from guild.text_channels
    yield from guild.voice_channels
    yield from guild.stage_channels


def _is_thread(channel: InGuild) -> bool:
    return isinstance(channel, discord.Thread)


def _readable(channel: InGuild | discord.ForumChannel) -> bool:
    """A permission that is missing costs no request: Discord bans who is refused too often.

    Without Read Message History it would not even refuse, but give an empty list.
    """
    if channel.guild.me is None:
        return True  # not known; the request will tell
    may = channel.permissions_for(channel.guild.me)
    if may.view_channel and may.read_message_history:
        return True
    log.warning("skipped: its history may not be read", channel=channel.id)
    return False


def _reading(channel: InGuild, until: int) -> _Reading:
    place = place_of(channel)
    assert place is not None  # noqa: S101 - all of these are places
    return _Reading(_spot(place), place, channel, until)


def spot_of(message: discord.Message) -> ChannelRef:
    """Where a message stands, whether its channel is in the cache or not."""
    guild = message.guild.id if message.guild else getattr(message.channel, "guild_id", None)
    return ChannelRef(str(guild or DIRECT_MESSAGES), str(message.channel.id))


def _spot(place: ChannelContext) -> ChannelRef:
    return ChannelRef(place.guild, place.own)


def _thread_of(parent: discord.TextChannel | discord.ForumChannel, data: Any) -> Any:
    """An archived thread from Discord's JSON; None when it does not say which it is."""
    try:
        known: Any = fitted(data, THREAD)
        return discord.Thread(guild=parent.guild, state=parent._state, data=known)
    except Exception as error:  # noqa: BLE001
        # A thread's boundary: whatever is odd in it, the others of the list are read.
        log.error("an archived thread cannot be read", id=id_in(data), error=repr(error))
        return None


def _rank(conversation: Conversation) -> tuple[float, ...]:
    return (0, -conversation.updated_at)
