"""The one way to Discord's REST: discord.py's errors become ours, and every 429 is told.

Nothing here waits for a budget or limits a request in time: the pacer and the publisher do.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import TypeVar

import aiohttp
import discord

from adapters.discord.fitting import Unfit
from bot.domain import ConversationKey
from bot.errors import Gone, PlatformError, Refused, Throttled, Unsettled
from bot.frames import Limit
from bot.ports import Clock, Grants, Inbox
from bot.remembered import Lately, Remembered

T = TypeVar("T")

GLOBAL = "global"

# Discord publishes none of the first two; what third parties report is that sending and editing
# share 5 per 5 s in a channel (a thread is a channel of its own). No spacing beyond that: the pacer
# spreads edits evenly by itself, and a final text may use what room there is.
MESSAGES = Limit(count=5, seconds=5.0)
DELETIONS = Limit(count=5, seconds=1.0)
TYPING = Limit(count=5, seconds=5.0)
# Documented are 50; four of them are left to what discord.py sends by itself (a login, a session)
# and to requests that a busy machine lets arrive closer together than they were sent.
EVERYTHING = Limit(count=46, seconds=1.0)

UNKNOWN_MESSAGE = 10008
NO_PERMISSION = 50013
# The codes with which Discord says that a place, a message or a permission is not there (any more).
# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
GONE = frozenset(
    {
        10003,  # unknown channel
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
# With these there can be no thread on a message, though there may be a reply in its channel.
NO_THREAD = frozenset({50001, 50013, 50024, 160006})

# How long a channel that refused a file is not tried again, in seconds.
FILES_AGAIN = 600.0
# Documented is 10 MiB for each file where nobody pays for more; a multipart body adds to that.
MOST_FILE_BYTES = 10_000_000

# What a ban of the whole address lasts when it does not say so, in seconds.
UNKNOWN_WAIT = 60.0

_CHANNEL = re.compile(r"/channels/(\d+)/(messages|typing)(?:/\d+)?$")


def messages_in(channel: str) -> tuple[str, str]:
    """The budgets of sending or editing one message."""
    return f"channel:{channel}", GLOBAL


def deletions_in(channel: str) -> tuple[str, str]:
    """The budgets of deleting one message."""
    return f"delete:{channel}", GLOBAL


def typing_in(channel: str) -> tuple[str, str]:
    """The budgets of one sign of typing."""
    return f"typing:{channel}", GLOBAL


def limits(scope: str) -> Limit | None:
    """The budget of a scope, for the pacer; None for one without a limit of ours."""
    kind = scope.partition(":")[0]
    return {"channel": MESSAGES, "delete": DELETIONS, "typing": TYPING, GLOBAL: EVERYTHING}.get(
        kind
    )


async def translated(request: Awaitable[T]) -> T:
    """The result of a request of discord.py; raises a PlatformError."""
    try:
        return await request
    except discord.HTTPException as error:
        raise of_http(error) from error
    except discord.RateLimited as error:
        raise Throttled(error.retry_after, (GLOBAL,)) from error
    except (OSError, aiohttp.ClientError, TimeoutError, RuntimeError, Unfit) as error:
        # RuntimeError: the session was closed while we waited for a budget. Unfit: a message in
        # the answer cannot be read.
        raise Unsettled(repr(error)) from error


def of_http(error: discord.HTTPException) -> PlatformError:
    """Our error for an answer of Discord's."""
    said = f"{error.status}, {error.code}: {error.text}"
    if error.status == 429:
        return Throttled(_wait(error), (GLOBAL,))
    if error.code in GONE or error.status in (403, 404):
        return Gone(said)
    return Unsettled(said) if error.status >= 500 else Refused(said)


def code_of(error: BaseException) -> int:
    """Discord's own code of a translated error, 0 when there is none."""
    cause = error.__cause__
    return cause.code if isinstance(cause, discord.HTTPException) else 0


def _wait(error: discord.HTTPException) -> float:
    try:
        return float(error.response.headers.get("Retry-After", UNKNOWN_WAIT))
    except ValueError:
        return UNKNOWN_WAIT


def tracing(grants: Grants) -> aiohttp.TraceConfig:
    """Tells the pacer of every 429, also of those that discord.py waits for and repeats itself."""
    trace = aiohttp.TraceConfig()

    async def ended(
        session: aiohttp.ClientSession, context: object, params: aiohttp.TraceRequestEndParams
    ) -> None:
        if params.response.status != 429:
            return
        scopes = throttled_scopes(params.method, params.url.path, params.response.headers)
        if scopes:
            wait = params.response.headers.get("X-RateLimit-Reset-After") or "1"
            grants.throttled(float(params.response.headers.get("Retry-After", wait)), *scopes)

    trace.on_request_end.append(ended)
    return trace


def throttled_scopes(method: str, path: str, headers: object) -> tuple[str, ...]:
    """The budgets that a 429 concerns; none for answers to interactions, which we do not pace."""
    if "X-RateLimit-Global" in headers:  # type: ignore[operator]
        return (GLOBAL,)
    found = _CHANNEL.search(path)
    if found is None:
        return ()
    kind = {"DELETE": "delete"}.get(method, "channel" if found[2] == "messages" else "typing")
    return (f"{kind}:{found[1]}",)


class Wire:
    """What surfaces and commands share while the adapter runs: the client, the budget, the core."""

    def __init__(self, *, grants: Grants, clock: Clock) -> None:
        self.grants, self.clock = grants, clock
        self.inbox: Inbox | None = None
        self.own_deletions = Remembered()  # ids: Discord tells of them as of anybody's
        self.without_files = Lately(FILES_AGAIN, clock)  # channels that refused one
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

    async def channel(self, channel: str) -> discord.PartialMessageable:
        """A channel or thread to send to, whether it is in the cache or not."""
        return (await self.client()).get_partial_messageable(int(channel))

    async def known(self, source: str) -> ConversationKey | None:
        """The conversation of a platform message; Unsettled when the core is not there."""
        if self.inbox is None:
            raise Unsettled("the adapter is not running")
        return await self.inbox.conversation_of(source)
