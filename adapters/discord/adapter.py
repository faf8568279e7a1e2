"""The Discord adapter: connects Discord's gateway and REST API to the core."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import discord
from discord.gateway import DiscordWebSocket
from discord.http import Route

from adapters.discord import page_removal, permalinks, threads
from adapters.discord.access import AllowedGuilds
from adapters.discord.backfill import LAG
from adapters.discord.backlog import read_backlog
from adapters.discord.buttons import choice_view
from adapters.discord.channels import DIRECT_MESSAGES, PLATFORM
from adapters.discord.client import ThreadlineClient, intents, server_urls, silence_voice_warnings
from adapters.discord.client_runner import ClientRunner
from adapters.discord.directory import DiscordDirectory
from adapters.discord.doctor import Doctor
from adapters.discord.downloads import Downloader
from adapters.discord.errors import RETRY_SECONDS, as_attachment_error, attempt
from adapters.discord.http import install_http
from adapters.discord.interactions import DiscordInteractionHandler
from adapters.discord.listeners import MessageListener
from adapters.discord.members import Members
from adapters.discord.private_notices import PrivateNotices
from adapters.discord.render import DiscordRenderer, clip
from adapters.discord.rest import MAX_FILE_BYTES, RestApi, Timeouts, limits, message_scopes
from adapters.discord.surface import DiscordSurface
from bot.catchup.leftovers import Leftovers
from bot.catchup.watermark_saver import WatermarkSaver
from bot.common import proxies
from bot.common.local_cluster import LocalCluster
from bot.common.proxies import http_proxy_for
from bot.domain import privacy_texts
from bot.domain.attachments import Download, Omission
from bot.domain.conversations import ConversationKey
from bot.domain.errors import AttachmentError, CannotStart, Unsettled
from bot.domain.health import Finding, Health, Verdict
from bot.domain.inbox import CommandReply, Incoming
from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.operation import RateReport
from bot.domain.replies import FileRules
from bot.domain.turns import Claim
from bot.inbox.private_files import deliver
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster
from bot.ports.inbox import Inbox
from bot.ports.model import ModelCatalog
from bot.ports.platform import RateLimiter, Surface
from bot.ports.policy import Directory
from bot.replies.ratelimit.limiter import AccountRateLimiter


class DiscordAdapter:
    """`bot.ports.platform.Adapter` for one Discord account.

    `models` are offered by /model. `rate_limiter` is the account's, by default a new one
    with Discord's limits. `api_url` and `gateway_url` name a compatible server. Code that would
    fill `file_from_messages` messages or more is uploaded as a file (0: never). `guilds` are the
    ids of the guilds that may use the bot (empty: all). The processes of `cluster` divide `shards`
    among themselves; None: as many as Discord recommends.
    """

    def __init__(
        self,
        *,
        token: str,
        clock: Clock,
        api_url: str | None = None,
        gateway_url: str | None = None,
        models: ModelCatalog,
        rate_limiter: RateLimiter | None = None,
        file_from_messages: int = 0,
        guilds: frozenset[str] = frozenset(),
        timeouts: Timeouts | None = None,
        cluster: Cluster | None = None,
        shards: int | None = 1,
    ) -> None:
        self._token, self._models, self._shards = token, models, shards
        self._cluster: Cluster = cluster or LocalCluster()
        self._files = FileRules.from_setting(file_from_messages, MAX_FILE_BYTES)
        self._api_url, self._gateway_url = api_url, gateway_url
        self._clock, self._renderer = clock, DiscordRenderer()
        self._rest = RestApi(
            rate_limiter=rate_limiter or _account_limiter(clock, self._cluster),
            clock=clock,
            timeouts=timeouts,
        )
        self._downloader = Downloader(rest=self._rest, api_url=api_url)
        self._guilds = AllowedGuilds(rest=self._rest, ids=guilds)
        self._links = permalinks.LinkedMessages(self._rest, self._guilds)
        self._members = Members(self._rest)
        self._notices = PrivateNotices(rest=self._rest, renderer=self._renderer)
        self._directory = DiscordDirectory(
            rest=self._rest,
            guilds=self._guilds,
            members=self._members,
            notices=self._notices,
            connect=self._connect_for_checks,
        )
        self._runner = ClientRunner(
            token=token, rest=self._rest, cluster=self._cluster, shards=shards
        )

    @property
    def name(self) -> str:
        """`discord`."""
        return PLATFORM

    @property
    def directory(self) -> Directory:
        """What the platform knows about people and places."""
        return self._directory

    # ── serving ───────────────────────────────────────────────────────────────────────────────
    async def run(self, inbox: Inbox) -> None:
        """Serve until cancelled. Raises CannotStart with advice."""
        watermarks = WatermarkSaver(platform=PLATFORM, lag=LAG, inbox=inbox, clock=self._clock)
        leftovers = Leftovers(
            platform=PLATFORM,
            inbox=inbox,
            clock=self._clock,
            remove=self._remove,
            alone=lambda: self._cluster.exclusively(f"{PLATFORM} leftovers"),
        )
        self._rest.use_leftovers(leftovers)
        try:
            with server_urls(self._api_url, self._gateway_url):
                async with leftovers.running():
                    await self._runner.run(
                        inbox,
                        make_client=self._make_client,
                        make_listener=lambda: self._make_listener(inbox, watermarks),
                    )
        finally:
            await self._rest.background.aclose()
            self._rest.use_leftovers(None)
            await self._directory.aclose()
            await watermarks.aclose()

    def _make_client(self) -> ThreadlineClient:
        handler = DiscordInteractionHandler(
            rest=self._rest, renderer=self._renderer, guilds=self._guilds, models=self._models
        )
        return ThreadlineClient(
            rest=self._rest, handler=handler, members=self._members, cluster=self._cluster
        )

    def _make_listener(self, inbox: Inbox, watermarks: WatermarkSaver) -> MessageListener:
        return MessageListener(
            rest=self._rest, inbox=inbox, say=self.say, watermarks=watermarks, guilds=self._guilds
        )

    async def _remove(self, leftover: Leftover) -> None:
        """See `bot.catchup.leftovers`."""
        if leftover.kind is LeftoverKind.THREAD:
            await threads.delete_left(self._rest, leftover)
        else:
            await page_removal.delete_left(self._rest, leftover)

    def health(self) -> Health:
        """Whether every shard that this process holds is connected; True if it holds none."""
        return self._runner.health()

    def rate_reports(self) -> Sequence[RateReport]:
        """The state of the account's rate limiter, for metrics."""
        limiter = self._rest.rate_limiter
        return (limiter.report(),) if isinstance(limiter, AccountRateLimiter) else ()

    # ── replying ──────────────────────────────────────────────────────────────────────────────
    def surface(self, claim: Claim) -> Surface:
        """A surface for a turn's reply."""
        return DiscordSurface(
            claim=claim, rest=self._rest, renderer=self._renderer, rules=self._files
        )

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """Up to a hundred earlier messages from the thread, or other bots' posts above this one in
        the channel, oldest first."""
        client = self._runner.client
        if client is None or client.listener is None:
            return ()
        if incoming.stands_alone:
            return await client.listener.posts.above(incoming)
        return await read_backlog(self._rest, incoming)

    def is_own_link(self, url: str) -> bool:
        """See `Adapter.is_own_link`."""
        return permalinks.is_permalink(url)

    async def download(
        self, key: ConversationKey, locator: Mapping[str, str], *, limit: int
    ) -> Download:
        """See `Adapter.download`; the attachment's own locator says where it is."""
        if self._runner.client is None:
            raise as_attachment_error(Unsettled("the adapter is not running"))
        try:
            async with asyncio.timeout(self._rest.timeouts.download):
                if permalinks.is_link(locator):
                    return await self._links.read(locator)
                return await self._downloader.download(locator, limit=limit)
        except TimeoutError as error:
            raise AttachmentError(Omission.TIMED_OUT, retry_after=RETRY_SECONDS) from error

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Reply to the message that contained the command.

        Refusals are visible only to the author, and files are sent to the author as direct
        messages.
        """
        is_direct = incoming.key.workspace == DIRECT_MESSAGES
        send = partial(self._notices.send_file, incoming.key, incoming.author, answer.text)
        sent = "" if is_direct else privacy_texts.EXPORT_IN_DM
        answer = await deliver(answer, send, most=MAX_FILE_BYTES, sent=sent)
        if not answer.text:
            return
        if answer.refused:
            await self._directory.tell(incoming.key, incoming.author, answer.text)
            return
        reference = discord.MessageReference(
            message_id=int(incoming.message_id),
            channel_id=int(incoming.channel),
            fail_if_not_exists=False,
        )
        text, view = clip(self._renderer, answer.text), choice_view(answer.choices)
        sent = await self._rest.request(
            message_scopes(incoming.channel),
            lambda _: self._rest.send(incoming.channel, text, reference=reference, view=view),
        )
        self._rest.command_replies[str(sent)] = incoming.key

    # ── checking ──────────────────────────────────────────────────────────────────────────────
    async def check(self) -> Sequence[Finding]:
        """Check the token, the intent, the permissions in guilds, the commands and the proxies."""
        with server_urls(self._api_url, self._gateway_url):
            proxied = [
                proxies.check_route("Discord", Route.BASE),
                proxies.check_route("Discord gateway", str(DiscordWebSocket.DEFAULT_GATEWAY)),
            ]
            try:
                doctor = Doctor(
                    token=self._token, make_client=self._client_for_checks, shards=self._shards
                )
                return [*await doctor.findings(), *proxied]
            except CannotStart as error:
                return [Finding("Discord", Verdict.FAILED, str(error)), *proxied]

    @asynccontextmanager
    async def _connect_for_checks(self) -> AsyncIterator[None]:
        """Log in without the gateway. Raises a PlatformError."""
        with server_urls(self._api_url, self._gateway_url):
            async with self._client_for_checks() as client:
                await attempt(client.login(self._token), within=self._rest.timeouts.login)
                self._rest.connect(client, None)
                try:
                    yield
                finally:
                    self._rest.disconnect()

    def _client_for_checks(self) -> discord.Client:
        silence_voice_warnings()
        client = discord.Client(intents=intents(), proxy=http_proxy_for(Route.BASE))
        install_http(client, rate_limiter=self._rest.rate_limiter, clock=self._clock)
        return client


def _account_limiter(clock: Clock, cluster: Cluster) -> RateLimiter:
    """The limits of the account, which the processes of the bot divide."""
    return AccountRateLimiter(limits, clock, members=lambda: cluster.members)
