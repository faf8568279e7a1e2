"""The one way to Discord's REST: requests that are paced, limited in time, and fail as ours do.

Whatever an answer looks like, what leaves here is a PlatformError: an answer that discord.py cannot
read leaves its request's outcome unknown, as no answer does. Requests of a reply's pages are paced
by its publisher; all others by `RestApi.ask`.
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

from adapters.discord.background import Upkeep
from adapters.discord.http import GLOBAL, Limited, wait_of
from adapters.discord.payloads import identity
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone, PlatformError, Refused, Throttled, Unsettled
from bot.domain.replies import Limit, Pace, Priority
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox
from bot.ports.platform import RateLimiter

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# Discord publishes none of the first two; what third parties report is that sending and editing
# share 5 per 5 s in a channel (a thread is a channel of its own). The rate limiter spreads
# edits evenly; a final text may use whatever is free.
MESSAGES = Limit(count=5, seconds=5.0)
DELETIONS = Limit(count=5, seconds=1.0)
TYPING = Limit(count=5, seconds=5.0)
# Reading a channel, and one message of it, each: the least that bots' authors report. For every
# other route only the headers of its answers tell how many are left (adapters/discord/http.py).
READS = Limit(count=5, seconds=5.0, pace=Pace.NONE)
# Documented are 50; four of them are left to what discord.py sends for a login or a session, and
# to requests that a busy machine lets arrive closer together than they were sent.
EVERYTHING = Limit(count=46, seconds=1.0, pace=Pace.NONE)
LIMITS = {
    "channel": MESSAGES,
    "delete": DELETIONS,
    "typing": TYPING,
    "history": READS,
    "message": READS,
    GLOBAL: EVERYTHING,
}

UNKNOWN_CHANNEL = 10003
UNKNOWN_MESSAGE = 10008
NO_PERMISSION = 50013
# The codes with which Discord says that a place, a message or a permission is not there (any more).
# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
GONE = frozenset(
    {
        UNKNOWN_CHANNEL,
        10004,  # unknown guild
        UNKNOWN_MESSAGE,
        50001,  # missing access
        50007,  # this person takes no direct messages
        50008,  # no place for text
        NO_PERMISSION,
        50083,  # the thread is archived, or locked
        160005,  # the thread is locked
    }
)
ARCHIVED = 50083
THREAD_EXISTS = 160004
CANNOT_REFER = 160002  # a reply needs the permission to read the history
# With these the place that a thread was to be made in is not there: no reply belongs in it either.
NO_PLACE = frozenset({UNKNOWN_CHANNEL, 10004, UNKNOWN_MESSAGE})

# How long a channel that refused a file is not tried again, in seconds.
FILES_AGAIN = 600.0
# Ids kept of each kind, about 1 MB: far more than can be under way at once.
MOST_REMEMBERED = 10_000
# Documented is 10 MiB for each file where nobody pays for more; a multipart body adds to that.
MOST_FILE_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the adapter waits, in seconds: for answers, by who waits for them, and for retries.

    `thread` is a person who waits for a first sign; `interaction` is Discord's own limit for the
    first response; `again` is the pause before a message that could not be taken in is tried again,
    doubled up to `longest`; `upkeep` the same for background work.
    """

    login: float = 30.0
    answer: float = 15.0
    read: float = 60.0
    thread: float = 4.0
    interaction: float = 3.0
    removal: float = 5.0
    again: float = 15.0
    upkeep: float = 30.0
    longest: float = 600.0


def at(kind: str, major: object = "") -> tuple[str, str]:
    """The budgets of one request: its route's in a channel (or guild), and the account's."""
    return f"{kind}:{major}" if major else kind, GLOBAL


def messages_in(channel: str) -> tuple[str, str]:
    """The budgets of sending or editing one message."""
    return at("channel", channel)


def deletions_in(channel: str) -> tuple[str, str]:
    """The budgets of deleting one message."""
    return at("delete", channel)


def typing_in(channel: str) -> tuple[str, str]:
    """The budgets of one sign of typing."""
    return at("typing", channel)


def limits(scope: str) -> Limit | None:
    """The limit of a scope; None for a scope that only Discord's answers close."""
    return LIMITS.get(scope.partition(":")[0])


async def attempt(request: Awaitable[T], *, within: float | None = None) -> T:
    """The result of a request of discord.py, abandoned after `within` seconds.

    Raises a PlatformError, whatever the answer was.
    """
    try:
        async with asyncio.timeout(within):
            return await request
    except PlatformError:
        raise
    except discord.HTTPException as error:
        raise of_http(error) from error
    except Exception as error:
        # The edge: the network, a session that was closed while we waited, an answer that is no
        # JSON, or KeyError and its like for a field that discord.py misses. None of them says
        # whether the request was carried out.
        said = _said(error)
        log.info("a request to Discord has no readable answer", error=said)
        raise Unsettled(said) from error


