"""The core on a real database, between a strict fake platform and a scripted model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.common.clock import SystemClock
from bot.context.compaction import Compactor
from bot.context.context_ports import TurnOptions
from bot.context.roles import UNSAID
from bot.domain.attachments import Download, Omission
from bot.domain.conversations import ConversationKey, Message, Role
from bot.domain.errors import AttachmentError, ContextTooLong, ModelError
from bot.domain.health import Finding, Health, Verdict
from bot.domain.inbox import Command, CommandReply, Incoming, Receipt
from bot.domain.model import ChatRequest, Delta, ModelFacts
from bot.domain.replies import Limit, Request
from bot.domain.turns import Claim
from bot.inbox.commands import Commands
from bot.inbox.edits import EditHandler
from bot.inbox.gates import build_gates
from bot.inbox.inbox import DurableInbox
from bot.inbox.policy_commands import PolicyCommands
from bot.policy.rates import QuestionRates
from bot.policy.rules import PolicyRules
from bot.ports.inbox import Inbox
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.ports.model import ChatModel, ModelCatalog
from bot.ports.spending import Meter
from bot.ports.tracing import Tracer
from bot.replies.ratelimit.limiter import AccountRateLimiter
from bot.store.sqlite import SqliteStore
from bot.turns.runner import TurnRunner
from bot.turns.scheduler import Scheduler
from tests.support.catalog import ChangingCatalog
from tests.support.content_kit import Content, content_of, context_of
from tests.support.policy_kit import FixedDirectory
from tests.support.reports import FixedReporter
from tests.support.store_kit import ANN, key, look, opened, said
from tests.support.surfaces import FakeSurface, Platform

CLOCK = SystemClock()
CHANNEL = "replies"  # separate from people's: a reply's message id may equal a person's


@dataclass
class ScriptedModel:
    """A model that streams `pieces`, and waits for `hold` after the first one.

    Requests with more than `limit` messages are too long.
    """

    name: str = "scripted"
    sees: bool | None = None
    facts: ModelFacts = field(default_factory=ModelFacts)
    pieces: Sequence[Delta | ModelError] = (Delta("Hello."), Delta(finish_reason="stop"))
    requests: list[ChatRequest] = field(default_factory=list)
    script: Callable[[], Sequence[Delta | ModelError]] | None = None  # of each request in turn
    hold: asyncio.Event | None = None
    limit: int = 1_000
    ended: Callable[[], None] = lambda: None  # called when a request ends or is cancelled

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        self.requests.append(request)
        if len(request.messages) > self.limit:
            raise ContextTooLong
        try:
            for piece in self.script() if self.script is not None else self.pieces:
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
        """Nothing to close."""


class FakeAdapter:
    """A platform with one `Platform` of messages per thread."""

    name = "sim"

    def __init__(self) -> None:
        self.surfaces: list[FakeSurface] = []
        self.platforms: dict[str, Platform] = {}
        self.said: list[str] = []
        self.old: Sequence[Incoming] = ()
        self.reads = 0
        self.faults: list[Exception | None] = []
        self.refuses: Callable[[Request], None] = lambda _request: None  # raises Refused
        self.backlog_fault: Exception | None = None
        self.slow_backlog = False
        self.files: dict[str, bytes | Exception | asyncio.Event] = {}
        self.downloads: list[str] = []
        self.directory = FixedDirectory(has_strangers=False)
        self._rate_limiter = AccountRateLimiter(lambda scope: Limit(1_000, 1.0), CLOCK)

    async def run(self, inbox: Inbox) -> None:
        await inbox.connected(self.name)

    def surface(self, claim: Claim) -> FakeSurface:
        platform = self.platforms.setdefault(claim.conversation.key.thread, Platform())
        surface = FakeSurface(rate_limiter=self._rate_limiter, clock=CLOCK, platform=platform)
        surface.faults, surface.channel = self.faults, CHANNEL
        surface.refuses = self.refuses
        self.surfaces.append(surface)
        return surface

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        self.reads += 1
        if self.slow_backlog:
            await asyncio.sleep(60)
        if self.backlog_fault is not None:
            raise self.backlog_fault
        return self.old

    def is_own_link(self, url: str) -> bool:
        return url.startswith("https://sim.test/")

    async def download(
        self, key: ConversationKey, locator: Mapping[str, str], *, limit: int
    ) -> Download:
        self.downloads.append(locator["file"])
        found = self.files[locator["file"]]
        if isinstance(found, Exception):
            raise found
        if isinstance(found, asyncio.Event):
            await found.wait()
            found = self.files[locator["file"]]
        if not isinstance(found, bytes):
            raise AttachmentError(Omission.GONE)
        return Download(found)

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
    """The core, with access to its parts."""

    path: Path
    store: SqliteStore
    model: ScriptedModel
    other: ScriptedModel
    adapter: FakeAdapter
    scheduler: Scheduler
    inbox: DurableInbox
    content: Content
    models: ChangingCatalog
    reporter: FixedReporter
    rates: QuestionRates
    compactor: Compactor | None = None

    def shown(self, thread: str = "t1") -> list[str]:
        return self.adapter.platforms[thread].messages if thread in self.adapter.platforms else []

    async def idle(self) -> None:
        await until(lambda: self.scheduler.busy == 0)

    async def settle(self) -> None:
        """Wait until every turn has ended, and nothing is being summarized."""
        await self.idle()
        await until(lambda: self.compactor is None or self.compactor.busy == 0)

    async def ask(self, number: int, text: str = "why?", **more: object) -> Receipt:
        """Send a message and wait until every turn has ended."""
        receipt = await self.inbox.receive(said(number, text, **more))  # type: ignore[arg-type]
        await self.idle()
        return receipt

    async def command(self, name: str, argument: str = "") -> CommandReply:
        """Issue a command as Ann, by slash command or button."""
        return await self.inbox.command(
            Command(name=name, argument=argument, key=key(), author=ANN)
        )

    def outcomes(self) -> list[tuple[str, str | None]]:
        return look(self.path, "SELECT outcome, error FROM turns ORDER BY id")  # type: ignore[return-value]

    def named_contents(self, request: int = -1) -> list[str]:
        """The messages of a request to the model, without the system prompt."""
        return [message.content for message in self.model.requests[request].messages[1:]]

    def contents(self, request: int = -1) -> list[str]:
        """The messages of a request to the model, without the system prompt and Ann's name.

        Each of her messages in a channel must contain it.
        """
        return [without_ann(message) for message in self.model.requests[request].messages[1:]]


def without_ann(message: Message) -> str:
    """A message's text without Ann's name in front of her parts, where it must be."""
    if message.role is not Role.USER or message.content == UNSAID:
        return message.content
    text = message.content.removeprefix(f"{UNSAID}\n\n")
    assert text.startswith(("Ann: ", "Ben: ", "[Earlier messages left out", "Summary of ")), text
    return re.sub(r"(?m)(?:^|(?<=\n\n))Ann: ", "", message.content)


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def world_of(
    path: Path,
    store: SqliteStore,
    *,
    with_reply: bool = False,
    content: Mapping[str, Any] | None = None,
    context_tokens: int = 4_000,
    summarizer: ChatModel | None = None,
    compaction: Mapping[str, Any] | None = None,
    wrap: Callable[[Any], Any] = lambda part: part,
    policy: PolicyRules | None = None,
    meter: Meter | None = None,
    directory: FixedDirectory | None = None,
    catalog: ModelCatalog | None = None,
    tracer: Tracer | None = None,
    observer: Observer = NO_OBSERVER,
    **options: Any,
) -> World:
    """The core. It summarizes conversations only if there is a `summarizer`, and counts only if
    there is a `meter`.

    `wrap` replaces the parts of the store that the compactor uses. Without `policy` there are no
    rules. `observer` receives events. `directory` knows the people and places of the fake
    platform. Turns ask the models of `catalog`, if given, instead of the scripted ones.
    """
    model, other, adapter = ScriptedModel(), ScriptedModel(name="other"), FakeAdapter()
    adapter.directory = directory or adapter.directory
    if policy is None or directory is not None:
        policy = policy or PolicyRules()
        policy.connect(lambda _platform: adapter.directory)
    models, adapters = ChangingCatalog(model, {"other": other}), {"sim": adapter}
    room = content_of(store, adapters, CLOCK, observer=observer, **(content or {}))
    compactor = summarizer and Compactor(
        store=wrap(store),
        contexts=wrap(store.contexts()),
        attachments=wrap(store.attachments()),
        summarizer=lambda _conversation, _assigned: summarizer,
        budget=lambda _: context_tokens,
        **(compaction or {}),
    )
    runner = TurnRunner(
        store=store,
        surface=adapter.surface,
        models=catalog or models,
        context=context_of(
            store,
            CLOCK,
            TurnOptions(system_prompt="Be brief.", context_tokens=context_tokens, **options),
            wait=compactor and compactor.wait,
            policy=policy,
        ),
        attachments=room.ports,
        compactor=compactor,
        meter=meter,
        observer=observer,
    )
    scheduler = Scheduler(store=store, work=runner.run, clock=CLOCK, tracer=tracer)
    reporter = FixedReporter()
    commands = Commands(
        store=store,
        scheduler=scheduler,
        models=models,
        reporter=reporter,
        policy=policy,
        more=PolicyCommands(
            store=store, policies=store.policies(), policy=policy, catalog=models
        ).handlers(),
    )
    rates = QuestionRates(policy, CLOCK)
    inbox = DurableInbox(
        store=store,
        scheduler=scheduler,
        commands=commands,
        models=models,
        edits=EditHandler(store=store, scheduler=scheduler, clock=CLOCK, with_reply=with_reply),
        clock=CLOCK,
        missed_seconds=12 * 3_600,
        gates=build_gates(store=store, adapters=adapters, clock=CLOCK, policy=policy, rates=rates),
        intake=room.intake,
        tracer=tracer,
        observer=observer,
    )
    return World(
        path,
        store,
        model,
        other,
        adapter,
        scheduler,
        inbox,
        room,
        models,
        reporter,
        rates,
        compactor,
    )


@asynccontextmanager
async def world_at(path: Path, *, with_reply: bool = False, **options: Any) -> AsyncIterator[World]:
    """The core on the database at `path`; drained at the end."""
    async with opened(path) as store:
        world = world_of(path, store, with_reply=with_reply, **options)
        yield world
        await world.scheduler.drain(5)
        if world.compactor is not None:
            await world.compactor.aclose()
        await world.content.fetcher.aclose()
        await world.inbox.aclose()
