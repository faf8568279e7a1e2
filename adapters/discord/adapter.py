"""The Discord adapter: the gateway's events into the core, surfaces and answers out of it.

Events are served from the first one, before the library calls itself ready; every message is
handled in a task of its own, and a failure of one touches no other.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import aiohttp
import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import HTTPClient, Route

from adapters.discord import rest as w
from adapters.discord.access import Servers
from adapters.discord.backfill import LAG
from adapters.discord.buttons import choice_view
from adapters.discord.doctor import INTENT_ADVICE, TOKEN_ADVICE, Doctor
from adapters.discord.events import PLATFORM
from adapters.discord.gateway import Connection
from adapters.discord.http import installed_in
from adapters.discord.interactions import InteractionHandler, clipped
from adapters.discord.listeners import Listener
from adapters.discord.render import DiscordRenderer
from adapters.discord.rest import RestApi, attempt
from adapters.discord.state import State
from adapters.discord.surface import DiscordSurface
from adapters.discord.threads import remove_late
from adapters.discord.token import TokenWatch
from bot.catchup.backfill import WatermarkSaver
from bot.common import proxies
from bot.common.proxies import http_proxy_for
from bot.domain.errors import CannotStart, PlatformError, Unsettled
from bot.domain.health import Finding, Health, Verdict
from bot.domain.inbox import CommandReply, Incoming
from bot.domain.replies import FileRules
from bot.domain.turns import Claim
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox
from bot.ports.platform import RateLimiter, Surface
from bot.replies.ratelimit.limiter import AccountRateLimiter

log = structlog.stdlib.get_logger(__name__)

# How long messages that are being handled may take when we stop, in seconds.
LAST_EVENTS = 5.0
# Waits between attempts to log in while Discord cannot be reached, in seconds.
LOGIN_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)

BAD_TOKEN, BAD_INTENTS = 4004, 4014  # documented close codes of the gateway


class DiscordAdapter:
    """`bot.ports.Adapter` for Discord; one account.

    `models` are what /model offers. `rate_limiter` is the account's budget; by default it has
    Discord's limits. `api_url` and `gateway_url` point to a compatible server. Code that takes
    `file_from_messages` messages or more goes up as a file (0: never). `servers` are the ids of the
    guilds that may use the bot (none: all).
    """

    def __init__(
        self,
        *,
        token: str,
        clock: Clock,
        api_url: str | None = None,
        gateway_url: str | None = None,
        models: Sequence[str] = (),
        rate_limiter: RateLimiter | None = None,
        file_from_messages: int = 0,
        servers: frozenset[str] = frozenset(),
        waits: w.Waits | None = None,
    ) -> None:
        self._token = token
        self._files = FileRules.from_setting(file_from_messages, w.MOST_FILE_BYTES)
        self._api_url, self._gateway_url = api_url, gateway_url
        self._clock = clock
        self._renderer = DiscordRenderer()
        self._wire = RestApi(
            rate_limiter=rate_limiter or AccountRateLimiter(w.limits, clock),
            clock=clock,
            waits=waits,
        )
        self._servers = Servers(wire=self._wire, ids=servers)
        self._desk = InteractionHandler(
            wire=self._wire, renderer=self._renderer, models=models, servers=self._servers
        )
        self._client: ThreadlineClient | None = None

    @property
    def name(self) -> str:
        """`discord`."""
        return PLATFORM

    # ── serving ───────────────────────────────────────────────────────────────────────────────
    async def run(self, inbox: Inbox) -> None:
        """Serve until cancelled. Raises CannotStart with what to do about it."""
        keeper = WatermarkSaver(platform=PLATFORM, lag=LAG, inbox=inbox, clock=self._clock)
        try:
            with _pointed_at(self._api_url, self._gateway_url):
                for pause in _pauses():
                    await self._serve(inbox, keeper)
                    log.warning("Discord cannot be reached, trying again", seconds=pause)
                    await self._clock.sleep(pause)
        finally:
            await self._wire.upkeep.aclose()
            await keeper.aclose()

    async def _serve(self, inbox: Inbox, keeper: WatermarkSaver) -> None:
        """One client's life: until cancelled, or until Discord could not be reached at all."""
        client = self._client = ThreadlineClient(wire=self._wire, desk=self._desk)
        listener = client.listener = Listener(
            wire=self._wire, inbox=inbox, say=self.say, keeper=keeper, servers=self._servers
        )
        token = TokenWatch(client=client, http=client.rest, clock=self._clock)
        try:
            await _log_in(client, self._token, self._wire.waits.login)
            self._wire.connect(client, inbox)
            token.begin()
            await client.connect()
        except discord.LoginFailure as error:
            raise CannotStart(f"Discord refused DISCORD_TOKEN: {TOKEN_ADVICE}") from error
        except discord.PrivilegedIntentsRequired as error:
            raise CannotStart(f"The message content intent is off: {INTENT_ADVICE}") from error
        except discord.ConnectionClosed as error:
            raise _closed(error) from error
        except (OSError, aiohttp.ClientError, discord.GatewayNotFound, PlatformError) as e:
            log.warning("Discord failed", error=repr(e))
        finally:
            await token.aclose()
            await listener.gap.aclose()
            await listener.done_within(LAST_EVENTS)
            self._wire.disconnect()
            self._client = None
            await client.close()
        if token.revoked:
            raise CannotStart(f"Discord no longer accepts DISCORD_TOKEN: {TOKEN_ADVICE}")

    def health(self) -> Health:
        """Whether events arrive now."""
        client = self._client
        if client is None or not client.connected:
            return Health(ok=False, details={"gateway": "not connected"})
        details = {"gateway": "connected", "guilds": str(len(client.guilds))}
        if math.isfinite(client.latency):  # it is not before the first heartbeat
            details["latency"] = f"{client.latency * 1000:.0f} ms"
        return Health(ok=True, details=details)

    # ── out ───────────────────────────────────────────────────────────────────────────────────
    def surface(self, claim: Claim) -> Surface:
        """The surface of a turn's reply."""
        return DiscordSurface(
            claim=claim, wire=self._wire, renderer=self._renderer, rules=self._files
        )

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """Up to a hundred messages before this one in its thread, oldest first."""
        client = self._client
        if client is None or client.listener is None:
            return ()
        return await client.listener.backlog(incoming)

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Reply to the message in which the command was written."""
        if not answer.text:
            return
        reference = discord.MessageReference(
            message_id=int(incoming.message_id),
            channel_id=int(incoming.channel),
            fail_if_not_exists=False,
        )
        text, view = clipped(self._renderer, answer.text), choice_view(answer.choices)
        await self._wire.ask(
            w.messages_in(incoming.channel),
            lambda _: self._wire.send(incoming.channel, text, reference=reference, view=view),
        )

    async def check(self) -> Sequence[Finding]:
        """Try the token, the intent, the guilds' permissions and the commands."""
        with _pointed_at(self._api_url, self._gateway_url):
            ways = [
                proxies.finding("Discord", Route.BASE),
                proxies.finding("Discord gateway", str(DiscordWebSocket.DEFAULT_GATEWAY)),
            ]
            try:
                doctor = Doctor(token=self._token, client=self._client_for_checks)
                return [*await doctor.findings(), *ways]
            except CannotStart as error:
                return [Finding("Discord", Verdict.FAILED, str(error)), *ways]

    def _client_for_checks(self) -> discord.Client:
        client = discord.Client(intents=intents(), proxy=http_proxy_for(Route.BASE))
        installed_in(client, rate_limiter=self._wire.rate_limiter, clock=self._clock)
        return client


