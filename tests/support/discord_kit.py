"""The real Discord adapter against the simulator, with an inbox that records its calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.discord.adapter import DiscordAdapter
from bot.common.clock import SystemClock
from bot.domain.conversations import Author, Conversation, ConversationKey
from bot.domain.inbox import (
    Address,
    Asked,
    Choice,
    Command,
    CommandReply,
    Incoming,
    Receipt,
    Watermark,
)
from bot.domain.replies import Control, Frame, Page, Priority, Shown
from bot.domain.turns import Claim, Fence, PageRecord, Question
from bot.ports.platform import Surface
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim

NO_CONTROLS: tuple[Control, ...] = ()


@dataclass
class RecordingInbox:
    """An inbox that accepts everything and knows the given `conversations`."""

    received: list[Incoming] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    connections: int = 0
    conversations: dict[str, ConversationKey] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    asked_recent: list[tuple[ConversationKey, str]] = field(default_factory=list)
    answer: CommandReply = field(default_factory=lambda: CommandReply("Done."))
    error: Exception | None = None
    missed_error: Exception | None = None
    read: list[list[Incoming]] = field(default_factory=list)  # the arguments of `missed`
    marks: dict[tuple[str, str], Watermark] = field(default_factory=dict)
    talked_in: list[Conversation] = field(default_factory=list)
    asked_last: list[Asked] = field(default_factory=list)
    edits: list[tuple[Incoming, float]] = field(default_factory=list)
    deletions: list[str] = field(default_factory=list)
    replacements: list[str] = field(default_factory=list)
    refused: int = 0  # changes that failed with `error`
    places_gone: list[ConversationKey] = field(default_factory=list)
    apologies: list[Incoming] = field(default_factory=list)  # only the first one is due

    async def connected(self, platform: str) -> None:
        assert platform == "discord"
        self.connections += 1

    async def receive(self, incoming: Incoming) -> Receipt:
        if self.error is not None:
            raise self.error
        self.received.append(incoming)
        return Receipt.QUESTION

    async def apology_due(self, incoming: Incoming) -> bool:
        self.apologies.append(incoming)
        return len(self.apologies) == 1

    async def command(self, command: Command) -> CommandReply:
        if self.error is not None:
            raise self.error
        self.commands.append(command)
        return self.answer

    async def conversation_of(self, source: str) -> ConversationKey | None:
        return self.conversations.get(source)

    async def recent(self, place: ConversationKey, author: str) -> Sequence[Choice]:
        self.asked_recent.append((place, author))
        return self.choices

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
        return self.talked_in

    async def last_questions(self, platform: str) -> Sequence[Asked]:
        return self.asked_last

    async def edited(self, incoming: Incoming, edited_at: float) -> None:
        self.refused += self.error is not None
        if self.error is not None:
            raise self.error
        self.edits.append((incoming, edited_at))

    async def deleted(self, source: str) -> None:
        self.refused += self.error is not None
        if self.error is not None:
            raise self.error
        self.deletions.append(source)

    async def replaced(self, source: str) -> None:
        if self.error is not None:
            raise self.error
        self.replacements.append(source)

    async def gone(self, place: ConversationKey) -> None:
        self.places_gone.append(place)

    def text_of(self, text: str) -> Incoming | None:
        """The received message with this text."""
        return next((message for message in self.received if message.text == text), None)


def adapter_for(sim: DiscordSim, **options: Any) -> DiscordAdapter:
    """A new adapter that is not running."""
    defaults: dict[str, Any] = {
        "token": c.SIM_TOKEN,
        "api_url": sim.api_url,
        "gateway_url": sim.gateway_url,
        "clock": SystemClock(),
    }
    return DiscordAdapter(**{**defaults, **options})


@asynccontextmanager
async def running(
    sim: DiscordSim, inbox: RecordingInbox, **options: Any
) -> AsyncIterator[DiscordAdapter]:
    """Yields the connected adapter and stops it at the end."""
    adapter, before = adapter_for(sim, **options), inbox.connections
    task = asyncio.create_task(adapter.run(inbox))
    try:
        await until(lambda: inbox.connections > before or task.done())
        if task.done():
            await task
        yield adapter
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(check: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait until `check()` returns something true, and return that."""
    async with asyncio.timeout(seconds):
        while not (found := check()):
            await asyncio.sleep(0.005)
    return found


async def received(inbox: RecordingInbox, message: int) -> Incoming:
    """Wait for a platform message to arrive in the inbox."""

    def found() -> Incoming | None:
        return next((m for m in inbox.received if m.message_id == str(message)), None)

    result = await until(found)
    assert isinstance(result, Incoming)
    return result


# ── replies ───────────────────────────────────────────────────────────────────────────────────
def claim(
    *questions: Incoming,
    turn: int = 7,
    attempt: int = 1,
    pages: tuple[PageRecord, ...] = (),
) -> Claim:
    """A turn that answers these messages."""
    key = questions[0].key
    return Claim(
        fence=Fence(turn, attempt),
        conversation=Conversation(1, key, "a conversation", None, 1, 0.0, 0.0),
        questions=tuple(
            Question(n, m.channel, m.message_id, m.author, m.text, m.route)
            for n, m in enumerate(questions, 1)
        ),
        reply_index=2,
        pages=pages,
    )


def frame(*texts: str, final: bool = False, controls: tuple[Control, ...] = NO_CONTROLS) -> Frame:
    """A reply with these pages; all but the last are sealed."""
    pages, start = [], 0
    for n, text in enumerate(texts):
        end = start + len(text)
        pages.append(Page(text, text, start, end, sealed=final or n < len(texts) - 1))
        start = end
    return Frame(tuple(pages), final=final, controls=controls)


async def show(surface: Surface, shown: Shown, wanted: Frame) -> Shown:
    """Make the surface show a frame, one granted request after another."""
    state = [shown]
    while request := await surface.rate_limiter.acquire(
        lambda: surface.plan(state[0], wanted), lambda: (Priority.FINAL, 0.0)
    ):
        state[0] = await surface.perform(request, state[0])
    return state[0]


def asked(
    message: int,
    *,
    channel: int = c.CHANNEL,
    text: str = "why?",
    route: Mapping[str, str] | None = None,
    key: ConversationKey | None = None,
) -> Incoming:
    """A mention in a channel as the adapter would translate it."""
    return Incoming(
        key=key or ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), str(message)),
        channel=str(channel),
        message_id=str(message),
        position=message,
        author=Author(str(c.ALICE), "alice"),
        text=text,
        address=Address.MENTION,
        sent_at=0.0,
        route=route or {"mode": "thread", "title": text},
    )
