"""Discord's REST API: requests are rate limited, time out, and fail with a PlatformError.

The publisher paces the requests for a reply's pages; `RestApi.request` paces all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import discord
import structlog
from cachetools import LRUCache, TTLCache
from discord.http import handle_message_parameters
from discord.utils import MISSING

from adapters.discord.background import BackgroundTasks
from adapters.discord.errors import attempt
from adapters.discord.http import GLOBAL
from adapters.discord.payloads import read_id
from bot.catchup.backfill_queue import USUAL_PAUSES, ReadPauses
from bot.catchup.leftovers import Leftovers
from bot.common.retry import Backoff
from bot.domain.conversations import ConversationKey
from bot.domain.errors import (
    Throttled,
    Unsettled,
)
from bot.domain.replies import Limit, Pace, Priority
from bot.ports.clock import Clock
from bot.ports.inbox import CommandInbox
from bot.ports.platform import RateLimiter

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# Discord does not publish the first three. Third parties report 5 messages per 5 s in a channel or
# thread, shared by posts and edits. They need no minimum interval: the rate limiter spreads edits
# evenly, and a reply's final text may use the rest of the window.
MESSAGES = Limit(count=5, seconds=5.0)
DELETIONS = Limit(count=5, seconds=1.0)
TYPING = Limit(count=5, seconds=5.0)
# Reading a channel's history, and one message of it: the lowest limits that bot authors report. For
# every other route only the response headers reveal the limit (adapters/discord/http.py).
READS = Limit(count=5, seconds=5.0, pace=Pace.NONE)
# Documented: 50. Four are reserved for discord.py's own requests at login and for a new session,
# and for requests that arrive closer together than they were sent.
EVERYTHING = Limit(count=46, seconds=1.0, pace=Pace.NONE, divided=True)
# People whom the bot writes to for the first time. Discord quarantines bots that write to 25 to 40
# new people within a short time: see docs/platform-facts-discord.md.
NEW_DIRECT_MESSAGES = Limit(count=10, seconds=3_600.0, pace=Pace.NONE, divided=True)
LIMITS = {
    "open-dm": NEW_DIRECT_MESSAGES,
    "channel": MESSAGES,
    "delete": DELETIONS,
    "typing": TYPING,
    "history": READS,
    "message": READS,
    GLOBAL: EVERYTHING,
}

# How long a channel that refused a file gets none, in seconds.
NO_FILES_SECONDS = 600.0
# Ids cached of each kind, about 1 MB: far more than are in use at the same time.
MAX_CACHED_IDS = 10_000
# Documented: 10 MiB per file without a subscription; this leaves room for the multipart body.
MAX_FILE_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits for requests by purpose, and pauses between retries, in seconds.

    `thread` limits creating a thread, while a person waits for a first sign; `interaction` is
    Discord's documented limit for the first response. `again` is the first pause before accepting a
    failed message again, `background` the first one before retrying background work; both double up
    to `longest`. `lookup` limits an answer about a person or a guild: decisions give up earlier.
    `reads` are the pauses during backfill. `download` limits a file download: 20 MB at 330 kB/s.
    """

    login: float = 30.0
    answer: float = 15.0
    read: float = 60.0
    thread: float = 4.0
    interaction: float = 3.0
    removal: float = 5.0
    again: float = 15.0
    background: float = 2.0
    longest: float = 600.0
    download: float = 60.0
    lookup: float = 5.0
    reads: ReadPauses = USUAL_PAUSES


def request_scopes(route: str, major: object = "") -> tuple[str, str]:
    """A request's rate limits: for its route in a channel or guild, and for the account."""
    return f"{route}:{major}" if major else route, GLOBAL


def message_scopes(channel: str) -> tuple[str, str]:
    """The rate limits for posting or editing a message."""
    return request_scopes("channel", channel)


def deletion_scopes(channel: str) -> tuple[str, str]:
    """The rate limits for deleting a message."""
    return request_scopes("delete", channel)


def typing_scopes(channel: str) -> tuple[str, str]:
    """The rate limits for showing the typing indicator."""
    return request_scopes("typing", channel)


def limits(scope: str) -> Limit | None:
    """A scope's limit; None if it is known only from Discord's response headers."""
    return LIMITS.get(scope.partition(":")[0])


