"""One workspace that installed the app: the bot's identity, the Web API and known names.

Reading an event never waits long for Slack: a name that is not known in time stays an id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from cachetools import LRUCache, TTLCache

from adapters.slack import events, payloads, people
from adapters.slack.api import WebApi
from adapters.slack.channel_posts import ChannelPosts
from adapters.slack.events import Identity
from adapters.slack.fact_cache import FRESH_SECONDS
from adapters.slack.facts import WorkspaceFacts
from adapters.slack.lookup_cache import LookupCache
from adapters.slack.mention_files import MentionFiles
from adapters.slack.payloads import Payload, mapping
from adapters.slack.permalinks import linked_messages
from adapters.slack.rate_limits import NAMES
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone, PlatformError
from bot.domain.inbox import Address, Incoming
from bot.domain.replies import Priority
from bot.inbox.posts_above import MAX_READ
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

# Slack expects an acknowledgement within 3 s; this is the share for looking up names, in seconds.
NAMES_SECONDS = 0.5
# Channel names to look up for one message: conversations.info is Tier 3.
MAX_CHANNEL_NAMES = 20
# Slack's error for a deleted message that had no replies.
# https://docs.slack.dev/reference/methods/conversations.replies#errors
NOT_FOUND = "thread_not_found"


# Threads that are known to have replies.
MAX_THREADS = 20_000
MAX_KINDS = 10_000


class Workspace:
    """Everything needed to handle one workspace's events.

    `listens`: see `bot.ports.inbox.AccessLookup`.
    """

    def __init__(
        self,
        *,
        me: Identity,
        api: WebApi,
        clock: Clock,
        listens: Callable[[ConversationKey], bool] = lambda _channel: False,
    ) -> None:
        self.me, self.api, self._listens = me, api, listens
        self.mention_files = MentionFiles(self._read_mention)
        self.posts = ChannelPosts(me=me, clock=clock, read=self._read_before)
        self.facts = WorkspaceFacts(me=me, api=api, clock=clock)
        self._threads: LRUCache[tuple[str, str], bool] = LRUCache(MAX_THREADS)
        self._user_names = LookupCache(fetch=self._fetch_user_name, clock=clock)
        self._kinds: TTLCache[str, str] = TTLCache(MAX_KINDS, FRESH_SECONDS, clock.monotonic)
        self._channel_names = LookupCache(fetch=self._fetch_channel_name, clock=clock)

    async def incoming(
        self,
        body: Mapping[str, Any],
        names_within: float = NAMES_SECONDS,
        default_address: Address | None = None,
    ) -> Incoming | None:
        """The event as a message to the bot; None if it does not concern the bot.

        `default_address` applies to messages that do not address the bot.
        """
        event = mapping(body, "event")
        if not events.is_from_person(event, self.me):
            return None
        self.facts.note_home(payloads.ident(event, "user"), people.home_in(body, self.me))
        if events.is_mention(event):
            event, names = await asyncio.gather(
                self._with_files(event), self._names([event], names_within)
            )
            kind = await self._kind(event)  # often known now, from the message's own event
            address = events.address_of(event, kind, self.me)
        else:
            self.mention_files.note(*_place(event), event)
            kind = await self._kind(event)
            address = self._address_of(event, kind) or default_address
            names = {} if address is None else await self._names([event], names_within)
        if address is None:
            return None
        found = events.message(event, self.me, names, self.me.team, kind, address)
        if address is Address.ASIDE:
            return found
        links = linked_messages(event, self.me.host, found.author.id)
        return replace(found, attachments=(*found.attachments, *links))

    def _address_of(self, event: Payload, kind: str) -> Address | None:
        address = events.address_of(event, kind, self.me)
        if address is None and events.addresses_no_one(event, self.me):
            channel = self.key(payloads.ident(event, "channel"))
            return Address.CHANNEL if self._listens(channel) else None
        return address

    def note(self, event: Payload) -> None:
        """Remember from an event that a thread has replies."""
        channel, thread = payloads.ident(event, "channel"), events.thread_of(event)
        if thread != events.message_ts(event):
            self._threads[channel, thread] = True

    def has_replies(self, channel: str, thread: str) -> bool:
        """Whether the bot saw a reply in the thread; Slack shows private messages only in such
        threads."""
        return (channel, thread) in self._threads

    async def read_message(
        self,
        channel: str,
        thread: str,
        ts: str,
        priority: Priority = Priority.CONTROL,
    ) -> Payload | None:
        """A message's current version; None if it was deleted. Raises a PlatformError."""
        try:
            answer = await self.api.read_paced(
                "conversations.replies",
                priority=priority,
                channel=channel,
                ts=thread,
                oldest=ts,
                latest=ts,
                inclusive="true",
                limit=2,  # the thread's root comes with it
            )
        except Gone as error:
            if error.code != NOT_FOUND:
                raise
            return None
        found = payloads.items(answer.data, "messages")
        return next((one for one in found if events.message_ts(one) == ts), None)

    async def read_thread(self, channel: str, ts: str, limit: int) -> list[Payload]:
        """A message and its replies, at most `limit`; none if it was deleted, or is itself a reply.

        Raises a PlatformError.
        """
        answer = await self.api.read_paced(
            "conversations.replies", channel=channel, ts=ts, limit=limit
        )
        found = payloads.items(answer.data, "messages")[:limit]
        return found if found and events.message_ts(found[0]) == ts else []

    async def channel_info(self, channel: str) -> Payload:
        """A channel's description. Raises a PlatformError."""
        response = await self.api.read_paced("conversations.info", channel=channel)
        return response.mapping("channel")

    async def names(self, messages: Sequence[Payload]) -> dict[str, str]:
        """The names of the people and channels in `messages`, by id, if Slack returns them in
        time."""
        return await self._names(messages, NAMES_SECONDS)

    async def _read_mention(self, event: Payload) -> Payload | None:
        channel, ts = _place(event)
        return await self.read_message(channel, events.thread_of(event), ts)

    async def _with_files(self, event: Payload) -> Payload:
        return {**event, "files": list(await self.mention_files.find(*_place(event), event))}

    async def _read_before(self, channel: str, ts: str) -> list[Payload]:
        response = await self.api.read_paced(
            "conversations.history", channel=channel, latest=ts, limit=MAX_READ
        )
        return list(response.messages())

    async def post_ephemeral(
        self, *, channel: str, user: str, thread: str | None, body: Mapping[str, Any]
    ) -> None:
        """Show a message to one person. Raises a PlatformError."""
        await self.api.write_paced(
            "chat.postEphemeral", channel=channel, user=user, thread_ts=thread, **body
        )

    def key(self, channel: str, thread: str = "") -> ConversationKey:
        """The key for a thread's conversation, or for a whole channel."""
        return ConversationKey(events.PLATFORM, self.me.team, channel, thread)

    async def aclose(self) -> None:
        """Cancel the lookups in flight."""
        for cache in (self._user_names, self._channel_names):
            await cache.aclose()
        await self.facts.aclose()

    async def _names(self, messages: Sequence[Payload], within: float) -> dict[str, str]:
        """The names in `messages`, by id, that become known within `within` seconds.

        A channel's id begins with C, D or G, a person's with U or W.
        """
        wanted = dict.fromkeys(id_ for m in messages for id_ in events.ids_in(m, self.me) if id_)
        channels = [id_ for id_ in wanted if id_[0] in "CDG"][:MAX_CHANNEL_NAMES]
        people = [id_ for id_ in wanted if id_[0] not in "CDG" and id_ != self.me.user]
        user_names, channel_names = await asyncio.gather(
            self._user_names.get(people, within), self._channel_names.get(channels, within)
        )
        return {self.me.user: self.me.name, **user_names, **channel_names}

    async def _kind(self, event: Payload) -> str:
        """The channel's kind, from the event or from Slack, since app_mention has none.

        "" if Slack does not return it; the conversation then counts as private. A kind is at most a
        minute old, because a public channel may become private.
        """
        channel = payloads.ident(event, "channel")
        if kind := events.channel_kind(event):
            self._kinds[channel] = kind
            return kind
        return self._kinds.get(channel) or await self._fetch_kind(channel)

    async def _fetch_user_name(self, user: str) -> str:
        await self.api.rate_limiter.spend(f"{NAMES}users.info")
        return (await self.facts.people.get(user)).name

    async def _fetch_kind(self, channel: str) -> str:
        try:
            async with asyncio.timeout(NAMES_SECONDS):
                return (await self.facts.channels.get(channel)).kind
        except (PlatformError, TimeoutError) as error:
            log.debug("a channel's kind is unknown", channel=channel, error=repr(error))
            return ""

    async def _fetch_channel_name(self, channel: str) -> str:
        await self.api.rate_limiter.spend(f"{NAMES}conversations.info")
        return (await self.facts.channels.get(channel)).name


def _place(event: Payload) -> tuple[str, str]:
    """The channel and ts of a message event."""
    return payloads.ident(event, "channel"), events.message_ts(event)


def is_tombstone(message: Payload) -> bool:
    """Whether the message was deleted and only a tombstone is left."""
    return events.subtype(message) == "tombstone"
