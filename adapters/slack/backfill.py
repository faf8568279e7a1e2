"""Catches up with Slack: at every start, and after the connection was lost for some minutes.

Slack redelivers an event that was not acknowledged, the last time after about six minutes.
So after a short loss nothing needs to be read: the watermarks only wait until all
redeliveries have arrived.

Slack does not report which channels have news, so each is read once; in a channel, the root
of each thread names the thread's last reply.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from adapters.slack import payloads
from adapters.slack.api import CATCHING_UP
from adapters.slack.backfill_plan import (
    PAGE,
    ChannelPlan,
    Message,
    newest_of,
    next_page_pays,
    oldest_of,
    plan_channels,
    stamp,
    unread_threads,
)
from adapters.slack.edits import SlackEditListener
from adapters.slack.events import PLATFORM, position
from adapters.slack.pace import ReadPace
from adapters.slack.recheck import report_changes
from adapters.slack.responses import Response, latest_reply
from adapters.slack.workspace import Workspace
from bot.catchup.backfill import Backfill
from bot.catchup.gap_reader import GapReader
from bot.catchup.watermark_saver import WatermarkSaver
from bot.domain.conversations import Conversation
from bot.domain.errors import Gone, LostOwnership, Refused
from bot.domain.inbox import Incoming, ThreadRead
from bot.domain.replies import Priority
from bot.ports.clock import Clock
from bot.ports.history import ChannelRef, History, HistoryPage
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)

# How far the workspace's watermark stays behind its newest message, in microseconds: events of
# different channels arrive only roughly in the order of their ts. One minute.
LAG = 60_000_000
# Slack retries immediately, after one minute and after five more. An event from the beginning of an
# outage still arrives if the outage ends before the last retry; a minute is left for noticing that.
# https://docs.slack.dev/apis/events-api/
SHORT_OUTAGE = 240.0  # seconds
REDELIVERY_SECONDS = 420.0  # after this, no earlier event is redelivered
# Threads without a message for this long are not read unless their channel shows news in them.
KNOWN_SECONDS = 14 * 86_400.0
# The wait for people's names, in seconds: unlike for events, no acknowledgement depends on it.
NAMES_SECONDS = 5.0

KEEPER_SECONDS = 0.5
"""How long a connection waits to be the one that catches up; with another process it is not."""


@dataclass(frozen=True, slots=True)
class _Pages:
    """The pages of a channel so far, newest message first.

    The next page begins at `cursor` or, without one, at `before`, the oldest ts so far.
    """

    messages: tuple[Message, ...] = ()
    cursor: str | None = None
    before: str | None = None

    def add(self, answer: Response) -> _Pages:
        """Add a response. Raises Unsettled if Slack has more messages but does not say where."""
        page, cursor = answer.messages(), _next_cursor(answer, self.cursor)
        lost = answer.has_more and cursor is None
        before = oldest_of(page, self.before) if lost else self.before
        return replace(self, messages=(*self.messages, *page), cursor=cursor, before=before)


class SlackBackfill:
    """Decides when to read a workspace, and is the HistoryReader that reads it.

    Within `alone` no other process reads the workspace or moves its watermarks: Slack gives each
    event to any of them, so what one process misses another has, and the gap after a process's
    death is read by the next one that is inside. `members` are the processes that are alive.
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        inbox: Inbox,
        saver: WatermarkSaver,
        clock: Clock,
        alone: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
        members: Callable[[], int] = lambda: 1,
    ) -> None:
        self._alone, self._inbox, self._members = alone, inbox, members
        self._keeping: asyncio.Task[None] | None = None
        self._is_keeper = asyncio.Event()
        self._gaps = GapReader(
            name=f"{PLATFORM} {workspace.me.team}",
            inbox=inbox,
            clock=clock,
            read=self.read_again,
            catch_up=self._catch_up,
        )
        self._slack, self._tracker, self._clock = workspace, saver.tracker, clock
        self._pace = ReadPace(clock)
        edits = SlackEditListener(workspace=workspace, inbox=inbox)
        self._backfill = Backfill(
            platform=PLATFORM,
            inbox=inbox,
            saver=saver,
            clock=clock,
            report_changes=partial(report_changes, workspace, edits),
            owns=lambda other: other == workspace.me.team,
        )
        self.workspace = workspace.me.team
        self.newest = 0  # when the reads began; 0 before the first connection
        self._lost_at: float | None = None

    def connection_lost(self) -> None:
        """Stop the watermarks, because events no longer arrive."""
        self._tracker.open_gap(self.workspace)
        self._lost_at = self._lost_at or self._clock.monotonic()

    async def connected(self) -> None:
        """Catch up, because events arrive for the first time or again."""
        outage = 0.0 if self._lost_at is None else self._clock.monotonic() - self._lost_at
        self._lost_at = None
        if self.newest and outage < SHORT_OUTAGE:
            self._backfill.close_later(self.workspace, REDELIVERY_SECONDS)
            return
        self._slack.posts.restart()
        if self._is_keeper.is_set():
            await self._catch_up()
        elif self._keeping is None:
            self._tracker.open_gap(self.workspace)
            self._keeping = asyncio.create_task(self._keep(), name="slack catch-up")
            # Alone, the reads begin before unfinished turns continue.
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEPER_SECONDS):
                    await self._is_keeper.wait()

    async def _keep(self) -> None:
        """Catch up, and keep the watermarks, whenever no other process does."""
        while True:
            try:
                async with self._alone():
                    await self._gaps.run(self._is_keeper.set)
            except LostOwnership:
                log.warning("another process may catch up", workspace=self.workspace)
            finally:
                self._is_keeper.clear()
                self._tracker.open_gap(self.workspace)

    async def _catch_up(self) -> None:
        await self.catch_up(self._clock.time())

    async def catch_up(self, until: float) -> None:
        """Start to read what was missed until `until`, in Unix seconds. No other process may."""
        self.newest = int(until * 1_000_000)
        await self._backfill.restart()
        self._backfill.start(self)

    async def read_again(self, since: float, everything: bool) -> bool:
        """Read everything after `since`, in Unix seconds, whatever the watermarks say; returns
        whether that was complete. No other process may.

        Not `everything`: threads of which the database knows as many messages as Slack are skipped.
        """
        self.newest = int(self._clock.time() * 1_000_000)
        return await self._backfill.read_again(_Again(self, everything), int(since * 1_000_000))

    async def thread_reads(self) -> Mapping[str, ThreadRead]:
        """The threads that were read again, by their names in watermarks.

        Raises StoreUnavailable.
        """
        found = await self._inbox.thread_reads(PLATFORM, self.workspace)
        return {read.channel: read for read in found}

    @property
    def busy(self) -> bool:
        """Whether anything is being read."""
        return self._backfill.busy

    async def wait_until_idle(self) -> None:
        """Return once everything is read."""
        await self._backfill.wait_until_idle()

    async def aclose(self) -> None:
        """Stop all reads."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
        await self._backfill.aclose()

    # ── channels and threads ──────────────────────────────────────────────────────────────────
    async def find_histories(self, conversations: Sequence[Conversation]) -> Sequence[History]:
        """See the port."""
        return [self.history(plan) for plan in await self.plan(conversations)]

    def history(self, plan: ChannelPlan) -> History:
        """The history of a channel."""
        read_after = partial(self._read_channel, plan, _Pages())
        return History(self._ref(plan.id), plan.rank, read_after)

    async def plan(self, conversations: Sequence[Conversation]) -> Sequence[ChannelPlan]:
        """All channels that the bot is in; if it may not list them, those with a conversation."""
        conversations = [each for each in conversations if each.key.workspace == self.workspace]
        try:
            channels = await self._list_channels()
        except (Gone, Refused) as error:
            log.warning("the channels cannot be listed", error=str(error))
            channels = []
        known = dict.fromkeys(conversation.key.channel for conversation in conversations)
        channels = channels or [{"id": id_, "kind": ""} for id_ in known]
        return plan_channels(channels, conversations, self._clock.time() - KNOWN_SECONDS)

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
            cursor = _next_cursor(answer, cursor)
            if cursor is None:
                return found

    async def _read_channel(self, plan: ChannelPlan, pages: _Pages, after: int) -> HistoryPage:
        """The next page of a channel, the newest first; the last one returns all messages."""
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
        reached = min(self.newest, _newest_in(read, after))
        unread = [m for m in reversed(read) if position(m["ts"]) > after]
        messages = await self._translate(plan, unread)
        complete = await self._complete_threads(plan, read)
        threads = self._threads(plan, read, after, reached, complete)
        return HistoryPage(messages=messages, reached=reached, threads=threads)

    async def _complete_threads(self, plan: ChannelPlan, read: Sequence[Message]) -> Set[int]:
        """The roots of threads of which the database knows each message, by their number."""
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
        """The threads with news: least recently read first, then by latest reply.

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
        """Up to where everything in a thread behind `begin` has been read."""
        if plan.reads is None:
            return self._tracker.position_of(thread)
        known = plan.reads.get(thread.channel)
        return known.reached if known is not None and known.since <= begin else 0

    async def _record_read(
        self, thread: ChannelRef, plan: ChannelPlan, begin: int, reached: int
    ) -> None:
        """A thread was read again from `begin` on, or from where an earlier read had ended."""
        known = (plan.reads or {}).get(thread.channel)
        since = min(begin, known.since) if known is not None and known.reached >= begin else begin
        if reached >= since:
            read = ThreadRead(thread.workspace, thread.channel, since, reached)
            await self._inbox.record_thread_read(PLATFORM, read)

    async def _read_thread(
        self, plan: ChannelPlan, root: str, until: int, cursor: str | None, after: int
    ) -> HistoryPage:
        """The next page of a thread, the oldest first; Slack sends the root with each."""
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
        cursor, reached, following = _next_cursor(answer, cursor), 0, None
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
        """Of several processes, the one that catches up has a part of the limit for itself."""
        return f"{CATCHING_UP}{method}" if self._members() > 1 else method

    def _ref(self, channel: str) -> ChannelRef:
        return ChannelRef(self.workspace, channel)


@dataclass(frozen=True, slots=True)
class _Again:
    """Implements HistoryReader: reads threads again that were read."""

    backfill: SlackBackfill
    everything: bool

    @property
    def workspace(self) -> str:
        """See the port."""
        return self.backfill.workspace

    @property
    def newest(self) -> int:
        """See the port."""
        return self.backfill.newest

    async def find_histories(self, conversations: Sequence[Conversation]) -> Sequence[History]:
        """See the port."""
        plans, reads = await self.backfill.plan(conversations), await self.backfill.thread_reads()
        again = [replace(p, reads=reads, trusts_counts=not self.everything) for p in plans]
        return [self.backfill.history(plan) for plan in again]


def _newest_in(messages: Sequence[Message], after: int) -> int:
    """The position of the newest message or reply, at least `after`."""
    newest = [position(latest_reply(m) or m["ts"]) for m in messages]
    newest += [position(m["ts"]) for m in messages]
    return max(newest, default=after)


def _next_cursor(answer: Response, cursor: str | None) -> str | None:
    """The next page's cursor; None at the end, or if Slack repeats `cursor`."""
    following = answer.next_cursor
    return following if following != cursor else None
