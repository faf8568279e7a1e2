"""One reply's Slack thread: reads the bot's messages there, and closes its streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from adapters.slack.api import WebApi
from adapters.slack.blocks import identity
from adapters.slack.rate_limits import STOPS
from adapters.slack.responses import Response
from bot.domain.errors import Gone, PlatformError, Refused

PAGE_SIZE = 1_000  # the most messages that one request returns
# How long checking a post's thread may take, including the wait for the rate limit, in seconds.
CHECK_SECONDS = 5.0


class ReplyThread:
    """The thread under `root`. `since` is the ts of the first question, `user` the bot's id."""

    def __init__(self, *, api: WebApi, channel: str, root: str, since: str, user: str) -> None:
        self.channel, self.root = channel, root
        self._api, self._since, self._user = api, since, user

    async def own_messages(self) -> list[Mapping[str, Any]]:
        """The bot's messages since the first question, oldest first. Raises a PlatformError."""
        found: list[Mapping[str, Any]] = []
        cursor: str | None = None
        while True:
            before = cursor
            response = await self._api.read_paced(
                "conversations.replies",
                channel=self.channel,
                ts=self.root,
                oldest=self._since,
                limit=PAGE_SIZE,
                include_all_metadata=True,
                cursor=cursor,
            )
            found += response.messages()
            cursor = response.next_cursor
            if cursor is None or cursor == before:
                return [message for message in found if message.get("user") == self._user]

    async def is_misplaced(self, ts: str, response: Response) -> bool:
        """Whether a post landed in the channel, as a reply to a deleted message does.

        `response` is from chat.postMessage. Only a message without `thread_ts` can be misplaced,
        but a missing field proves nothing, so the bot reads the thread. If that fails, a message
        without `thread_ts` counts as misplaced, so that no reply appears outside its thread.
        """
        message = response.mapping("message")
        if message.get("thread_ts"):
            return False
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                thread = await self._api.read_paced(
                    "conversations.replies",
                    channel=self.channel,
                    ts=self.root,
                    oldest=ts,
                    inclusive="true",
                    limit=2,
                )
            return bool(message) and ts not in {found["ts"] for found in thread.messages()}
        except Gone:
            return True
        except (PlatformError, TimeoutError):
            return bool(message)

    async def stop_stream(self, ts: str, turn: int, page: int) -> None:
        """Close a stream that an earlier attempt left open, and give it its identity."""
        with contextlib.suppress(Gone, Refused):  # it has ended on its own
            await self._api.write_paced(
                STOPS, channel=self.channel, ts=ts, metadata=identity(turn, page)
            )
