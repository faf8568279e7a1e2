"""discord.py's client: passes the gateway's events to the adapter's listeners.

It handles events from the first one on, before discord.py considers itself ready.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp
import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import HTTPClient, Route

from adapters.discord.commands import Interaction, command_tree, register_commands
from adapters.discord.feedback import FeedbackHandler, VoteButton
from adapters.discord.http import install_http
from adapters.discord.interactions import ChoiceButton, ControlButton, DiscordInteractionHandler
from adapters.discord.listeners import MessageListener
from adapters.discord.members import Members
from adapters.discord.rest import RestApi
from adapters.discord.session_starts import SessionStarts
from adapters.discord.shards import Shards
from adapters.discord.state import SafeState
from adapters.discord.threads import remove_late_thread
from bot.common.proxies import http_proxy_for
from bot.ports.cluster import Cluster

log = structlog.stdlib.get_logger(__name__)

DISALLOWED_INTENTS = 4014  # documented close code


def silence_voice_warnings() -> None:
    """Call it before making a client: otherwise discord.py warns that voice needs more packages."""
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False


def intents() -> discord.Intents:
    """The intents that the bot needs; message content is a privileged one."""
    return discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=True)


@contextlib.contextmanager
def server_urls(api_url: str | None, gateway_url: str | None) -> Iterator[None]:
    """Set discord.py's two URLs, which it keeps on its classes, while the context lasts."""
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    if api_url is not None:
        Route.BASE = api_url.rstrip("/")
    if gateway_url is not None:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway_url)
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before


