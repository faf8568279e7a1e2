"""The real Discord adapter against the simulator, with an inbox that records its calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from adapters.discord.adapter import DiscordAdapter
from bot.common.clock import SystemClock
from bot.domain.conversations import Author, Conversation, ConversationKey
from bot.domain.inbox import (
    Address,
    Incoming,
)
from bot.domain.replies import Control, Frame, Page, Priority, Shown
from bot.domain.turns import Claim, Fence, PageRecord, Question
from bot.ports.platform import Surface
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.catalog import offering
from tests.support.fake_inbox import FakeInbox

NO_CONTROLS: tuple[Control, ...] = ()


def adapter_for(sim: DiscordSim, **options: Any) -> DiscordAdapter:
    """A new adapter that is not running."""
    defaults: dict[str, Any] = {
        "token": c.SIM_TOKEN,
        "api_url": sim.api_url,
        "gateway_url": sim.gateway_url,
        "clock": SystemClock(),
        "models": offering(),
    }
    return DiscordAdapter(**{**defaults, **options})


@asynccontextmanager
async def running(
    sim: DiscordSim, inbox: FakeInbox, **options: Any
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


async def until(check: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until `check()` returns a true value, and return that."""
    async with asyncio.timeout(seconds):
        while not (found := check()):
            await asyncio.sleep(0.005)
    return found


async def wait_received(inbox: FakeInbox, message: int) -> Incoming:
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
    """Make the surface show a frame, granting one request after another."""
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
