"""A bot against one simulated Slack, in which one request after another goes wrong.

The core is the product's own, on a real database; time can be moved on, so that five minutes of a
429 cost nothing. Every trouble hits one conversation; another one shows that everything else works.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.slack.adapter import SlackAdapter
from bot.common.clock import SystemClock
from bot.domain.model import ChatRequest, Delta
from bot.inbox.commands import Commands
from bot.inbox.edits import EditHandler
from bot.inbox.inbox import DurableInbox
from bot.llm.echo import EchoModel
from bot.ports.platform import Adapter
from bot.turns.runner import TurnOptions, TurnRunner
from bot.turns.scheduler import Scheduler
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.store_kit import opened

REQUEST_SECONDS = 0.6
"""Of the adapter here: a request without an answer costs no more."""

AFTER = 300.0
"""What a throttled method says, in seconds: longer than any patience of ours."""

PATIENCE = 60.0
"""Real seconds for anything: a busy machine takes a few."""

SOON = 200.0
"""Seconds of the bot's for what must not wait for a trouble to end: the budget of a minute may be
used up by what is tried again, but not the five minutes of a 429 are waited for."""

THINKS, PIECES, PAUSE = 0.15, 10, 0.03
"""Seconds until the model's first word, in how many pieces it comes, and seconds between them."""

SLOWLY = "slowly"
"""In a question that is answered in more pieces, with longer pauses."""

END = "That is all."
"""Of an answer that is whole."""

STEP = 1.0
"""Seconds of the bot's that pass with each look: a request of ours takes far less than thirty of
them, after which it would be given up."""

WORDS = "\n\n".join(f"w{number} and more" for number in range(30))
CODE = "```python\n" + "\n".join(f"print('line {number:04}')" for number in range(1_200)) + "\n```"


class JumpClock(SystemClock):
    """Real time that a test moves on."""

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
        """So many seconds pass at once."""
        self._ahead += seconds
        for due, waiter in tuple(self._sleepers):
            if due <= self.monotonic():
                _wake(waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Repeater(EchoModel):
    """It thinks for a moment, long enough for Slack to answer to the status, and repeats what it is
    told in a few pieces."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        await asyncio.sleep(THINKS)
        text = f"You wrote:\n\n{request.messages[-1].content}\n\n{END}"
        slowness = 3 if SLOWLY in text else 1
        size = max(1, len(text) // (PIECES * slowness))
        for start in range(0, len(text), size):
            yield Delta(text[start : start + size])
            await asyncio.sleep(PAUSE * slowness)
        yield Delta(finish_reason="stop")


@dataclass
class World:
    """The simulator, the core, and the adapter that runs at the moment."""

    sim: SlackSim
    clock: JumpClock
    scheduler: Scheduler
    intake: DurableInbox
    adapters: dict[str, Adapter]
    errors: list[Mapping[str, Any]]
    channels: dict[str, str] = field(default_factory=dict)

    async def channel(self, name: str) -> str:
        """A channel of that name."""
        if name not in self.channels:
            self.channels[name] = await self.sim.add_channel(name)
        return self.channels[name]

    @contextlib.asynccontextmanager
    async def bot(self, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
        """A new process, as far as the adapter knows; not connected yet."""
        adapter = SlackAdapter(
            bot_token=ids.BOT_TOKEN,
            app_token=ids.APP_TOKEN,
            api_url=self.sim.api_url,
            clock=self.clock,
            file_from_messages=2,
            request_seconds=REQUEST_SECONDS,
            **options,
        )
        self.adapters["slack"] = adapter
        task = asyncio.create_task(adapter.run(self.intake))
        try:
            yield task
        finally:
            await self.idle()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def connected(self, task: asyncio.Task[None]) -> None:
        """Events arrive."""

        async def ready() -> bool:
            if task.done():
                task.result()
            return self.adapters["slack"].health().ok

        await self.sim.until(ready, PATIENCE)

    async def idle(self) -> None:
        """No turn is in work; time passes, so that nothing waits for long."""

        async def quiet() -> bool:
            self.clock.jump(STEP)
            return self.scheduler.busy == 0

        await self.sim.until(quiet, PATIENCE)

    async def ask(self, channel: str, text: str = WORDS, user: str = ids.ALICE) -> str:
        """A question; its ts."""
        return await self.sim.say(user, channel, f"@bob {text}", mention=True)

    async def is_whole(self, channel: str, root: str) -> bool:
        """Whether the whole answer is on the screen, and no stream is open."""
        replies = await self._replies(channel, root)
        return _is_said(replies) and not any(map(_streams, replies))

    async def is_said(self, channel: str, root: str) -> bool:
        """Whether the whole answer is on the screen, as text or as a file."""
        return _is_said(await self._replies(channel, root))

    async def _replies(self, channel: str, root: str) -> list[Mapping[str, Any]]:
        thread = await self.sim.thread(channel, root)
        return [one for one in thread if one.get("bot_id") == ids.BOT]


def _is_said(replies: Sequence[Mapping[str, Any]]) -> bool:
    shown = "\n".join(str(one["shown"]) for one in replies)
    code = any(one.get("files") for one in replies) or "line 1199" in shown
    return ("w29" in shown or code) and END in shown


def _streams(message: Mapping[str, Any]) -> bool:
    return message.get("streaming_state") == "in_progress"


@contextlib.asynccontextmanager
async def world_at(path: Path, sim: SlackSim) -> AsyncIterator[World]:
    """The core on the database at `path`; what no task caught is in `errors`."""
    clock, adapters, errors = JumpClock(), dict[str, Adapter](), list[Mapping[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
    async with opened(path) as store:
        runner = TurnRunner(
            store=store,
            surface=lambda claim: adapters[claim.conversation.key.platform].surface(claim),
            default_model=Repeater(),
            models={},
            options=TurnOptions(system_prompt="Be brief.", context_tokens=20_000),
            clock=clock,
        )
        scheduler = Scheduler(store=store, work=runner.run, clock=clock)
        intake = DurableInbox(
            store=store,
            scheduler=scheduler,
            commands=Commands(store=store, scheduler=scheduler, models=(), default="echo"),
            models=(),
            changes=EditHandler(store=store, scheduler=scheduler, clock=clock, with_reply=True),
            clock=clock,
            missed_seconds=12 * 3_600,
            adapters=adapters,
        )
        yield World(sim, clock, scheduler, intake, adapters, errors)
        await scheduler.drain(5)
        await intake.aclose()


# ── troubles ──────────────────────────────────────────────────────────────────────────────────
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

TROUBLES: Mapping[str, Mapping[str, Any]] = {
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
"""What an answer may be, beside a 429; applied to the requests of one conversation."""

FEW = ("5xx", "no answer", "dropped after", "empty body", "unknown code", "fields retyped")
"""One of each kind, for a request that does not say for which conversation it is."""

Provoke = Callable[[World, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Scene:
    """How people bring the bot to send one request.

    `agent` says whether the app is an agent (which streams), `named` whether the request names the
    channel, `whole` whether the answer is whole at once while the method alone is throttled, and
    `said` whether its text is.
    """

    provoke: Provoke
    agent: bool = True
    named: bool = True
    whole: bool = True
    said: bool = True
