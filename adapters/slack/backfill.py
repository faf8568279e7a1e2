"""What was said while nothing arrived, read from Slack: at every start, and after a long outage.

Slack delivers again what was not acknowledged, the last time after some six minutes. So a short
loss of the connection costs no reads: the watermarks only wait until the last of it must be here.

A channel's watermark waits for all of its threads, and each costs a request. So a thread that was
read has a watermark of its own, the channel's follows the lowest of those that were not, and these
come in that order: a bot that dies again and again while it reads still gets to each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from adapters.slack import payloads
from adapters.slack.backfill_plan import (
    PAGE,
    ChannelPlan,
    Message,
    goes_on,
    newest_of,
    oldest_of,
    places,
    stamp,
    to_read,
)
from adapters.slack.edits import EditListener
from adapters.slack.events import PLATFORM, position
from adapters.slack.pace import ReadPace
from adapters.slack.recheck import Look
from adapters.slack.responses import Response, latest_reply
from adapters.slack.workspace import Workspace
from bot.catchup.backfill import LATER_SECONDS, BackfillQueue, WatermarkSaver
from bot.catchup.recheck import LastQuestions
from bot.catchup.watermarks import ChannelRef
from bot.domain.conversations import Conversation
from bot.domain.inbox import Incoming
from bot.domain.replies import Priority
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)

LAG = 60_000_000  # between channels the order of arrival is the order of ts only roughly: a minute
# Slack tries at once, after one minute and after five more; what it sent at the beginning of an
# outage comes again if that was over before the last try. A minute is left for noticing. Seconds.
SHORT_OUTAGE = 240.0
REDELIVERED = 420.0  # after this nothing of before an outage comes by itself any more
# Threads in which nobody spoke for so long are not looked at by themselves. Seconds.
KNOWN_SECONDS = 14 * 86_400.0
NAMES_SECONDS = 5.0  # for people's names; nobody waits for an acknowledgement here


@dataclass(slots=True)
class _History:
    """A channel as it is being read, the newest first.

    Where the next page begins is told by `cursor`, or else by `before`, the oldest ts so far.
    """

    place: ChannelPlan
    after: int
    read: list[Message] = field(default_factory=list)
    cursor: str | None = None
    before: str | None = None
    whole: bool = False


@dataclass(slots=True)
class _Thread:
    """A thread as it is being read, the oldest first.

    `unread` has the watermarks of all threads of the channel that are still to be read, by root.
    """

    place: ChannelPlan
    root: str
    until: int
    unread: dict[str, int]
    cursor: str | None = None

    @property
    def after(self) -> int:
        """How far it was read."""
        return self.unread[self.root]


# ── carrying out ──────────────────────────────────────────────────────────────────────────────
class Gap:
    """Reads what one workspace missed.

    `on_active` is told once, at the start, in which conversations people talked last.
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        inbox: Inbox,
        keeper: WatermarkSaver,
        clock: Clock,
        on_active: Callable[[Sequence[Conversation]], None] = lambda _conversations: None,
    ) -> None:
        self._workspace, self._inbox, self._keeper = workspace, inbox, keeper
        self._marks, self._clock = keeper.marks, clock
        self._team = workspace.me.team
        look = Look(workspace=workspace, changes=EditListener(workspace=workspace, inbox=inbox))
        self._last = LastQuestions(platform=PLATFORM, inbox=inbox, look=look)
        self._reads = BackfillQueue(clock)
        self._pace = ReadPace(clock)
        self._recovering: asyncio.Task[Any] | None = None
        self._settling: asyncio.Task[Any] | None = None
        self._lost_at: float | None = None
        self._on_active: Callable[[Sequence[Conversation]], None] | None = on_active

    def lost(self) -> None:
        """No connection any more."""
        self._marks.interrupted(self._team)
        self._lost_at = self._lost_at or self._clock.monotonic()

    async def connected(self) -> None:
        """Events arrive again, or for the first time since the start."""
        outage = 0.0 if self._lost_at is None else self._clock.monotonic() - self._lost_at
        self._lost_at = None
        self._marks.interrupted(self._team)
        if self._recovering is None or outage >= SHORT_OUTAGE:
            earlier, self._reads = self._reads, BackfillQueue(self._clock)
            self._settling = None
            self._recovering = self._reads.begin(self._recover(), name="gap")
            await earlier.aclose()
            return
        if self._settling is not None:
            self._settling.cancel()
        self._settling = self._reads.begin(self._settle(), name="gap: redelivery")

    @property
    def _undisturbed(self) -> bool:
        """Whether nothing may come late: what a read found says nothing of a loss since it began,
        of which Slack delivers the messages again.
        """
        return self._lost_at is None and (self._settling is None or self._settling.done())

    async def aclose(self) -> None:
        """Give up; the watermarks say what is left."""
        await self._reads.aclose()

    async def _settle(self) -> None:
        """Let watermarks go on when nothing of before comes any more."""
        await self._clock.sleep(REDELIVERED)
        if self._recovering is not None:
            await asyncio.wait((self._recovering,))
        self._marks.whole(self._team)
        self._keeper.save_soon()

    async def _recover(self) -> None:
        until = int(self._clock.time() * 1_000_000)
        await self._keeper.loaded()
        if not self._marks.known(self._team):  # its past is nobody's question to us
            self._marks.begin(self._team, until)
            await self._keeper.save()  # at once: without it the next start would be the first again
        else:
            while not await self._read_all(until):
                await self._clock.sleep(LATER_SECONDS)
        if self._undisturbed:
            self._marks.whole(self._team)
        self._keeper.save_soon()

    async def _read_all(self, until: int) -> bool:
        conversations = await self._reads.get(
            "conversations", (-1,), lambda: self._inbox.active(PLATFORM)
        )
        if conversations is None:
            return False
        if self._on_active is not None:  # once, for what an earlier process left
            self._on_active(conversations)
            self._on_active = None
        asked = await self._last.before(self._team, self._reads)
        channels = await self._channels(conversations)
        found = places(channels, conversations, self._clock.time() - KNOWN_SECONDS)
        ended = await asyncio.gather(*(self._read(place, until) for place in found))
        log.info("caught up", workspace=self._team, channels=len(found), whole=all(ended))
        await self._last.look_at(asked, self._reads)
        return True

    async def _channels(self, conversations: Sequence[Conversation]) -> Sequence[Message]:
        """Those the bot is in; where that may not be asked, those with a conversation."""
        found: list[Message] = []
        listing: dict[str, str | None] = {"cursor": None}

        async def page() -> bool:
            answer = await self._workspace.api.paced_read(
                "users.conversations",
                priority=Priority.FIRST,
                types="public_channel,private_channel,mpim,im",
                exclude_archived="true",
                limit=PAGE,
                cursor=listing["cursor"],
            )
            found.extend(one for one in answer.items("channels") if payloads.ident(one, "id"))
            listing["cursor"] = _next(answer, listing["cursor"])
            return listing["cursor"] is not None

        await self._reads.add("channels", (-1,), page)
        known = dict.fromkeys(conversation.key.channel for conversation in conversations)
        return found or [{"id": id_, "kind": ""} for id_ in known]

    async def _read(self, place: ChannelPlan, until: int) -> bool:
        """Read a channel with its threads; whether that was possible, or is never to be."""
        spot = ChannelRef(self._team, place.id)
        history = _History(place, self._marks.of(spot))
        done = await self._reads.add(
            f"channel {place.id}", place.rank, lambda: self._history_page(history)
        )
        if done and history.whole:
            done = all(await asyncio.gather(*self._threads(history, until)))
        if not done:
            self._marks.unread(spot)
            self._reads.begin(self._read_later(place, until), name="gap: later")
        else:
            self._marks.found(spot)
            if history.whole:
                self._marks.read(spot, min(until, _reached(history)))
        if self._undisturbed:
            self._marks.closed(spot)
        self._keeper.save_soon()
        return done

    async def _read_later(self, place: ChannelPlan, until: int) -> None:
        await self._clock.sleep(LATER_SECONDS)
        await self._read(place, until)

    def _threads(self, history: _History, until: int) -> list[asyncio.Future[bool]]:
        """Reads the threads with new messages: longest unread first, then latest activity."""
        place, known = history.place, frozenset(history.place.roots)
        until = min(until, _reached(history))
        unread: dict[str, int] = {}
        jobs = []
        for root, latest in to_read(history.read, history.after, known).items():
            mark = self._marks.of(self._spot(place, stamp(root)))
            after = max(history.after, mark, root)
            if history.after < latest <= after:
                continue
            thread = _Thread(place, stamp(root), until, unread)
            unread[thread.root] = after
            rank = (0 if root in known else 1, after / 1e6, -latest / 1e6)
            what = f"thread {place.id}/{thread.root}"
            jobs.append(self._reads.add(what, rank, partial(self._thread_page, thread)))
        return jobs

    def _spot(self, place: ChannelPlan, root: str) -> ChannelRef:
        """Where the watermark of a thread is kept."""
        return ChannelRef(self._team, f"{place.id}/{root}")

    # ── requests ──────────────────────────────────────────────────────────────────────────────
    async def _history_page(self, history: _History) -> bool:
        """The next page of a channel; with the last one, what was said in it is brought."""
        place = history.place
        oldest = min((history.after, *(root - 1 for root in place.roots)))
        if not history.whole:
            await self._pace.wait()
            answer = await self._workspace.api.paced_read(
                "conversations.history",
                priority=Priority.FIRST,
                channel=place.id,
                oldest=stamp(oldest),
                limit=PAGE,
                latest=history.before,
                cursor=history.cursor,
            )
            page, history.cursor = answer.messages(), _next(answer, history.cursor)
            if answer.has_more and history.cursor is None:
                history.before = oldest_of(page, history.before)
            history.read += page
            more = history.cursor is not None or answer.has_more
            if more and history.read and goes_on(history.read, history.after, place.roots):
                return True
            history.whole = True
        said = [m for m in reversed(history.read) if position(m["ts"]) > history.after]
        await self._bring(place, said)
        return False

    async def _thread_page(self, thread: _Thread) -> bool:
        """The next page of a thread; its root comes with each."""
        answer = await self._workspace.api.paced_read(
            "conversations.replies",
            priority=Priority.BACKGROUND,
            channel=thread.place.id,
            ts=thread.root,
            oldest=stamp(thread.after),
            limit=PAGE,
            cursor=thread.cursor,
        )
        found = [m for m in answer.messages() if m["ts"] != thread.root]
        await self._bring(thread.place, found)
        thread.cursor = _next(answer, thread.cursor)
        if thread.cursor is not None:
            return True
        if answer.has_more:
            thread.unread[thread.root] = newest_of(found, thread.after)
            return True
        self._thread_ended(thread)
        return False

    def _thread_ended(self, thread: _Thread) -> None:
        del thread.unread[thread.root]
        self._marks.read(self._spot(thread.place, thread.root), thread.until)
        if thread.unread:
            lowest = min(thread.until, *thread.unread.values())
            self._marks.read(ChannelRef(self._team, thread.place.id), lowest)
        self._keeper.save_soon()

    async def _bring(self, place: ChannelPlan, messages: Iterable[Message]) -> None:
        """To the core, as if they had come as events."""
        understood: list[Incoming] = []
        for message in messages:
            event = {**message, "type": "message", "channel": place.id, "channel_type": place.kind}
            try:
                incoming = await self._workspace.incoming({"event": event}, NAMES_SECONDS)
            except Exception as error:  # noqa: BLE001 - the boundary of one message of a page
                log.warning("a message cannot be read", ts=message["ts"], error=repr(error)[:300])
                continue
            if incoming is not None:
                understood.append(incoming)
        await self._inbox.missed(understood)
        for incoming in understood:
            self._last.seen(incoming.source)


def _reached(history: _History) -> int:
    """The newest message of the channel, in a thread or not."""
    newest = [position(latest_reply(m) or m["ts"]) for m in history.read]
    newest += [position(m["ts"]) for m in history.read]
    return max(newest, default=history.after)


def _next(answer: Response, before: str | None) -> str | None:
    """Where to read on; a cursor that leads to the same page again leads nowhere."""
    cursor = answer.next_cursor
    return cursor if cursor != before else None