class ThreadlineClient(discord.Client):
    """discord.py's client with the adapter's event handlers."""

    def __init__(
        self,
        *,
        rest: RestApi,
        handler: DiscordInteractionHandler,
        members: Members,
        cluster: Cluster,
    ) -> None:
        silence_voice_warnings()
        super().__init__(
            intents=intents(),
            allowed_mentions=discord.AllowedMentions.none(),
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            proxy=http_proxy_for(Route.BASE),
        )
        self.http_client = install_http(self, rate_limiter=rest.rate_limiter, clock=rest.clock)
        self.http.ws_connect = self._open_socket  # type: ignore[method-assign]
        self.rest, self.handler, self.members = rest, handler, members
        self.feedback = FeedbackHandler(handler)
        self.listener: MessageListener | None = None
        self._cluster = cluster
        self.shards: Shards | None = None
        self._tree = command_tree(self, handler.handle_command, handler.complete)
        self.add_dynamic_items(ControlButton, ChoiceButton, VoteButton)

    async def _open_socket(self, url: str, *, compress: int = 0) -> aiohttp.ClientWebSocketResponse:
        """Connect through the proxy for the gateway's host, which NO_PROXY may treat differently
        from the API's."""
        http = copy.copy(self.http)
        http.proxy = http_proxy_for(url)
        return await HTTPClient.ws_connect(http, url, compress=compress)

    def _get_state(self, **options: Any) -> SafeState:
        return SafeState(
            dispatch=self.dispatch,
            handlers=self._handlers,
            hooks=self._hooks,
            http=self.http,
            **options,
        )

    def request_members(self) -> bool:
        """Ask for member events if Discord grants them to the application, which has logged in."""
        flags = self.application.flags if self.application is not None else None
        if flags is None or not (
            flags.gateway_guild_members or flags.gateway_guild_members_limited
        ):
            return False
        state: Any = self._connection
        state.request_members()
        return True

    def set_shards(self, count: int, starts: SessionStarts) -> None:
        """Divide the guilds among `count` shards; call it before `connect`."""
        self.shard_count = self._connection.shard_count = self.rest.shard_count = count
        self.shards = Shards(
            client=self,
            clock=self.rest.clock,
            cluster=self._cluster,
            starts=starts,
            count=count,
            listener=self,
        )

    async def connect(self, *, reconnect: bool = True) -> None:
        """Serve until closed; raises if reconnecting is pointless: see `Shards`."""
        assert self.shards is not None  # noqa: S101 - see set_shards
        self.rest.background.add("registering the commands", self._register)
        try:
            await self.shards.run(self._continue_without_shards)
        except discord.ConnectionClosed as error:
            if error.code == DISALLOWED_INTENTS:
                raise discord.PrivilegedIntentsRequired(error.shard_id) from error
            raise

    async def close(self) -> None:
        """End all connections."""
        if self.shards is not None:
            self.shards.end()
        await super().close()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do nothing: `SessionStarts` has already waited before the connection."""

    async def _register(self) -> None:
        """Register the commands, one process at a time; later processes find no difference."""
        async with self._cluster.exclusively(f"discord/commands/{self.application_id}"):
            await register_commands(self.rest, self._tree)

    async def _continue_without_shards(self) -> None:
        if self.listener is not None and self.shards is not None and not self.shards.held:
            await self.listener.waiting()

    # ── messages ──────────────────────────────────────────────────────────────────────────────
    async def on_message(self, message: discord.Message) -> None:
        """Handle a new message."""
        self.members.message(message)
        if self.listener is not None:
            await self.listener.message(message)

    async def on_message_edited(self, message: discord.Message) -> None:
        """Handle an edit."""
        if self.listener is not None:
            await self.listener.edits.edited(message)

    async def on_message_unreadable(self, event: str, payload: Any) -> None:
        """Handle a new or edited message whose payload could not be parsed."""
        if self.listener is not None:
            await self.listener.unreadable(event, payload)

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        """Handle a deleted message."""
        await self._report_deleted(payload, [payload.message_id])

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        """Handle a bulk deletion in one channel."""
        await self._report_deleted(payload, sorted(payload.message_ids))

    async def _report_deleted(
        self,
        payload: discord.RawMessageDeleteEvent | discord.RawBulkMessageDeleteEvent,
        messages: Sequence[int],
    ) -> None:
        """Handle deleted messages; a cached channel's guild replaces a missing one."""
        guild: Any = getattr(self.get_channel(payload.channel_id), "guild", None)
        guild_id = payload.guild_id if guild is None else guild.id
        if self.listener is not None:
            await self.listener.edits.deleted(guild_id, payload.channel_id, messages)

    # ── members and roles ─────────────────────────────────────────────────────────────────────
    async def on_member_updated(self, data: Any) -> None:
        """Handle the event of a new or changed member."""
        self.members.updated(data)

    async def on_member_removed(self, data: Any) -> None:
        """Handle a member who left or was removed."""
        self.members.removed(data)

    async def on_role_deleted(self, guild: int) -> None:
        """Handle a deleted role: its members have lost it."""
        self.members.forget_guild(guild)

    async def on_interaction(self, interaction: Interaction) -> None:
        """Handle a submitted form, even one that an earlier process showed."""
        if interaction.type is discord.InteractionType.modal_submit:
            await self.feedback.handle_form(interaction)

    # ── guilds, channels and threads ──────────────────────────────────────────────────────────
    async def on_raw_thread_delete(self, payload: discord.RawThreadDeleteEvent) -> None:
        """Handle a deleted thread, unless the bot deleted it because it was created too late."""
        if self.listener is not None and str(payload.thread_id) not in self.rest.own_deletions:
            location = payload.guild_id, payload.parent_id, payload.thread_id
            await self.listener.edits.location_removed(*location)

    async def on_thread_create(self, thread: discord.Thread) -> None:
        """Handle a new thread."""
        remove_late_thread(self.rest, thread)

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """Handle a channel that was deleted together with its threads."""
        if self.listener is not None:
            await self.listener.edits.location_removed(channel.guild.id, channel.id)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Handle the bot's removal from a guild."""
        if self.listener is not None:
            await self.listener.edits.location_removed(guild.id)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """Handle a guild whose channels are known: after READY, or after an outage."""
        if self.listener is not None:
            self.listener.guild(guild)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Handle a guild that the bot was added to."""
        if self.listener is not None:
            self.listener.guild(guild)

    # ── the connection ────────────────────────────────────────────────────────────────────────
    async def on_shard_connect(self, shard: int) -> None:
        """Handle a shard's new session, whose events begin now."""
        self._mark_connected(shard)
        log.info("connected to Discord", user=str(self.user), shard=shard)
        if self.listener is not None:
            await self.listener.connected(shard)

    async def on_shard_resumed(self, shard: int) -> None:
        """Handle a resumed session; Discord has sent the events that were missed."""
        self._mark_connected(shard)
        log.info("resumed the connection to Discord", shard=shard)

    def _mark_connected(self, shard: int) -> None:
        self.rest.shards_lost.pop(shard, None)
        if self.shards is not None:
            self.shards.mark_connected(shard)

    def shard_gained(self, shard: int) -> None:
        """Prepare for a shard of this process."""
        self.rest.shards_held.add(shard)
        if self.listener is not None:
            self.listener.backfills.gained(shard)

    def shard_lost(self, shard: int) -> None:
        """Note the end of a connection; `GatewayConnection` reconnects."""
        self.rest.shards_lost.setdefault(shard, self.rest.clock.monotonic())

    async def shards_released(self, shards: Sequence[int]) -> None:
        """Forget shards that other processes may serve from now on; turns in them continue."""
        state: Any = self._connection
        for shard in shards:
            state.forget_shard(shard)
            self.rest.shards_lost.pop(shard, None)
            self.rest.shards_held.discard(shard)
        if self.listener is not None:
            await self.listener.backfills.release(shards)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """Log an unexpected error from an event handler, the last point where its task can catch
        it."""
        log.exception("an event could not be handled", discord_event=event_method)
