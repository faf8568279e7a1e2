"""Removing a page's message: now if possible, otherwise emptied now and deleted later.

The end of a turn never waits for a removal.
"""

from __future__ import annotations

import contextlib

import structlog

from adapters.discord.errors import ARCHIVED, UNKNOWN_MESSAGE, attempt
from adapters.discord.rest import RestApi, deletion_scopes
from bot.domain import texts
from bot.domain.errors import Gone, PlatformError, Throttled
from bot.domain.replies import Priority

log = structlog.stdlib.get_logger(__name__)


async def remove_message(rest: RestApi, channel: str, message: str) -> None:
    """Remove a message, whose scopes the caller has acquired.

    Raises a PlatformError only if the thread is archived.
    """
    rest.own_deletions[message] = True
    try:
        await _delete(rest, channel, message)
    except PlatformError as error:
        if error.code == ARCHIVED:
            raise
        if error.code != UNKNOWN_MESSAGE:  # otherwise a person deleted it
            log.warning("a page will be removed later", message=message, error=str(error))
            await _empty(rest, channel, message)
            _delete_later(rest, channel, message)


async def _delete(rest: RestApi, channel: str, message: str) -> None:
    scopes, seconds = deletion_scopes(channel), rest.timeouts.removal
    blocked = rest.rate_limiter.delay(*scopes)
    if blocked > seconds:
        raise Throttled(blocked, scopes[:1])
    await rest.request(
        (), lambda client: client.http.delete_message(int(channel), int(message)), within=seconds
    )


async def _empty(rest: RestApi, channel: str, message: str) -> None:
    edit = rest.edit(channel, message, content=texts.REMOVED, view=None, attachments=[])
    try:
        await attempt(edit, within=rest.timeouts.removal)
    except PlatformError as error:
        log.info("a page to be removed is still visible", error=str(error))


def _delete_later(rest: RestApi, channel: str, message: str) -> None:
    async def delete() -> None:
        with contextlib.suppress(Gone):  # a person deleted it
            await rest.request(
                deletion_scopes(channel),
                lambda client: client.http.delete_message(int(channel), int(message)),
                priority=Priority.BACKGROUND,
            )

    rest.background.add(f"removing the message {message}", delete)
