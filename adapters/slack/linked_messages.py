"""Reads messages that people link to, with the asker's rights.

Invariant: the bot never shows anyone a message that they could not open in Slack. A member of the
workspace may open its public channels. Guests and people from other workspaces may open only
channels that they are in, and the same goes for everyone in private ones. What the bot itself
cannot read stays unread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from adapters.slack import content, payloads
from adapters.slack.attachments import file_name, files_in
from adapters.slack.downloads import RETRY_SECONDS, translate
from adapters.slack.facts import MAX_MEMBERS, MAX_PAGES, kind_of, name_of
from adapters.slack.payloads import Payload
from adapters.slack.permalinks import MARKDOWN, Permalink
from adapters.slack.workspace import Workspace, is_tombstone
from bot.domain.attachments import Download, Omission
from bot.domain.errors import AttachmentError, PlatformError
from bot.domain.excerpts import excerpt

READ_SECONDS = 60.0
"""How long all requests for one link may take, including waits for the rate limit."""

MAX_MESSAGES = 100
"""The most messages to read from a linked thread, starting at its root."""

_NOT_FULL = ("deleted", "is_restricted", "is_stranger", "is_ultra_restricted")


class LinkedMessages:
    """Reads linked messages in one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._api = workspace, workspace.api

    async def download(self, locator: Mapping[str, str]) -> Download:
        """The messages of a link as Markdown. Raises AttachmentError."""
        place = Permalink(locator["channel"], locator["message"], locator.get("thread", ""))
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._read(place, locator.get("asker", ""))
        except TimeoutError as error:
            raise AttachmentError(Omission.TIMED_OUT, retry_after=RETRY_SECONDS) from error
        except PlatformError as error:
            raise translate(error) from error

    async def _read(self, place: Permalink, asker: str) -> Download:
        channel = await self._workspace.channel_info(place.channel)
        if not await self._may_read(asker, channel, place.channel):
            raise AttachmentError(Omission.NO_ACCESS, "the person who asks cannot read it")
        messages = [one for one in await self._messages(place) if not is_tombstone(one)]
        if not messages:
            raise AttachmentError(Omission.GONE)
        names = await self._workspace.names(messages)
        title = f"In #{name}" if (name := name_of(channel)) else ""
        parts = (_quote(message, names) for message in messages)
        return Download("\n\n".join(filter(None, (title, *parts))).encode(), MARKDOWN)

    # ── rights ────────────────────────────────────────────────────────────────────────────────
    async def _may_read(self, asker: str, channel: Payload, channel_id: str) -> bool:
        if kind_of(channel) == "channel" and await self._is_full_member(asker):
            return True
        return await self._is_in(asker, channel_id)

    async def _is_full_member(self, user: str) -> bool:
        """Whether a person belongs to this workspace and is not a guest."""
        person = (await self._api.read_paced("users.info", user=user)).mapping("user")
        home = payloads.ident(person, "team_id") == self._workspace.me.team
        return home and not any(person.get(flag, False) is not False for flag in _NOT_FULL)

    async def _is_in(self, user: str, channel: str) -> bool:
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            answer = await self._api.read_paced(
                "conversations.members", channel=channel, limit=MAX_MEMBERS, cursor=cursor
            )
            members = answer.data.get("members")
            if isinstance(members, list) and user in members:
                return True
            if (cursor := answer.next_cursor) is None:
                return False
        return False

    # ── messages ──────────────────────────────────────────────────────────────────────────────
    async def _messages(self, place: Permalink) -> Sequence[Payload]:
        """The linked reply, or the linked message with its replies."""
        if place.is_reply:
            found = await self._workspace.read_message(place.channel, place.thread, place.ts)
            return [found] if found is not None else []
        return await self._workspace.read_thread(place.channel, place.ts, MAX_MESSAGES)


def _quote(message: Payload, names: Mapping[str, str]) -> str:
    author = names.get(payloads.ident(message, "user")) or content.bot_name(message, names)
    files = (f"[file: {file_name(file) or '?'}]" for file in files_in(message))
    return excerpt(f"{author} wrote", "\n".join([content.message_text(message, names), *files]))
