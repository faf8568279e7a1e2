"""The core on a real database, for tests: a platform that is strict, a model that is scripted.

Everything between them is the product's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.common.clock import SystemClock
from bot.domain.errors import ContextTooLong, ModelError
from bot.domain.health import Finding, Health, Verdict
from bot.domain.inbox import Command, CommandReply, Incoming, Receipt
from bot.domain.model import ChatRequest, Delta
from bot.domain.replies import Limit
from bot.domain.turns import Claim
from bot.inbox.commands import Commands
from bot.inbox.edits import EditHandler
from bot.inbox.inbox import DurableInbox
from bot.ports.inbox import Inbox
from bot.replies.ratelimit.limiter import AccountRateLimiter
from bot.store.sqlite import SqliteStore
from bot.turns.runner import TurnOptions, TurnRunner
from bot.turns.scheduler import Scheduler
from tests.support.store_kit import ANN, key, look, opened, said
from tests.support.surfaces import FakeSurface, Platform

CLOCK = SystemClock()
CHANNEL = "replies"  # replies have numbers of their own: they are never a person's message


@dataclass
class Scripted:
    """A model that says what it is told; `hold` stops it after its first piece.

    It takes `limit` messages at most.
    """

    name: str = "scripted"
    pieces: Sequence[Delta | ModelError] = (Delta("Hello."), Delta(finish_reason="stop"))
    requests: list[ChatRequest] = field(default_factory=list)
    hold: asyncio.Event | None = None
    limit: int = 1_000
    ended: Callable[[], None] = lambda: None  # called when a request is over, or given up

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        self.requests.append(request)
        if len(request.messages) > self.limit:
            raise ContextTooLong
        try:
            for piece in self.pieces:
                if isinstance(piece, ModelError):
                    raise piece
                yield piece
                if self.hold is not None:
                    await self.hold.wait()
        finally:
            self.ended()

    async def check(self) -> Finding:
        return Finding(self.name, Verdict.OK, "")

    async def aclose(self) -> None:
        """Nothing is open."""


class FakeAdapter:
    """A platform whose surfaces are all on one `Platform`."""

    name = "sim"

    def __init__(self) -> None:
        self.surfaces: list[FakeSurface] = []
        self.platforms: dict[str, Platform] = {}
        self.said: list[str] = []
        self.old: Sequence[Incoming] = ()
        self.reads = 0
        self.faults: list[Exception | None] = []
        self.backlog_fault: Exception | None = None
        self.slow_backlog = False
        self._rate_limiter = AccountRateLimiter(lambda scope: Limit(1_000, 1.0), CLOCK)

    async def run(self, inbox: Inbox) -> None:
        await inbox.connected(self.name)

    def surface(self, claim: Claim) -> FakeSurface:
        platform = self.platforms.setdefault(claim.conversation.key.thread, Platform())
        surface = FakeSurface(rate_limiter=self._rate_limiter, clock=CLOCK, platform=platform)
        surface.faults, surface.channel = self.faults, CHANNEL
        self.surfaces.append(surface)
        return surface

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        self.reads += 1
        if self.slow_backlog:
            await asyncio.sleep(60)
        if self.backlog_fault is not None:
            raise self.backlog_fault
        return self.old

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        if self.backlog_fault is not None:
            raise self.backlog_fault
        self.said.append(answer.text)

    async def check(self) -> Sequence[Finding]:
        return ()

    def health(self) -> Health:
        return Health(ok=True)


@dataclass
class World:
    """The core with its parts in reach."""

    path: Path
    store: SqliteStore
    model: Scripted
    other: Scripted
    adapter: FakeAdapter
    scheduler: Scheduler
    intake: DurableInbox

    def shown(self, thread: str = "t1") -> list[str]:
        return self.adapter.platforms[thread].reading if thread in self.adapter.platforms else []

    async def idle(self) -> None:
        await until(lambda: self.scheduler.busy == 0)

    async def ask(self, number: int, text: str = "why?", **more: object) -> Receipt:
        """Say it and wait until everything is answered."""
        receipt = await self.intake.receive(said(number, text, **more))  # type: ignore[arg-type]
        await self.idle()
        return receipt

    async def command(self, name: str, argument: str = "") -> CommandReply:
        """A button's or a slash's command of Ann's."""
        return await self.intake.command(
            Command(name=name, argument=argument, key=key(), author=ANN)
        )

    def outcomes(self) -> list[tuple[str, str | None]]:
        return look(self.path, "SELECT outcome, error FROM turns ORDER BY id")  # type: ignore[return-value]

    def contents(self, request: int = -1) -> list[str]:
        """What the model was sent, without the system prompt."""
        return [message.content for message in self.model.requests[request].messages[1:]]


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def world_of(path: Path, store: SqliteStore, *, with_reply: bool = False, **options: Any) -> World:
    model, other, adapter = Scripted(), Scripted(name="other"), FakeAdapter()
    runner = TurnRunner(
        store=store,
        surface=adapter.surface,
        default_model=model,
        models={"other": other},
        options=TurnOptions(system_prompt="Be brief.", context_tokens=4_000, **options),
        clock=CLOCK,
    )
    scheduler = Scheduler(store=store, work=runner.run, clock=CLOCK)
    commands = Commands(store=store, scheduler=scheduler, models=("other",), default="scripted")
    intake = DurableInbox(
        store=store,
        scheduler=scheduler,
        commands=commands,
        models=("other",),
        changes=EditHandler(store=store, scheduler=scheduler, clock=CLOCK, with_reply=with_reply),
        clock=CLOCK,
        missed_seconds=12 * 3_600,
        adapters={"sim": adapter},
    )
    return World(path, store, model, other, adapter, scheduler, intake)


@asynccontextmanager
async def world_at(path: Path, *, with_reply: bool = False, **options: Any) -> AsyncIterator[World]:
    """A core on the database at `path`, drained at the end."""
    async with opened(path) as store:
        world = world_of(path, store, with_reply=with_reply, **options)
        yield world
        await world.scheduler.drain(5)
        await world.intake.aclose()
