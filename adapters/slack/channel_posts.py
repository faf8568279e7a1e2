"""Remembers other bots' posts in channels, as context for a mention below them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from adapters.slack import events, payloads
from adapters.slack.events import Identity
from adapters.slack.payloads import Payload, ident
from bot.domain.inbox import Incoming
from bot.inbox.posts_above import RecentPosts, Seen
from bot.ports.clock import Clock


class ChannelPosts:
    """The newest posts in a workspace's channels.

    `read` reads the last messages in a channel before a ts.
    """

    def __init__(
        self,
        *,
        me: Identity,
        clock: Clock,
        read: Callable[[str, str], Awaitable[Sequence[Payload]]],
    ) -> None:
        self._me, self._read = me, read
        self._recent: RecentPosts[Payload] = RecentPosts(clock)

    def restart(self) -> None:
        """Forget everything when events arrive again after a gap."""
        self._recent.restart()

    def note(self, event: Payload) -> None:
        """Remember a new message."""
        channel = ident(event, "channel")
        seen = self._seen(event) if channel else None
        if seen is not None:
            self._recent.add(channel, seen)

    def changed(self, channel: str, message: Payload) -> None:
        """Remember the new version of a post."""
        ts = payloads.ts(message)
        if channel and ts:
            self._recent.change(channel, events.position(ts), message)

    def deleted(self, channel: str, ts: str) -> None:
        """Forget a deleted message."""
        if channel and ts:
            self._recent.drop(channel, events.position(ts))

    async def above(self, mention: Incoming) -> Sequence[Payload]:
        """The posts above a mention, oldest first. Raises a PlatformError."""

        async def read() -> Sequence[Seen[Payload]]:
            page = await self._read(mention.channel, mention.message_id)
            found = (self._seen({"type": "message", **one}) for one in page)
            return [one for one in found if one is not None]

        channel, position = mention.channel, mention.position
        return await self._recent.above(channel, position, mention.sent_at, read)

    def _seen(self, event: Payload) -> Seen[Payload] | None:
        """How a message counts for a mention below it.

        None for replies in threads, and for Slack's own notices such as who joined.
        """
        ts = events.message_ts(event)
        if not ts or events.thread_of(event) != ts or event.get("hidden"):
            return None
        is_post = events.is_from_other_bot(event, self._me)
        if not is_post and events.subtype(event) not in events.BOT_SUBTYPES:
            return None
        position = events.position(ts)
        return Seen(position, position / 1e6, event if is_post else None)
