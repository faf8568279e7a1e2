"""Shared by the Slack tests: the adapter against a simulated Slack, and a fake inbox."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.slack import events, payloads
from adapters.slack.adapter import SlackAdapter
from adapters.slack.events import Identity
from adapters.slack.payloads import Payload
from bot.common.clock import SystemClock
from bot.domain.conversations import Author, Conversation, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Asked, Choice, Command, CommandReply, Incoming, Receipt, Watermark
from bot.domain.turns import Claim, Fence, PageRecord, Question
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim


@dataclass
class FakeInbox:
    """Records its calls. A message that was received before is KNOWN, as in the real store."""

    received: list[Incoming] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    sources: dict[str, ConversationKey] = field(default_factory=dict)
    choices: Sequence[Choice] = ()
    connections: list[str] = field(default_factory=list)
    failures: int = 0  # how many of the next calls fail
    command_seconds: float = 0.0
    missed_error: Exception | None = None
    read: list[list[Incoming]] = field(default_factory=list)  # the arguments of `missed`
    marks: dict[tuple[str, str], Watermark] = field(default_factory=dict)
    active_conversations: list[Conversation] = field(default_factory=list)
    latest_questions: list[Asked] = field(default_factory=list)
    edits: list[tuple[Incoming, float]] = field(default_factory=list)
    deletions: list[str] = field(default_factory=list)
    lost_places: list[ConversationKey] = field(default_factory=list)
    apologies: list[Incoming] = field(
        default_factory=list
    )  # requested apologies; only the first is due
    answer: CommandReply | None = None
    before_receive: Callable[[Incoming], Any] = lambda _incoming: None

    async def connected(self, platform: str) -> None:
        self.connections.append(platform)

    async def receive(self, incoming: Incoming) -> Receipt:
        waiting = self.before_receive(incoming)
        if waiting is not None:
            await waiting
        self._raise_if_failing()
        known = incoming.source in self.sources
        self.receipts.append(Receipt.KNOWN if known else Receipt.QUESTION)
        if not known:
            self.sources[incoming.source] = incoming.key
            self.received.append(incoming)
        return self.receipts[-1]

    async def apology_due(self, incoming: Incoming) -> bool:
        self.apologies.append(incoming)
        return len(self.apologies) == 1

    async def command(self, command: Command) -> CommandReply:
        await asyncio.sleep(self.command_seconds)
        self.commands.append(command)
        return self.answer or CommandReply(f"done: {command.name}")

    async def conversation_of(self, source: str) -> ConversationKey | None:
        return self.sources.get(source)

    async def recent(self, place: ConversationKey, author: str) -> Sequence[Choice]:
        return [choice for choice in self.choices if choice.key.channel == place.channel]

    async def missed(self, messages: Sequence[Incoming]) -> None:
        if self.missed_error is not None:
            raise self.missed_error
        self.read.append(list(messages))
        for message in messages:
            await self.receive(message)

    async def watermarks(self, platform: str) -> Sequence[Watermark]:
        return list(self.marks.values())

    async def move_watermarks(self, marks: Sequence[Watermark]) -> None:
        for mark in marks:
            place = (mark.workspace, mark.channel)
            at = max(mark.position, self.marks[place].position if place in self.marks else 0)
            self.marks[place] = replace(mark, position=at)

    async def active(self, platform: str) -> Sequence[Conversation]:
        return self.active_conversations

    async def last_questions(self, platform: str) -> Sequence[Asked]:
        return self.latest_questions

    async def edited(self, incoming: Incoming, edited_at: float) -> None:
        self._raise_if_failing()
        self.edits.append((incoming, edited_at))

    async def replaced(self, source: str) -> None:
        raise AssertionError("nothing is replaced on Slack")

    async def deleted(self, source: str) -> None:
        self._raise_if_failing()
        self.deletions.append(source)

    async def gone(self, place: ConversationKey) -> None:
        self.lost_places.append(place)

    def _raise_if_failing(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the disk is full")


@contextlib.asynccontextmanager
async def running(
    sim: SlackSim,
    inbox: FakeInbox,
    *,
    adapter: SlackAdapter | None = None,
    waits: bool = True,
    **options: Any,
) -> AsyncIterator[SlackAdapter]:
    """The running adapter; connected over Socket Mode if `waits`."""
    adapter = adapter or socket_adapter(sim, **options)
    task = asyncio.create_task(adapter.run(inbox))
    try:
        if waits:
            await sim.connected()
            await until(lambda: inbox.connections, task)
        yield adapter
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def socket_adapter(sim: SlackSim, **options: Any) -> SlackAdapter:
    """An adapter for Socket Mode."""
    defaults: dict[str, Any] = {
        "bot_token": ids.BOT_TOKEN,
        "app_token": ids.APP_TOKEN,
        "api_url": sim.api_url,
        "clock": SystemClock(),
    }
    return SlackAdapter(**(defaults | options))


async def until(
    check: Callable[[], Any], task: asyncio.Task[Any] | None = None, seconds: float = 10.0
) -> Any:
    """Wait until `check()` is true; raises the error of a failed `task`."""
    async with asyncio.timeout(seconds):
        while not (result := check()):
            if task is not None and task.done():
                task.result()
            await asyncio.sleep(0.01)
    return result


def read_event(
    body: Payload, me: Identity, names: Mapping[str, str], kind: str = ""
) -> Incoming | None:
    """An event as a message to the bot, without a workspace; `kind` is the channel's."""
    event = payloads.mapping(body, "event")
    if not events.is_from_person(event, me):
        return None
    kind = events.channel_kind(event) or kind
    address = events.address_of(event, kind, me)
    if address is None:
        return None
    return events.message(event, me, names, events.workspace_of(body, me.team), kind, address)


def key(channel: str, thread: str) -> ConversationKey:
    """A conversation in the simulated workspace."""
    return ConversationKey("slack", ids.TEAM, channel, thread)


def claim(
    channel: str,
    question: str,
    *,
    thread: str | None = None,
    turn: int = 7,
    pages: Sequence[PageRecord] = (),
    kind: str = "channel",
) -> Claim:
    """A turn that answers the message `question`."""
    author = Author(ids.ALICE, "alice")
    route = {"channel": channel, "thread_ts": thread or question, "user": ids.ALICE, "kind": kind}
    route["team"] = ids.TEAM
    return Claim(
        fence=Fence(turn, 1),
        conversation=Conversation(1, key(channel, thread or question), "q", None, 1, 0.0, 0.0),
        questions=(Question(1, channel, question, author, "q", route),),
        reply_index=1,
        pages=tuple(pages),
    )
