"""Reads a Slack workspace's history: its channels, and the threads with new messages.

Slack does not report which channels have new messages, so each is read once; in a channel, the root
of each thread gives the thread's last reply.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from adapters.slack import payloads
from adapters.slack.backfill_plan import (
    PAGE,
    ChannelPages,
    ChannelPlan,
    Message,
    newest_in,
    newest_of,
    next_cursor,
    next_page_pays,
    plan_channels,
    stamp,
    unread_threads,
)
from adapters.slack.events import PLATFORM, position
from adapters.slack.pace import ReadPace
from adapters.slack.rate_limits import CATCHING_UP
from adapters.slack.workspace import Workspace
from bot.catchup.watermarks import WatermarkTracker
from bot.domain.conversations import Conversation
from bot.domain.errors import Gone, Refused
from bot.domain.inbox import Incoming, ThreadRead
from bot.domain.replies import Priority
from bot.ports.clock import Clock
from bot.ports.history import ChannelRef, History, HistoryPage
from bot.ports.inbox import CatchUpInbox

log = structlog.stdlib.get_logger(__name__)

# Threads without a message for this long are not read unless their channel shows news in them.
KNOWN_SECONDS = 14 * 86_400.0
# The wait for people's names, in seconds: unlike for events, no acknowledgement depends on it.
NAMES_SECONDS = 5.0


class SlackHistory:
    """Implements HistoryReader for a workspace. `members` are the live processes."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        inbox: CatchUpInbox,
        tracker: WatermarkTracker,
        clock: Clock,
        members: Callable[[], int],
    ) -> None:
        self._slack, self._inbox, self._tracker = workspace, inbox, tracker
        self._clock, self._members = clock, members
        self._pace = ReadPace(clock)
        self.workspace = workspace.me.team
        self.newest = 0  # microseconds; nothing newer is read. 0 before the first reads

    def read_until(self, now: float) -> None:
        """Limit reads to messages up to `now` (Unix seconds), when they begin."""
        self.newest = int(now * 1_000_000)

    async def find_histories(self, conversations: Sequence[Conversation]) -> Sequence[History]:
        """See the port."""
        return [self.of(plan) for plan in await self.plan(conversations)]

    def of(self, plan: ChannelPlan) -> History:
        """The history of a channel."""
        read_after = partial(self._read_channel, plan, ChannelPages())
        return History(self._ref(plan.id), plan.rank, read_after)

    async def plan(self, conversations: Sequence[Conversation]) -> Sequence[ChannelPlan]:
        """Plan to read all the bot's channels; if it may not list them, those with a
        conversation."""
        conversations = [each for each in conversations if each.key.workspace == self.workspace]
        try:
            channels = await self._list_channels()
        except (Gone, Refused) as error:
            log.warning("the channels cannot be listed", error=str(error))
            channels = []
        known = dict.fromkeys(conversation.key.channel for conversation in conversations)
        channels = channels or [{"id": id_, "kind": ""} for id_ in known]
        return plan_channels(channels, conversations, self._clock.time() - KNOWN_SECONDS)

    async def thread_reads(self) -> Mapping[str, ThreadRead]:
        """The progress of repeated thread reads, by the threads' names in watermarks.

        Raises StoreUnavailable.
        """
        found = await self._inbox.thread_reads(PLATFORM, self.workspace)
        return {read.channel: read for read in found}

    async def _list_channels(self) -> list[Message]:
        found: dict[str, Message] = {}  # a channel may be in several workspaces of an organization
        for team in await self._slack.facts.teams.arguments():
            for channel in await self._list_channels_of(team):
                found.setdefault(channel["id"], channel)
        return list(found.values())

    async def _list_channels_of(self, team: Mapping[str, Any]) -> list[Message]:
        found: list[Message] = []
        cursor: str | None = None
        while True:
            answer = await self._slack.api.read_paced(
                "users.conversations",
                priority=Priority.FIRST,
                types="public_channel,private_channel,mpim,im",
                exclude_archived="true",
                limit=PAGE,
                cursor=cursor,
                **team,
            )
            found.extend(one for one in answer.items("channels") if payloads.ident(one, "id"))
            cursor = next_cursor(answer, cursor)
            if cursor is None:
                return found

    async def _read_channel(
        self, plan: ChannelPlan, pages: ChannelPages, after: int
    ) -> HistoryPage:
        """The next page of a channel, newest first; the last one returns all messages."""
        await self._pace.wait()
        answer = await self._slack.api.read_paced(
            "conversations.history",
            priority=Priority.FIRST,
            scope=self._scope("conversations.history"),
            channel=plan.id,
            oldest=stamp(min((after, *(root - 1 for root in plan.roots)))),
            limit=PAGE,
            latest=pages.before,
            cursor=pages.cursor,
        )
        pages = pages.add(answer)
        more, read = pages.cursor is not None or answer.has_more, pages.messages
        if more and read and next_page_pays(read, after, plan.roots):
            return HistoryPage(next=partial(self._read_channel, plan, pages, after))
        reached = min(self.newest, newest_in(read, after))
        unread = [m for m in reversed(read) if position(m["ts"]) > after]
        messages = await self._translate(plan, unread)
        complete = await self._complete_threads(plan, read)
        threads = self._threads(plan, read, after, reached, complete)
        return HistoryPage(messages=messages, reached=reached, threads=threads)

    async def _complete_threads(self, plan: ChannelPlan, read: Sequence[Message]) -> Set[int]:
        """The roots of threads for which the database has every message, judging by their
        number."""
        if not plan.trusts_counts:
            return frozenset()
        known = await self._inbox.count_known_replies(self._slack.key(plan.id))
        return {position(m["ts"]) for m in read if known.get(m["ts"], 0) == m.get("reply_count")}

    def _threads(
        self,
        plan: ChannelPlan,
        read: Sequence[Message],
        after: int,
        until: int,
        complete: Set[int],
    ) -> list[History]:
        """The threads with new messages: least recently read first, then by latest reply.

        In another order, a bot that keeps dying would never reach some of them.
        """
        histories, known = [], frozenset(plan.roots)
        for root, latest in unread_threads(read, after, known).items():
            if root in complete:
                continue
            ref = self._ref(f"{plan.id}/{stamp(root)}")
            begin = max(after, root)
            start = max(begin, self._reached(plan, ref, begin))
            if after < latest <= start:
                continue  # an earlier process read these replies
            rank: tuple[float, ...] = (0 if root in known else 1, start / 1e6, -latest / 1e6)
            if plan.reads is not None:
                rank = (0, start / 1e6 if start > begin else 0.0, random.random())  # noqa: S311
            read_after = partial(self._read_thread, plan, stamp(root), until, None)
            read_to = None if plan.reads is None else partial(self._record_read, ref, plan, begin)
            histories.append(History(ref, rank, read_after, start, read_to))
        return histories

    def _reached(self, plan: ChannelPlan, thread: ChannelRef, begin: int) -> int:
        """The position up to which everything in a thread after `begin` has been read."""
        if plan.reads is None:
            return self._tracker.position_of(thread)
        known = plan.reads.get(thread.channel)
        return known.reached if known is not None and known.since <= begin else 0

    async def _record_read(
        self, thread: ChannelRef, plan: ChannelPlan, begin: int, reached: int
    ) -> None:
        """Record that a thread was read again from `begin`, or from where an earlier read ended."""
        known = (plan.reads or {}).get(thread.channel)
        since = min(begin, known.since) if known is not None and known.reached >= begin else begin
        if reached >= since:
            read = ThreadRead(thread.workspace, thread.channel, since, reached)
            await self._inbox.record_thread_read(PLATFORM, read)

    async def _read_thread(
        self, plan: ChannelPlan, root: str, until: int, cursor: str | None, after: int
    ) -> HistoryPage:
        """The next page of a thread, oldest first; Slack includes the root with every page."""
        answer = await self._slack.api.read_paced(
            "conversations.replies",
            priority=Priority.BACKGROUND,
            scope=self._scope("conversations.replies"),
            channel=plan.id,
            ts=root,
            oldest=stamp(after),
            limit=PAGE,
            cursor=cursor,
        )
        replies = [message for message in answer.messages() if message["ts"] != root]
        cursor, reached, following = next_cursor(answer, cursor), 0, None
        if cursor is not None:
            following = partial(self._read_thread, plan, root, until, cursor, after)
        elif answer.has_more:
            newest = newest_of(replies, after)
            following = partial(self._read_thread, plan, root, until, None, newest)
        else:
            reached = until
        messages = await self._translate(plan, replies)
        return HistoryPage(messages=messages, reached=reached, next=following)

    async def _translate(self, plan: ChannelPlan, messages: Iterable[Message]) -> list[Incoming]:
        """Translate messages as if they had arrived as events, and drop irrelevant ones."""
        translated: list[Incoming] = []
        for message in messages:
            event = {**message, "type": "message", "channel": plan.id, "channel_type": plan.kind}
            try:
                incoming = await self._slack.incoming({"event": event}, NAMES_SECONDS)
            except Exception as error:  # noqa: BLE001 - the boundary of one message of a page
                log.warning("a message cannot be read", ts=message["ts"], error=repr(error)[:300])
                continue
            if incoming is not None:
                translated.append(incoming)
        return translated

    def _scope(self, method: str) -> str:
        """The rate limit scope: of several processes, the one that catches up has a separate
        part of the limit."""
        return f"{CATCHING_UP}{method}" if self._members() > 1 else method

    def _ref(self, channel: str) -> ChannelRef:
        return ChannelRef(self.workspace, channel)


@dataclass(frozen=True, slots=True)
class RepeatedReads:
    """Implements HistoryReader for threads that were already read.

    Without `everything`, skips threads for which the database has as many messages as Slack.
    """

    history: SlackHistory
    everything: bool

    @property
    def workspace(self) -> str:
        """See the port."""
        return self.history.workspace

    @property
    def newest(self) -> int:
        """See the port."""
        return self.history.newest

    async def find_histories(self, conversations: Sequence[Conversation]) -> Sequence[History]:
        """See the port."""
        plans, reads = await self.history.plan(conversations), await self.history.thread_reads()
        again = [replace(p, reads=reads, trusts_counts=not self.everything) for p in plans]
        return [self.history.of(plan) for plan in again]
