"""Catches up with Discord: reads what was said between two sessions.

Discord expects no acknowledgement of events, so these reads are what makes "stored before
acknowledged" true here. READY and GUILD_CREATE name the newest message of every channel and active
thread, and the bot reads those that are ahead of their watermark. A resumed session needs no reads:
Discord sends the events that it missed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import discord

from adapters.discord.edits import EditListener
from adapters.discord.events import DIRECT_MESSAGES, PLATFORM, place_of
from adapters.discord.history_reader import (
    AnyChannel,
    ChannelReader,
    DirectMessages,
    GuildChannels,
    Translate,
)
from adapters.discord.places import read_place
from adapters.discord.recheck import DiscordQuestions
from adapters.discord.rest import RestApi
from bot.catchup.backfill import Backfill
from bot.catchup.watermark_saver import WatermarkSaver
from bot.common.retry import Backoff
from bot.ports.history import ChannelRef
from bot.ports.inbox import Inbox

# How far the guild's watermark stays behind its newest message, in snowflakes: events of different
# channels arrive only roughly in the order of their ids. One minute; the time is above 22 bits.
LAG = 60_000 << 22


class DiscordBackfill:
    """Decides when to read; `translate` turns a message into what the core knows.

    `receive` handles a message as if its event had arrived.
    """

    def __init__(
        self,
        *,
        rest: RestApi,
        inbox: Inbox,
        saver: WatermarkSaver,
        translate: Translate,
        edits: EditListener,
        receive: Callable[[discord.Message], Awaitable[None]],
    ) -> None:
        self._rest, self._tracker, self._receive = rest, saver.tracker, receive
        self._channels = ChannelReader(rest=rest, translate=translate)
        self._backfill = Backfill(
            platform=PLATFORM,
            inbox=inbox,
            saver=saver,
            clock=rest.clock,
            questions=DiscordQuestions(rest=rest, edits=edits),
        )
        self._retries = Backoff(first=rest.waits.again, longest=rest.waits.longest)
        self._failures: dict[int, int] = {}  # by message, while `receive` handles it again

    async def start_session(self) -> None:
        """Catch up on direct messages; `start_guild` follows for each guild."""
        await self._backfill.restart()
        self._backfill.start(DirectMessages(rest=self._rest, channels=self._channels))

    def start_guild(self, guild: discord.Guild) -> None:
        """Catch up on a guild whose channels have just arrived."""
        self._backfill.start(
            GuildChannels(
                guild, rest=self._rest, channels=self._channels, watermark=self._tracker.position_of
            )
        )

    def retry(self, message: discord.Message) -> None:
        """Bring back a message that could not be stored, by reading its channel again."""
        context = place_of(message.channel)
        if context is not None and isinstance(message.channel, AnyChannel):
            history = self._channels.history(message.channel, context)
            self._backfill.reread(history, self._rest.waits.again)
            return
        failures = self._failures.pop(message.id, 0) + 1
        work = self._receive_later(message, failures)
        self._backfill.start_task(work, name="catch up: retry")

    async def reread(self, client: discord.Client, guild: int | None, channel: int) -> None:
        """Read a channel again, because an event of an unreadable message arrived from it.

        Raises a PlatformError if the channel is neither cached nor readable.
        """
        context = place_of(client.get_channel(channel)) or await read_place(self._rest, channel)
        if context is None:
            return
        where = client.get_partial_messageable(channel, guild_id=guild)
        history = self._channels.history(where, context)
        self._tracker.hold(history.ref)
        self._backfill.reread(history, 0.0)

    async def aclose(self) -> None:
        """Stop all reads."""
        await self._backfill.aclose()

    async def _receive_later(self, message: discord.Message, failures: int) -> None:
        """Handle a message again, because its channel is unknown and cannot be read."""
        await self._rest.clock.sleep(self._retries.after(failures))
        self._failures[message.id] = failures
        try:
            await self._receive(message)
        finally:
            self._failures.pop(message.id, None)


def ref_of(message: discord.Message) -> ChannelRef:
    """The channel of a message, cached or not."""
    guild = message.guild.id if message.guild else getattr(message.channel, "guild_id", None)
    return ChannelRef(str(guild or DIRECT_MESSAGES), str(message.channel.id))
