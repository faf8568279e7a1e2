"""A bot against a simulated Slack in which one request after another fails.

The core is real and runs on a real database. Tests advance the bot's clock, so that a 429 of five
minutes takes no time. Each fault affects one conversation; another one shows that the rest works.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.slack.adapter import SlackAdapter
from adapters.slack.surface import SlackSurface
from bot.common.clock import SystemClock
from bot.context.context_ports import TurnOptions
from bot.domain.attachments import Download
from bot.domain.conversations import ConversationKey
from bot.domain.errors import AttachmentError, PlatformError
from bot.domain.model import ChatRequest, Delta
from bot.domain.replies import Request, Shown
from bot.domain.turns import Claim
from bot.inbox.commands import Commands
from bot.inbox.edits import EditHandler
from bot.inbox.feedback_commands import FeedbackCommands
from bot.inbox.gates import build_gates
from bot.inbox.inbox import DurableInbox
from bot.inbox.privacy_commands import PrivacyCommands
from bot.llm.echo import EchoModel
from bot.policy.rules import PolicyRules
from bot.ports.platform import Adapter, Surface
from bot.ports.policy import Directory
from bot.privacy.exporting import Exporter
from bot.privacy.forgetting import Forgetter
from bot.privacy.personal_exports import PersonalExports
from bot.turns.runner import TurnRunner
from bot.turns.scheduler import Scheduler
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.catalog import FixedCatalog, offering
from tests.support.content_kit import content_of, context_of
from tests.support.reports import FixedReporter
from tests.support.store_kit import look, opened

REQUEST_SECONDS = 2.0
"""The adapter's request timeout in these tests: a busy machine answers within it."""

RETRY_AFTER = 300.0
"""The Retry-After of a throttled method, in seconds: longer than any timeout of the adapter."""

PATIENCE = 250.0
"""The real seconds that any wait may take on a busy machine."""

MAX_DELAY = 200.0
"""Seconds on the bot's clock for anything that must not wait for a fault to end: retries may use up
the rate limit of a minute, but nothing may wait for the five minutes of a 429."""

PIECES, PAUSE = 10, 0.03
"""The number of the model's deltas, and the seconds between them."""

SLOWLY = "slowly"
"""A word in a question that makes the model wait for the reply's first requests: a reply that grows
faster than it is shown needs no chat.appendStream."""

END = "That is all."
"""The last sentence of a complete answer."""

STEP, STEP_PAUSE = 1.0, 0.02
"""Seconds that the bot's clock advances with each check, few enough that no request times out; and
the real seconds between two checks."""

RETRY_LOOKUP = 5.0
"""Seconds between two requests to the directory."""

CONTENT = b"the content of a file"
"""The content of a person's file."""

LINKED = b"the build is red"
"""The text of a linked message."""

WORDS = "\n\n".join(f"w{number} and more" for number in range(30))
CODE = "```python\n" + "\n".join(f"print('line {number:04}')" for number in range(1_200)) + "\n```"


