"""Reads messages through REST; one that discord.py cannot parse does not affect the rest of its
page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import discord
import structlog

from adapters.discord.payload_validation import error_location, outline
from adapters.discord.payloads import read_id
from adapters.discord.rest import RestApi, id_in, request_scopes
from bot.domain.errors import Unsettled
from bot.domain.replies import Priority

log = structlog.stdlib.get_logger(__name__)

PAGE_SIZE = 100  # documented: the most messages, or archived threads, per request

# What the bot reads of every message; discord.py omits attributes that the payload lacks.
NEEDED = ("author", "type", "content", "mentions", "role_mentions", "components")


@dataclass(frozen=True, slots=True)
class MessagePage:
    """The result of one request: the messages that can be parsed, oldest first.

    `newest` is the highest id in the response, parsed or not (0 if it is empty); if `full`, more
    messages may follow it.
    """

    messages: tuple[discord.Message, ...]
    newest: int
    full: bool


async def read_page(
    rest: RestApi,
    channel: discord.abc.Messageable,
    channel_id: int,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int = PAGE_SIZE,
    priority: Priority = Priority.CONTROL,
    within: float | None = None,
) -> MessagePage:
    """Read up to `limit` messages between two ids, in at most `within` seconds.

    Raises a PlatformError.
    """
    if after is not None:
        after = max(after, 1)  # discord.py would leave out a 0, and Discord return the newest page
    response: Any = await rest.request(
        request_scopes("history", channel_id),
        lambda client: client.http.logs_from(channel_id, limit, before=before, after=after),
        priority=priority,
        within=within,
    )
    if not isinstance(response, list):
        raise Unsettled("a channel's history is not a list")
    ids = ((id_in(data), data) for data in response if _is_in(channel_id, data))
    found = sorted(((int(n), data) for n, data in ids if n), key=lambda entry: entry[0])
    if response and not found:  # the page does not say how far it reaches
        raise Unsettled("a channel's history has no ids")
    client = await rest.client()
    parsed = (parse_message(client, channel, data) for _, data in found)
    newest = found[-1][0] if found else 0
    full = len(response) >= limit and newest > (after or 0)
    return MessagePage(tuple(m for m in parsed if m is not None), newest, full)


async def read_raw_message(
    rest: RestApi, channel_id: int, message: int, *, priority: Priority = Priority.CONTROL
) -> Any:
    """Fetch one message as JSON. Raises a PlatformError."""
    raw: Any = await rest.request(
        request_scopes("message", channel_id),
        lambda client: client.http.get_message(channel_id, message),
        priority=priority,
    )
    if read_id(raw, "id") not in (None, message) or not _is_in(channel_id, raw):
        raise Unsettled("the response is another message")
    return raw


def _is_in(channel_id: int, raw: Any) -> bool:
    """Whether a message is from this channel, as far as it says."""
    return read_id(raw, "channel_id") in (None, channel_id)


def parse_message(
    client: discord.Client, channel: discord.abc.Messageable, data: Any
) -> discord.Message | None:
    """A message from Discord's JSON; None if discord.py cannot parse it."""
    try:
        message = client._connection.create_message(channel=channel, data=data)  # type: ignore[arg-type]
        if not all(hasattr(message, name) for name in NEEDED):
            raise AttributeError(f"one of {NEEDED} is missing")
        return message
    except Exception as error:  # noqa: BLE001 - the boundary of each message of a page
        error_at, shape = error_location(error), outline(data)
        log.warning("a message cannot be parsed", id=id_in(data), error=error_at, shape=shape)
        return None