def _said(error: Exception) -> str:
    """The network's trouble in its own words; of anything else the type tells more."""
    return str(error) if isinstance(error, OSError) and str(error) else repr(error)


def of_http(error: discord.HTTPException) -> PlatformError:
    """Our error for an answer of Discord's."""
    said = f"{error.status}, {error.code}: {error.text}"
    if isinstance(error, Limited):
        return Throttled(error.retry_after, (error.scope,))
    if error.status == 429:
        return Throttled(wait_of(error.response.headers, {}))
    if error.code in GONE:
        return Gone(said)
    if error.status in (401, 408) or error.status >= 500 or is_page(error):
        return Unsettled(said)  # a token is looked at on its own: adapters/discord/token.py
    return Gone(said) if error.status in (403, 404) else Refused(said)


def is_page(error: discord.HTTPException) -> bool:
    """Whether a refusal is not Discord's own but a page of something in between."""
    kind = error.response.headers.get("Content-Type", "")
    return bool(kind) and not kind.startswith("application/json")


def code_of(error: BaseException) -> int:
    """Discord's own code of a translated error, 0 when there is none."""
    cause = error.__cause__
    return cause.code if isinstance(cause, discord.HTTPException) else 0


class RestApi:
    """What surfaces and commands share while the adapter runs: the client, the budget, the core."""

    def __init__(
        self, *, rate_limiter: RateLimiter, clock: Clock, waits: Waits | None = None
    ) -> None:
        self.rate_limiter, self.clock = rate_limiter, clock
        self.waits = waits or Waits()
        self.inbox: Inbox | None = None
        # Ids we deleted; Discord sends delete events for these too.
        self.own_deletions: LRUCache[str, bool] = LRUCache(MOST_REMEMBERED)
        # Channels that refused a file.
        self.without_files: TTLCache[str, bool] = TTLCache(
            MOST_REMEMBERED, FILES_AGAIN, clock.monotonic
        )
        # Threads whose replies are in the channel: see threads.py.
        self.chained: LRUCache[str, bool] = LRUCache(MOST_REMEMBERED)
        self.upkeep = Upkeep(clock=clock, pause=self.waits.upkeep, longest=self.waits.longest)
        self._client: discord.Client | None = None
        self._logged_in = asyncio.Event()

    def connect(self, client: discord.Client, inbox: Inbox) -> None:
        """`client` has logged in: its REST works from now on."""
        self._client, self.inbox = client, inbox
        self._logged_in.set()

    def disconnect(self) -> None:
        """The client was closed; whoever asks for it waits for the next one."""
        self._client, self.inbox = None, None
        self._logged_in.clear()

    async def client(self) -> discord.Client:
        """The client, as soon as it has logged in; callers limit the wait."""
        while self._client is None:
            await self._logged_in.wait()
        return self._client

    async def known(self, source: str) -> ConversationKey | None:
        """The conversation of a platform message; Unsettled when the core is not there."""
        if self.inbox is None:
            raise Unsettled("the adapter is not running")
        return await self.inbox.conversation_of(source)

    # ── requests ──────────────────────────────────────────────────────────────────────────────
    async def ask(
        self,
        scopes: tuple[str, ...],
        request: Callable[[discord.Client], Awaitable[T]],
        *,
        within: float | None = None,
        priority: Priority = Priority.CONTROL,
    ) -> T:
        """Carry out a request, its wait for the budget included in `within` seconds.

        Without `scopes` its budget is spent already. The rate limiter learns of a 429. Raises
        Throttled immediately if the platform would accept the request only after that time.
        """
        client, seconds = await self.client(), within or self.waits.answer
        closed = [scope for scope in scopes if self.rate_limiter.delay(scope) > seconds]
        if closed:
            raise Throttled(self.rate_limiter.delay(*closed), tuple(closed))

        async def paced() -> T:
            await self.rate_limiter.spend(*scopes, priority=priority)
            return await request(client)

        try:
            return await attempt(paced(), within=seconds)
        except Throttled as error:
            self.rate_limiter.throttled(error.retry_after, *(error.scopes or scopes[:1]))
            self.rate_limiter.refund(*scopes)
            raise

    async def send(self, channel: str, text: str, **parts: Any) -> str:
        """Post a message whose budget is spent; its id. Unsettled when the answer has none.

        Only the id is read: an odd field elsewhere must not make a post look like a failure.
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
            answer = await attempt(client.http.send_message(int(channel), params=params))
        message = id_in(answer)
        if message is None:
            raise Unsettled("a message was posted, and its answer does not say which")
        return message

    async def edit(self, channel: str, message: str, **parts: Any) -> None:
        """Edit a message whose budget is spent; what the answer says does not matter."""
        client = await self.client()
        with handle_message_parameters(
            previous_allowed_mentions=client.allowed_mentions, **parts
        ) as params:
            await attempt(client.http.edit_message(int(channel), int(message), params=params))


def id_in(answer: object) -> str | None:
    """The id of what an answer describes; None when it has none."""
    found = identity(answer, "id")
    return None if found is None else str(found)
