"""Reading a channel's messages: one that discord.py cannot read costs itself, not its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import discord
import structlog

from adapters.discord import rest as w
from adapters.discord.payload_fitting import place_of_error, shape_of
from adapters.discord.rest import RestApi, id_in
from bot.domain.errors import Unsettled
from bot.domain.replies import Priority

log = structlog.stdlib.get_logger(__name__)

READ_AT_ONCE = 100  # documented: the most messages, or archived threads, of one request

NEEDED = ("author", "type", "content", "mentions", "role_mentions", "components")

Place = discord.abc.Messageable


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """What one request gave: the messages that can be read, oldest first.

    `newest` is the last id of all that came, readable or not (0 for none); `full`: there may be
    more behind it.
    """

    messages: tuple[discord.Message, ...]
    newest: int
    full: bool


async def read_page(
    wire: RestApi,
    channel: Place,
    id_: int,
    *,
    after: int | None = None,
    before: int | None = None,
    priority: Priority = Priority.CONTROL,
    within: float | None = None,
) -> HistoryPage:
    """Up to a hundred messages of `channel` (whose id is `id_`). Raises a PlatformError."""
    answer: Any = await wire.ask(
        w.at("history", id_),
        lambda client: client.http.logs_from(id_, READ_AT_ONCE, before=before, after=after),
        priority=priority,
        within=within,
    )
    if not isinstance(answer, list):
        raise Unsettled("a channel's history is no list")
    ids = ((id_in(data), data) for data in answer)
    found = sorted(((int(n), data) for n, data in ids if n), key=lambda entry: entry[0])
    if answer and not found:  # then nothing says how far it was read
        raise Unsettled("a channel's history has no ids")
    client = await wire.client()
    read = (message_of(client, channel, data) for _, data in found)
    newest = found[-1][0] if found else 0
    full = len(answer) >= READ_AT_ONCE and newest > (after or 0)
    return HistoryPage(tuple(m for m in read if m is not None), newest, full)


async def read_message(
    wire: RestApi, channel: Place, id_: int, message: int, *, priority: Priority
) -> discord.Message | None:
    """One message; None when discord.py cannot read it. Raises a PlatformError."""
    data = await read_raw_message(wire, id_, message, priority=priority)
    return message_of(await wire.client(), channel, data)


async def read_raw_message(
    wire: RestApi, channel: int, message: int, *, priority: Priority = Priority.CONTROL
) -> Any:
    """One message as Discord sends it. Raises a PlatformError."""
    return await wire.ask(
        w.at("message", channel),
        lambda client: client.http.get_message(channel, message),
        priority=priority,
    )


def message_of(client: discord.Client, channel: Place, data: Any) -> discord.Message | None:
    """A message from Discord's JSON; None when discord.py cannot read it."""
    try:
        message = client._connection.create_message(channel=channel, data=data)  # type: ignore[arg-type]
        if not all(hasattr(message, name) for name in NEEDED):  # it leaves out what is missing
            raise AttributeError(f"one of {NEEDED} is missing")
        return message
    except Exception as error:  # noqa: BLE001
        # A message's boundary: whatever is odd in it, the others of its page are read.
        error_at, shape = place_of_error(error), shape_of(data)
        log.warning("a message cannot be read", id=id_in(data), error=error_at, shape=shape)
        return None
