"""Finds the posts by bots and webhooks above a mention such as "@bot what does this alert mean?".

Platforms report a channel's messages as events, so a bounded number of the newest are kept in
memory, and a channel is read at most once per connection. For people's messages only the positions
are kept, because these people did not ask the bot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cachetools import LRUCache

from bot.ports.clock import Clock

MAX_POSTS = 5
"""The most posts per mention: enough for a burst of alerts, within a small model's context."""

MAX_REMARKS = 3
"""The most messages by people between the posts and the mention ("again?", "looking"). After more,
the conversation is about something else."""

MAX_AGE = 3_600.0
"""Seconds before the mention: an older post is rarely the one meant."""

MAX_READ = 10
"""Messages to read if the posts were sent before the connection: the posts and remarks, and a few
more that do not count."""

MAX_CHANNELS = 1_000
"""The most channels to remember: those with the latest messages."""

MAX_REMEMBERED = 20
"""Messages to remember per channel: those above a mention, and any that follow it."""

Post = TypeVar("Post")


@dataclass(frozen=True, slots=True)
class Seen(Generic[Post]):
    """A message in a channel: its position, its time (Unix seconds), and a bot's post.

    `post` is None for all other messages.
    """

    position: int
    sent_at: float
    post: Post | None = None


@dataclass(frozen=True, slots=True)
class Above(Generic[Post]):
    """The posts above a mention, oldest first. `certain`: earlier messages cannot add any."""

    posts: tuple[Seen[Post], ...]
    certain: bool


def choose(messages: Iterable[Seen[Post]], position: int, sent_at: float) -> Above[Post]:
    """The posts above the mention at `position`, sent at `sent_at`; pure."""
    found: list[Seen[Post]] = []
    remarks, certain = 0, False
    before = (one for one in messages if one.position < position)
    for message in sorted(before, key=lambda one: one.position, reverse=True):
        remarks += message.post is None
        certain = sent_at - message.sent_at > MAX_AGE or remarks > MAX_REMARKS
        if certain:
            break
        if message.post is not None:
            found.append(message)
        if certain := len(found) == MAX_POSTS:
            break
    return Above(tuple(reversed(found)), certain)


@dataclass(slots=True)
class _Channel(Generic[Post]):
    """A channel's newest messages by position. `read`: reading the channel has been attempted."""

    messages: dict[int, Seen[Post]] = field(default_factory=dict)
    read: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, message: Seen[Post]) -> None:
        self.messages[message.position] = message
        while len(self.messages) > MAX_REMEMBERED:
            del self.messages[min(self.messages)]
        for old in sorted(p for p, one in self.messages.items() if one.post)[:-MAX_POSTS]:
            del self.messages[old]


class RecentPosts(Generic[Post]):
    """The newest messages of each channel during one connection, by channel id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.time()
        self._channels: LRUCache[str, _Channel[Post]] = LRUCache(MAX_CHANNELS)

    def restart(self) -> None:
        """Forget everything: a new connection does not redeliver missed messages."""
        self._since = self._clock.time()
        self._channels.clear()

    def add(self, channel: str, message: Seen[Post]) -> None:
        """Remember a new message, or new information about a known one."""
        self._channel(channel).add(message)

    def change(self, channel: str, position: int, post: Post) -> None:
        """Apply an edit of a bot's post; a post that is not remembered stays unknown."""
        known = self._channels.get(channel)
        message = known.messages.get(position) if known is not None else None
        if known is not None and message is not None and message.post is not None:
            known.messages[position] = Seen(position, message.sent_at, post)

    def drop(self, channel: str, position: int) -> None:
        """Forget a deleted message."""
        known = self._channels.get(channel)
        if known is not None:
            known.messages.pop(position, None)

    async def above(
        self,
        channel: str,
        position: int,
        sent_at: float,
        read: Callable[[], Awaitable[Sequence[Seen[Post]]]],
    ) -> Sequence[Post]:
        """The posts above a mention, oldest first.

        `read` returns the channel's last messages before the mention. It is called only if some
        posts may have been sent before the connection; its errors propagate.
        """
        known = self._channel(channel)
        async with known.lock:  # on Slack both events of a mention wait for the same read
            if self._must_read(known, position, sent_at):
                known.read = True
                for message in await read():
                    if message.position not in known.messages:  # an event is at least as new
                        known.add(message)
        chosen = choose(known.messages.values(), position, sent_at)
        return [one.post for one in chosen.posts if one.post is not None]

    def _must_read(self, known: _Channel[Post], position: int, sent_at: float) -> bool:
        if known.read or sent_at - MAX_AGE >= self._since:
            return False
        chosen = choose(known.messages.values(), position, sent_at)
        return not chosen.certain and not chosen.posts

    def _channel(self, channel: str) -> _Channel[Post]:
        found = self._channels.get(channel)
        if found is None:
            found = self._channels[channel] = _Channel()
        return found
