"""Delivers the file of a command's reply for adapters, and reports the result in one sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from bot.domain import privacy_texts
from bot.domain.errors import NoFile, PlatformError
from bot.domain.inbox import CommandReply

log = structlog.stdlib.get_logger(__name__)

DELIVERY_SECONDS = 25.0
"""Seconds for creating a file and sending it; less than `background_replies.SHOW_SECONDS`."""

Send = Callable[[str, bytes], Awaitable[None]]
"""Sends a file with its name and bytes, visible only to the person. Raises a PlatformError."""


async def deliver(reply: CommandReply, send: Send, *, most: int, sent: str) -> CommandReply:
    """Deliver the reply's file with `send`, and return a reply that says `sent` or why it failed.

    `most` is the largest file that the place accepts, in bytes. A reply without a file is returned
    unchanged. Raises no PlatformError.
    """
    file = reply.file
    if file is None:
        return reply
    is_sent = False
    try:
        async with asyncio.timeout(DELIVERY_SECONDS):
            await send(file.name, await file.build(most))
        is_sent = True
    except NoFile as error:
        return replace(reply, file=None, text=error.sentence)
    except (PlatformError, TimeoutError) as error:
        log.warning("a private file was not sent", error=repr(error))
        return replace(reply, file=None, text=privacy_texts.EXPORT_NOT_SENT)
    finally:
        if not is_sent:  # also if this task is cancelled
            file.lost()
    return replace(reply, file=None, text=sent)
