"""Removes a page's message now if possible; otherwise empties it now and deletes it later.

The end of a turn never waits for a removal. A later deletion is recorded first: if the process
dies, `bot.catchup.leftovers` deletes the message.
"""

from __future__ import annotations

import structlog

from adapters.discord.errors import ARCHIVED, UNKNOWN_MESSAGE, attempt
from adapters.discord.rest import RestApi, deletion_scopes, request_scopes
from bot.domain import texts
from bot.domain.errors import Gone, PlatformError, Refused, Throttled
from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.replies import Priority

log = structlog.stdlib.get_logger(__name__)


async def remove_message(rest: RestApi, conversation: int, channel: str, message: str) -> None:
    """Remove a message of a conversation, whose scopes the caller has acquired.

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
            leftover = Leftover(conversation, LeftoverKind.MESSAGE, channel, message)
            leftovers = rest.leftovers
            try:
                await leftovers.record(leftover)
                await _empty(rest, channel, message)
            finally:  # also if the reply waits no longer
                _delete_later(rest, leftover)


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


def _delete_later(rest: RestApi, leftover: Leftover) -> None:
    async def delete() -> None:
        try:
            await delete_left(rest, leftover)
        except (Gone, Refused) as error:
            log.warning("a page stays", message=leftover.name, error=str(error))
        await rest.leftovers.settle(leftover)

    if not rest.background.add(f"removing the message {leftover.name}", delete):
        rest.leftovers.release(leftover)


async def delete_left(rest: RestApi, leftover: Leftover) -> None:
    """Delete a page's message if it still exists. Raises a PlatformError."""
    try:
        try:
            await _send_left(rest, leftover)
        except Gone as error:
            if error.code != ARCHIVED:
                raise
            await unarchive(rest, leftover.channel, Priority.BACKGROUND)
            await _send_left(rest, leftover)
    except Gone as error:
        if error.code != UNKNOWN_MESSAGE:
            raise


async def _send_left(rest: RestApi, leftover: Leftover) -> None:
    rest.own_deletions[leftover.name] = True
    await rest.request(
        deletion_scopes(leftover.channel),
        lambda client: client.http.delete_message(int(leftover.channel), int(leftover.name)),
        priority=Priority.BACKGROUND,
    )


async def unarchive(rest: RestApi, thread: str, priority: Priority) -> None:
    """Unarchive a thread. Raises a PlatformError; Gone if it is locked."""
    await rest.request(
        request_scopes("edit-channel", thread),
        lambda client: client.http.edit_channel(int(thread), archived=False),
        priority=priority,
    )
