"""Sends a file to one person, in their direct messages with the bot.

Slack cannot show a file to only one person in a channel. A file becomes visible once its upload is
completed, so a failure before that leaves nothing behind.
"""

from __future__ import annotations

import json
from functools import partial

from adapters.slack.api import WebApi
from adapters.slack.files import MAX_BYTES
from adapters.slack.rate_limits import COMPLETIONS, OPENINGS, UPLOADS
from bot.domain.errors import PlatformError, Unsettled
from bot.domain.inbox import CommandReply
from bot.inbox.private_files import deliver


async def deliver_directly(
    api: WebApi, reply: CommandReply, *, channel: str, user: str, sent: str
) -> CommandReply:
    """Return the reply to a command in `channel`, after sending its file directly to `user`.

    The reply's text is `sent`, or says why there is no file: see `bot.inbox.private_files`.
    """
    send = partial(_send, api, channel, user, reply.text)
    return await deliver(reply, send, most=MAX_BYTES, sent=sent)


async def _send(api: WebApi, channel: str, user: str, comment: str, name: str, data: bytes) -> None:
    """Send the file. Raises a PlatformError."""
    place = await _find_place(api, channel, user)
    response = await api.write_form_paced(UPLOADS, filename=name, length=len(data))
    url, file = response.text("upload_url"), response.text("file_id")
    await api.upload(url, data)
    await api.write_form_paced(
        COMPLETIONS,
        files=json.dumps([{"id": file, "title": name}]),
        channel_id=place,
        initial_comment=comment,
    )


async def _find_place(api: WebApi, channel: str, user: str) -> str:
    """Find the bot's direct message channel with a person.

    The command's own channel may be a direct message between two people without the bot, and its id
    does not show that. So Slack is asked; if that fails, the command's channel is used.
    """
    try:
        return await _open(api, user)
    except PlatformError:
        if not channel.startswith("D"):
            raise
        return channel


async def _open(api: WebApi, user: str) -> str:
    """Open the direct message channel with a person: an upload does not accept a person's id."""
    response = await api.write_paced(OPENINGS, users=user)
    channel = response.mapping("channel").get("id")
    if not isinstance(channel, str) or not channel.startswith("D"):
        raise Unsettled(f"Slack's response has no direct messages: {channel!r:.80}")
    return channel