class RestApi:
    """Requests, and the state that the running adapter's parts share."""

    def __init__(
        self, *, rate_limiter: RateLimiter, clock: Clock, timeouts: Timeouts | None = None
    ) -> None:
        self.rate_limiter, self.clock = rate_limiter, clock
        self.timeouts = timeouts or Timeouts()
        self.inbox: CommandInbox | None = None
        # Ids we deleted; Discord sends delete events for these too.
        self.own_deletions: LRUCache[str, bool] = LRUCache(MAX_CACHED_IDS)
        # Channels that refused a file.
        self.without_files: TTLCache[str, bool] = TTLCache(
            MAX_CACHED_IDS, NO_FILES_SECONDS, clock.monotonic
        )
        # The conversations of replies to commands, which are not pages in the ledger.
        self.command_replies: LRUCache[str, ConversationKey] = LRUCache(MAX_CACHED_IDS)
        # Threads whose replies went to the channel instead: see threads.py.
        self.abandoned_threads: LRUCache[str, bool] = LRUCache(MAX_CACHED_IDS)
        backoff = Backoff(self.timeouts.background, self.timeouts.longest)
        self.background = BackgroundTasks(clock=clock, backoff=backoff)
        # When each shard's events ended, in monotonic seconds; none while they arrive.
        self.shards_lost: dict[int, float] = {}
        self.shard_count = 1
        self.shards_held: set[int] = set()
        self._leftovers: Leftovers | None = None
        self._client: discord.Client | None = None
        self._logged_in = asyncio.Event()

    def connect(self, client: discord.Client, inbox: CommandInbox | None) -> None:
        """Use `client`, which has logged in, until `disconnect`; without an inbox, for checks
        only."""
        self._client, self.inbox = client, inbox
        self.shards_lost.clear()
        self._logged_in.set()

    def disconnect(self) -> None:
        """Forget the closed client; requests wait for the next one."""
        self._client, self.inbox = None, None
        self._logged_in.clear()

    def use_leftovers(self, leftovers: Leftovers | None) -> None:
        """Record in `leftovers` what cannot be removed; None while the adapter is not running."""
        self._leftovers = leftovers

    @property
    def leftovers(self) -> Leftovers:
        """The leftovers of this account. Raises Unsettled while the adapter is not running."""
        if self._leftovers is None:
            raise Unsettled("the adapter is not running")
        return self._leftovers

    async def client(self) -> discord.Client:
        """The client, once it has logged in; callers limit the wait."""
        while self._client is None:
            await self._logged_in.wait()
        return self._client

    async def conversation_of(self, source: str) -> ConversationKey | None:
        """The conversation of a platform message; Unsettled while the adapter is not running."""
        if self.inbox is None:
            raise Unsettled("the adapter is not running")
        return await self.inbox.conversation_of(source)

    def shard_of(self, guild: object) -> int:
        """The shard of a guild, by its id; direct messages belong to the first one.

        https://docs.discord.com/developers/events/gateway#sharding
        """
        return (int(guild) >> 22) % self.shard_count if str(guild).isdecimal() else 0  # type: ignore[call-overload]

    def holds(self, guild: object) -> bool:
        """Whether this process holds the guild's shard, so that its events arrive here."""
        return self.shard_of(guild) in self.shards_held

    @property
    def holds_all(self) -> bool:
        """Whether the events of all guilds arrive here."""
        return len(self.shards_held) == self.shard_count

    def events_lost(self, guild: int) -> float | None:
        """When a guild's events stopped arriving, in monotonic seconds; None while they arrive."""
        return self.shards_lost.get(self.shard_of(guild))

    # ── requests ──────────────────────────────────────────────────────────────────────────────
    async def request(
        self,
        scopes: tuple[str, ...],
        send: Callable[[discord.Client], Awaitable[T]],
        *,
        within: float | None = None,
        priority: Priority = Priority.CONTROL,
    ) -> T:
        """Send a request within `within` seconds, including the wait for the rate limits in
        `scopes`.

        Without `scopes`, the caller has already acquired them. Reports a 429 to the rate limiter.
        Raises Throttled immediately if a scope stays blocked for longer than `within`.
        """
        client, seconds = await self.client(), within or self.timeouts.answer
        blocked = [scope for scope in scopes if self.rate_limiter.delay(scope) > seconds]
        if blocked:
            raise Throttled(self.rate_limiter.delay(*blocked), tuple(blocked))

        async def send_paced() -> T:
            await self.rate_limiter.spend(*scopes, priority=priority)
            return await send(client)

        try:
            return await attempt(send_paced(), within=seconds)
        except Throttled as error:
            self.rate_limiter.throttled(error.retry_after, *(error.scopes or scopes[:1]))
            self.rate_limiter.refund(*scopes)
            raise

    async def send(self, channel: str, text: str, **parts: Any) -> str:
        """Post a message and return its id; the caller has acquired its scopes.

        Reads only the id from the response, so an invalid field elsewhere does not matter. Raises
        Unsettled if there is no id.
        """
        client = await self.client()
        reference = parts.pop("reference", None)
        flags = discord.MessageFlags()
        flags.suppress_embeds = True
        with handle_message_parameters(
            content=text,
            flags=flags,
            message_reference=reference.to_message_reference_dict() if reference else MISSING,
            previous_allowed_mentions=client.allowed_mentions,
            mention_author=False,
            **parts,
        ) as params:
            response = await attempt(client.http.send_message(int(channel), params=params))
        message = id_in(response)
        if message is None:
            raise Unsettled("the response to a posted message has no id")
        return message

    async def edit(self, channel: str, message: str, **parts: Any) -> None:
        """Edit a message and ignore the response; the caller has acquired its scopes."""
        client = await self.client()
        with handle_message_parameters(
            previous_allowed_mentions=client.allowed_mentions, **parts
        ) as params:
            await attempt(client.http.edit_message(int(channel), int(message), params=params))


def id_in(response: object) -> str | None:
    """The `id` field of a response's object; None if it has none."""
    found = read_id(response, "id")
    return None if found is None else str(found)