class JumpClock(SystemClock):
    """Real time, which a test can advance."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._sleepers: set[tuple[float, asyncio.Future[None]]] = set()

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sleeper = (self.monotonic() + seconds, waiter)
        timer = asyncio.get_running_loop().call_later(max(0.0, seconds), _wake, waiter)
        self._sleepers.add(sleeper)
        try:
            await waiter
        finally:
            timer.cancel()
            self._sleepers.discard(sleeper)

    def jump(self, seconds: float) -> None:
        """Advance the clock and wake the sleepers that are due."""
        self._ahead += seconds
        for due, waiter in tuple(self._sleepers):
            if due <= self.monotonic():
                _wake(waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class TurnSurface:
    """The surface of one turn, whose requests can be awaited."""

    def __init__(self, surface: SlackSurface) -> None:
        self.surface, self._perform = surface, surface.perform
        self.first_is_over, self.second_began = asyncio.Event(), asyncio.Event()
        surface.perform = self._observe  # type: ignore[method-assign]

    async def _observe(self, request: Request, shown: Shown) -> Shown:
        if self.first_is_over.is_set():
            self.second_began.set()
        try:
            return await self._perform(request, shown)
        finally:
            self.first_is_over.set()

    async def status_is_settled(self) -> None:
        """Wait until the status is shown or cannot be: a reply streams only below a status."""
        showing = self.surface._status._showing
        if showing is not None:
            await asyncio.wait({showing})


CURRENT: ContextVar[TurnSurface] = ContextVar("CURRENT")
"""The surface of the turn whose model is being asked."""


class Repeater(EchoModel):
    """Repeats the question in a few deltas, once the turn's status is settled."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        turn = CURRENT.get()
        await turn.status_is_settled()
        text = f"You wrote:\n\n{request.messages[-1].content}\n\n{END}"
        size = max(1, len(text) // PIECES)
        waits = {}
        if SLOWLY in text:
            waits = {PIECES // 3: turn.first_is_over, 2 * PIECES // 3: turn.second_began}
        for number, start in enumerate(range(0, len(text), size)):
            if number in waits:
                await waits[number].wait()
            yield Delta(text[start : start + size])
            await asyncio.sleep(PAUSE)
        yield Delta(finish_reason="stop")


@dataclass
class IsolationRig:
    """The simulator, the core and the current adapter."""

    sim: SlackSim
    clock: JumpClock
    scheduler: Scheduler
    inbox: DurableInbox
    adapters: dict[str, Adapter]
    errors: list[Mapping[str, Any]]
    database: Path
    channels: dict[str, str] = field(default_factory=dict)
    downloads: list[asyncio.Task[Download]] = field(default_factory=list)
    lookups: list[asyncio.Task[None]] = field(default_factory=list)

    async def channel(self, name: str) -> str:
        """The id of the channel with this name, which is created if necessary."""
        if name not in self.channels:
            self.channels[name] = await self.sim.add_channel(name)
        return self.channels[name]

    @contextlib.asynccontextmanager
    async def bot(self, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
        """Start a new adapter, as a new process would; it is not connected yet."""
        adapter = SlackAdapter(
            bot_token=ids.BOT_TOKEN,
            app_token=ids.APP_TOKEN,
            api_url=self.sim.api_url,
            clock=self.clock,
            models=offering(),
            file_from_messages=2,
            request_seconds=REQUEST_SECONDS,
            download_seconds=REQUEST_SECONDS,
            **options,
        )
        self.adapters["slack"] = adapter
        task = asyncio.create_task(adapter.run(self.inbox))
        try:
            yield task
        finally:
            await self.idle()
            await self.downloads_done()
            await self.lookups_done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def connected(self, task: asyncio.Task[None]) -> None:
        """Wait until events arrive."""

        async def ready() -> bool:
            if task.done():
                task.result()
            return self.adapters["slack"].health().ok

        await self.sim.until(ready, PATIENCE)

    async def idle(self) -> None:
        """Wait until no turn is running, while the bot's clock advances."""

        async def is_idle() -> bool:
            self.clock.jump(STEP)
            return self.scheduler.busy == 0

        await self.sim.until(is_idle, PATIENCE, pause=STEP_PAUSE)

    async def downloads_done(self) -> None:
        """Wait until every download has succeeded or has failed for good."""

        async def are_done() -> bool:
            self.clock.jump(STEP)
            return all(task.done() for task in self.downloads)

        await self.sim.until(are_done, PATIENCE, pause=STEP_PAUSE)
        results = await asyncio.gather(*self.downloads, return_exceptions=True)
        assert [one for one in results if not isinstance(one, Download | AttachmentError)] == []
        files = [one.data for one in results if isinstance(one, Download)]
        assert all(data == CONTENT or LINKED in data for data in files), files
        self.downloads.clear()

    def look_up(self, is_known: Callable[[Directory], Awaitable[bool]]) -> None:
        """Ask the directory, repeatedly until it knows."""
        self.lookups.append(asyncio.create_task(self._look_up(is_known)))

    async def _look_up(self, is_known: Callable[[Directory], Awaitable[bool]]) -> None:
        while True:
            with contextlib.suppress(PlatformError):
                if await is_known(self.adapters["slack"].directory):
                    return
            await self.clock.sleep(RETRY_LOOKUP)

    async def lookups_done(self) -> None:
        """Wait until the directory has answered everything that it was asked."""

        async def are_done() -> bool:
            self.clock.jump(STEP)
            return all(task.done() for task in self.lookups)

        await self.sim.until(are_done, PATIENCE, pause=STEP_PAUSE)
        await asyncio.gather(*self.lookups)
        self.lookups.clear()

    async def turn_done(self, root: str) -> None:
        """Wait until the question's turn is done; other turns may be retrying a request."""
        sql = (
            "SELECT 1 FROM turns JOIN messages ON turns.id = turn_id"
            " WHERE message_id = ? AND state = 'done'"
        )

        async def is_done() -> bool:
            return bool(look(self.database, sql, root))

        await self.sim.until(is_done, PATIENCE)

    def turn_of(self, root: str) -> int:
        """The row id of the question's turn."""
        ((turn,),) = look(self.database, "SELECT turn_id FROM messages WHERE message_id = ?", root)
        return int(turn)

    async def ask(self, channel: str, text: str = WORDS, user: str = ids.ALICE) -> str:
        """Ask a question; returns its ts."""
        return await self.sim.say(user, channel, f"@bob {text}", mention=True)

    def download(self, locator: Mapping[str, str]) -> None:
        """Download a file, and try again as long as that may succeed."""
        self.downloads.append(asyncio.create_task(self._download(locator)))

    async def _download(self, locator: Mapping[str, str]) -> Download:
        key = ConversationKey("slack", ids.TEAM, ids.GENERAL, "1.000001")
        while True:
            try:
                return await self.adapters["slack"].download(key, locator, limit=1_000)
            except AttachmentError as error:
                if error.retry_after is None:
                    raise
                await self.clock.sleep(error.retry_after)

    async def shows_closed_answer(self, channel: str, root: str) -> bool:
        """Whether the thread shows the whole answer and no open stream."""
        replies = await self._replies(channel, root)
        return _has_answer(replies) and not any(map(_streams, replies))

    async def shows_answer(self, channel: str, root: str) -> bool:
        """Whether the thread shows the whole answer, as text or as a file."""
        return _has_answer(await self._replies(channel, root))

    async def _replies(self, channel: str, root: str) -> list[Mapping[str, Any]]:
        thread = await self.sim.thread(channel, root)
        return [one for one in thread if one.get("bot_id") == ids.BOT]


def _has_answer(replies: Sequence[Mapping[str, Any]]) -> bool:
    shown = "\n".join(str(one["shown"]) for one in replies)
    code = any(one.get("files") for one in replies) or "line 1199" in shown
    return ("w29" in shown or code) and END in shown


def _streams(message: Mapping[str, Any]) -> bool:
    return message.get("streaming_state") == "in_progress"


@contextlib.asynccontextmanager
async def open_rig(path: Path, sim: SlackSim) -> AsyncIterator[IsolationRig]:
    """The core on the database at `path`; `errors` collects unhandled exceptions of tasks."""
    clock, adapters, errors = JumpClock(), dict[str, Adapter](), list[Mapping[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))

    def surface(claim: Claim) -> Surface:
        adapter = adapters[claim.conversation.key.platform]
        assert isinstance(adapter, SlackAdapter)
        made = adapter.surface(claim)
        CURRENT.set(TurnSurface(made))
        return made

    policy = PolicyRules()
    policy.connect(lambda platform: adapters[platform].directory)
    async with opened(path) as store:
        content, models = content_of(store, adapters, clock), FixedCatalog(Repeater(), {})
        runner = TurnRunner(
            store=store,
            surface=surface,
            models=models,
            context=context_of(
                store,
                clock,
                TurnOptions(system_prompt="Be brief.", context_tokens=20_000),
                policy=policy,
            ),
            attachments=content.ports,
        )
        scheduler = Scheduler(store=store, work=runner.run, clock=clock)
        inbox = DurableInbox(
            store=store,
            scheduler=scheduler,
            commands=Commands(
                store=store,
                scheduler=scheduler,
                models=models,
                reporter=FixedReporter(),
                more={
                    **FeedbackCommands(store=store.feedback(), policy=policy).handlers(),
                    **PrivacyCommands(
                        store=store,
                        forgetter=Forgetter(store=store.privacy(), audit=store.audit()),
                        exports=PersonalExports(
                            exporter=Exporter(store=store.privacy(), audit=store.audit()),
                            clock=clock,
                        ),
                    ).handlers(),
                },
            ),
            models=models,
            edits=EditHandler(store=store, scheduler=scheduler, clock=clock, with_reply=True),
            clock=clock,
            missed_seconds=12 * 3_600,
            gates=build_gates(store=store, adapters=adapters, clock=clock),
            intake=content.intake,
        )
        yield IsolationRig(sim, clock, scheduler, inbox, adapters, errors, path)
        await scheduler.drain(5)
        await content.fetcher.aclose()
        await inbox.aclose()


# ── faults ────────────────────────────────────────────────────────────────────────────────────
HTML = {"Content-Type": "text/html"}
JSON = {"Content-Type": "application/json"}
FIELDS = (
    *(
        "ts",
        "message",
        "message_ts",
        "channel",
        "channels",
        "messages",
        "user",
        "response_metadata",
    ),
    *("url", "upload_url", "file_id", "files", "team_id", "user_id", "bot_id", "status", "team"),
)

FAULTS: Mapping[str, Mapping[str, Any]] = {
    "5xx": {"status": 503, "body": "<html>busy</html>", "headers": HTML, "times": 1_000},
    "no answer": {"delay": 60.0, "times": 2},
    "dropped before": {"drop": True, "times": 2},
    "dropped after": {"drop": True, "after": True},
    "HTML": {"status": 200, "body": "<!DOCTYPE html><p>Sign in", "headers": HTML, "times": 2},
    "no JSON": {"status": 200, "body": "{nonsense", "headers": JSON, "times": 2},
    "empty body": {"status": 200, "body": "", "headers": JSON, "times": 2},
    "a list": {"status": 200, "body": ["ok"], "times": 2},
    "deep JSON": {"status": 200, "body": "[" * 90_000, "headers": JSON},
    "internal_error": {"status": 200, "body": {"ok": False, "error": "internal_error"}, "times": 2},
    "ratelimited": {"status": 200, "body": {"ok": False, "error": "ratelimited"}},
    "unknown code": {"status": 200, "body": {"ok": False, "error": "brand_new_error"}, "times": 2},
    "no code": {"status": 200, "body": {"ok": False, "error": None}, "times": 2},
    "invalid_auth": {"status": 200, "body": {"ok": False, "error": "invalid_auth"}},
    "fields missing": {"remove": list(FIELDS), "times": 2},
    "fields null": {"put": dict.fromkeys(FIELDS), "times": 2},
    "fields retyped": {"put": dict.fromkeys(FIELDS, 17), "times": 2},
    "fields odd": {"put": {name: [{"x": None}] for name in FIELDS}, "times": 2},
}
"""Faulty responses other than a 429, applied to the requests of one conversation."""

ONE_OF_EACH = ("5xx", "no answer", "dropped after", "empty body", "unknown code", "fields retyped")
"""One fault of each kind, for requests that do not name their conversation."""

Trigger = Callable[[IsolationRig, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """How people make the bot send one request.

    `agent`: the app is an agent, so replies stream. `named`: the request names the channel.
    `whole`: the answer is complete although the method is throttled. `said`: at least its text is.
    """

    trigger: Trigger
    agent: bool = True
    named: bool = True
    whole: bool = True
    said: bool = True