class ThreadlineClient(discord.Client):
    """discord.py's client with our events."""

    def __init__(self, *, wire: RestApi, desk: InteractionHandler) -> None:
        # It would warn at every start that it cannot do voice, which nobody asked for.
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
        super().__init__(
            intents=intents(),
            allowed_mentions=discord.AllowedMentions.none(),
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            proxy=http_proxy_for(Route.BASE),
        )
        self.rest = installed_in(self, rate_limiter=wire.rate_limiter, clock=wire.clock)
        self.http.ws_connect = self._open_socket  # type: ignore[method-assign]
        self._clock = wire.clock
        self.wire, self.desk = wire, desk
        self.listener: Listener | None = None
        self.connected = False
        self._tree = desk.install(self)
        self._synced = False

    async def _open_socket(self, url: str, *, compress: int = 0) -> aiohttp.ClientWebSocketResponse:
        """The gateway's way may be another than REST's: NO_PROXY may name one of the two hosts."""
        http = copy.copy(self.http)
        http.proxy = http_proxy_for(url)
        return await HTTPClient.ws_connect(http, url, compress=compress)

    def _get_state(self, **options: Any) -> State:
        return State(
            dispatch=self.dispatch,
            handlers=self._handlers,
            hooks=self._hooks,
            http=self.http,
            **options,
        )

    async def connect(self, *, reconnect: bool = True) -> None:
        """Serve until closed; raises ConnectionClosed for what connecting again cannot mend."""
        lost = functools.partial(self.dispatch, "disconnect")
        try:
            await Connection(self, self._clock, lost).run()
        except discord.ConnectionClosed as error:
            if error.code == BAD_INTENTS:
                raise discord.PrivilegedIntentsRequired(error.shard_id) from error
            raise

    async def on_message(self, message: discord.Message) -> None:
        """Somebody wrote something."""
        if self.listener is not None:
            await self.listener.message(message)

    async def on_message_changed(self, message: discord.Message) -> None:
        """A message was edited."""
        if self.listener is not None:
            await self.listener.changes.edited(message)

    async def on_message_lost(self, event: str, payload: Any) -> None:
        """A message, or an edit of one, came in a form that cannot be read."""
        if self.listener is not None:
            await self.listener.lost(event, payload)

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        """A message was deleted."""
        if self.listener is not None:
            ids = [payload.message_id]
            await self.listener.changes.deleted(payload.guild_id, payload.channel_id, ids)

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        """Many messages of one channel were deleted at once."""
        if self.listener is not None:
            ids = sorted(payload.message_ids)
            await self.listener.changes.deleted(payload.guild_id, payload.channel_id, ids)

    async def on_raw_thread_delete(self, payload: discord.RawThreadDeleteEvent) -> None:
        """A thread was deleted; ours that came too late holds nothing."""
        if self.listener is not None and str(payload.thread_id) not in self.wire.own_deletions:
            where = payload.guild_id, payload.parent_id, payload.thread_id
            await self.listener.changes.gone(*where)

    async def on_thread_create(self, thread: discord.Thread) -> None:
        """A thread was made."""
        remove_late(self.wire, thread)

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """A channel was deleted, with its threads."""
        if self.listener is not None:
            await self.listener.changes.gone(channel.guild.id, channel.id)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """The bot was removed from a guild."""
        if self.listener is not None:
            await self.listener.changes.gone(guild.id)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """A guild's channels are known: after READY, or after an outage of Discord's."""
        if self.listener is not None:
            self.listener.guild(guild)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """The bot was added to a guild."""
        if self.listener is not None:
            self.listener.guild(guild)

    async def on_connect(self) -> None:
        """A new session: Discord sends what happens from now on."""
        self.connected = True
        log.info("connected to Discord", user=str(self.user))
        if self.listener is not None:
            await self.listener.connected()
        if not self._synced:
            self._synced = True
            self.wire.upkeep.add("registering the commands", partial(self.desk.sync, self._tree))

    async def on_resumed(self) -> None:
        """The session goes on, with everything that was missed."""
        self.connected = True
        log.info("resumed the connection to Discord")

    async def on_disconnect(self) -> None:
        """The connection is lost; the library connects again."""
        if self.connected:
            log.warning("lost the connection to Discord")
        self.connected = False

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """An event's handler failed in an unforeseen way: the boundary of each event's task."""
        log.exception("an event could not be handled", discord_event=event_method)


def intents() -> discord.Intents:
    """Only those that are needed; message content is a privileged one."""
    return discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=True)


async def _log_in(client: discord.Client, token: str, seconds: float) -> None:
    """Log in. Raises LoginFailure for a token that is refused, else a PlatformError."""
    try:
        await attempt(client.login(token), within=seconds)
    except Unsettled as error:
        if isinstance(error.__cause__, discord.LoginFailure):
            raise error.__cause__ from None
        raise


def _closed(error: discord.ConnectionClosed) -> CannotStart:
    if error.code == BAD_TOKEN:
        return CannotStart(f"Discord no longer accepts DISCORD_TOKEN: {TOKEN_ADVICE}")
    return CannotStart(f"Discord closed the connection for good (code {error.code}).")


def _pauses() -> Iterator[float]:
    yield from LOGIN_PAUSES
    while True:
        yield LOGIN_PAUSES[-1]


@contextlib.contextmanager
def _pointed_at(api_url: str | None, gateway_url: str | None) -> Iterator[None]:
    """discord.py's two addresses, which it keeps on its classes, for as long as this lasts."""
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    if api_url is not None:
        Route.BASE = api_url.rstrip("/")
    if gateway_url is not None:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway_url)
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before
