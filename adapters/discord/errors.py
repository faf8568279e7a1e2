"""Translates Discord's errors to PlatformErrors.

A response that discord.py cannot parse becomes Unsettled, like a missing response: Discord may have
executed the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import discord
import structlog

from adapters.discord.http import TooManyRequests, retry_after_in
from bot.domain.attachments import Omission
from bot.domain.errors import (
    AttachmentError,
    Gone,
    PlatformError,
    Refused,
    Throttled,
    Unsettled,
)

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
UNKNOWN_CHANNEL = "10003"
UNKNOWN_GUILD = "10004"
UNKNOWN_MEMBER = "10007"
UNKNOWN_MESSAGE = "10008"
UNKNOWN_USER = "10013"
NO_ACCESS = "50001"
NO_PERMISSION = "50013"
ARCHIVED = "50083"  # the thread is archived, or locked
CANNOT_REFER = "160002"  # replying needs the permission to read the message history
THREAD_EXISTS = "160004"
# A channel, message or permission is missing.
GONE = frozenset(
    {
        *(UNKNOWN_CHANNEL, UNKNOWN_GUILD, UNKNOWN_MESSAGE, NO_ACCESS, NO_PERMISSION, ARCHIVED),
        "50007",  # the user accepts no direct messages
        "50008",  # the channel takes no text messages
        "50278",  # the user shares no server with the bot
        "30033",  # the thread has 1,000 members, and the bot is none of them
        "160005",  # the thread is locked
    }
)
# Discord fails to execute the request now, whatever the status: reports name 403 for the first one,
# on many routes during outages. The second: overloaded.
TEMPORARY = frozenset({"40333", "130000"})
# The channel or message for a new thread is missing, so a reply cannot be shown in the channel
# either.
NO_PLACE = frozenset({UNKNOWN_CHANNEL, UNKNOWN_GUILD, UNKNOWN_MESSAGE})
# The wait before a failed download is worth another attempt, in seconds.
RETRY_SECONDS = 5.0


async def attempt(request: Awaitable[T], *, within: float | None = None) -> T:
    """Await discord.py's request for at most `within` seconds and return its result.

    Raises only PlatformErrors.
    """
    try:
        async with asyncio.timeout(within):
            return await request
    except PlatformError:
        raise
    except discord.HTTPException as error:
        raise translate_error(error) from error
    except Exception as error:
        # The edge: a network error, a session closed in the meantime, a response that is not JSON
        # or lacks a field that discord.py reads (KeyError and the like). None of them reveals
        # whether Discord executed the request.
        description = _describe(error)
        log.info("no readable response to a request to Discord", error=description)
        raise Unsettled(description) from error


def _describe(error: Exception) -> str:
    """An OSError's message; any other error's type and message."""
    return str(error) if isinstance(error, OSError) and str(error) else repr(error)


def translate_error(error: discord.HTTPException) -> PlatformError:
    """The PlatformError for an error response."""
    description, code = f"{error.status}, {error.code}: {error.text}", str(error.code or "")
    if isinstance(error, TooManyRequests):
        return Throttled(error.retry_after, (error.scope,))
    if error.status == 429:
        return Throttled(retry_after_in(error.response.headers, {}))
    if code in GONE:
        return Gone(description, code=code)
    if error.status == 413:  # also from a proxy: the request stays too large
        return Refused(description, code=code)
    # A 401 is no refusal of this request: TokenWatch checks the token.
    is_temporary = error.status in (401, 408) or error.status >= 500 or code in TEMPORARY
    if is_temporary or is_foreign(error):
        return Unsettled(description, code=code)
    return (Gone if error.status in (403, 404) else Refused)(description, code=code)


def is_foreign(error: discord.HTTPException) -> bool:
    """Whether a proxy sent an error response: Discord's are JSON with a code and a message."""
    kind = error.response.headers.get("Content-Type", "")
    return not kind.startswith("application/json") or not (error.code or error.text)


def as_attachment_error(error: PlatformError) -> AttachmentError:
    """The AttachmentError for a failed request for a file or a linked message."""
    if isinstance(error, Gone):
        reason = Omission.GONE if error.code in NO_PLACE else Omission.NO_ACCESS
        return AttachmentError(reason, str(error))
    if isinstance(error, Refused):
        return AttachmentError(Omission.UNREACHABLE, str(error))
    wait = error.retry_after if isinstance(error, Throttled) else RETRY_SECONDS
    return AttachmentError(Omission.UNREACHABLE, str(error), retry_after=wait)
