"""A platform, a model and a bot that is started again whenever it dies.

The simulators run in the test's own loop; the bot is a process of its own, forked by the nursery.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from tests.kills.process_pool import ProcessPool
from tests.sims.discord import constants as d
from tests.sims.discord.client import DiscordSim
from tests.sims.discord.sim import DiscordServer
from tests.sims.kit import Sim, SimProcess
from tests.sims.model.client import ModelSim
from tests.sims.model.server import ModelServer
from tests.sims.slack import ids as s
from tests.sims.slack.client import SlackSim
from tests.sims.slack.sim import SlackServer
from tests.support.harness import ROOT
from tests.support.scenes import DiscordStage, SlackStage, Stage, ThreadRef
from tests.support.transcript import Post

SYSTEM_PROMPT = "Be brief."
# Slack's second and third retry come after so many seconds times 60 and 300.
RETRY_SCALE = 0.03

SimT = TypeVar("SimT", bound=SimProcess)


@asynccontextmanager
async def served(client: SimT, server: Sim) -> AsyncIterator[SimT]:
    """`server` in this loop, and `client` to drive it."""
    runner = await server.start()
    async with aiohttp.ClientSession() as session:
        client.port, client._session = server.port, session
        try:
            yield client
        finally:
            await runner.cleanup()


Aim = Callable[[int], Awaitable[None]]
"""Told a bot's process id before it does anything."""


@dataclass(frozen=True, slots=True)
class Life:
    """What is done to the bot from one start to its end: see `tests.kills.instrumented`."""

    watch: Mapping[str, str]
    aim: Aim | None = None


class RestartingBot:
    """Runs the bot, and starts it again at once when it was killed.

    `autopsy` is awaited between a death and the next start.
    """

    def __init__(self, nursery: ProcessPool, folder: Path, environ: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._nursery = nursery
        self._environ = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "DEBUG",
            "DATABASE_URL": f"sqlite:///{folder / 'threadline.db'}",
            **environ,
        }
        self.lives: list[Life] = []  # what is done to the bot at its next starts …
        self.later: Mapping[str, str] = {}  # … and at all after those
        self.deaths = 0
        self.failure = ""
        self.pid = 0
        self.autopsy: Callable[[], Awaitable[None]] = _nothing
        self._keeping: asyncio.Task[None] | None = None

    @property
    def database(self) -> Path:
        return self.folder / "threadline.db"

    async def start(self, life: Life | None = None) -> None:
        """Begin; later lives are those of `lives`, then like `later`."""
        await self._fork(life or Life(self.later))
        self._keeping = asyncio.create_task(self._keep())

    async def _fork(self, life: Life) -> None:
        environ = {**self._environ, **life.watch}
        self.pid = await self._nursery.fork(folder=self.folder, environ=environ)
        if life.aim is not None:
            await life.aim(self.pid)
        self._nursery.go(self.pid)

    async def _keep(self) -> None:
        while True:
            code = await self._nursery.ended(self.pid)
            if code != -signal.SIGKILL:
                self.failure = f"the bot ended with {code}: {self.log_tail()}"
                return
            self.deaths += 1
            await self.autopsy()
            await self._fork(self.lives.pop(0) if self.lives else Life(self.later))

    async def kill(self) -> None:
        """SIGKILL, as from nowhere; it is started again."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """End it; `start` may follow."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
            self._keeping = None
            await self.kill()
            await self._nursery.ended(self.pid)

    def log_tail(self, lines: int = 12) -> str:
        text = (self.folder / "bot.log").read_text(errors="replace")
        return "\n".join(line[:400] for line in text.splitlines()[-lines:])


async def _nothing() -> None:
    """No autopsy."""


@dataclass(slots=True)
class World:
    """One run's parts."""

    stage: Stage
    model: ModelSim
    bot: RestartingBot

    def look(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows of the database as they are now; none before it is made."""
        if not self.bot.database.exists():
            return []
        with closing(sqlite3.connect(self.bot.database, timeout=5)) as db:
            try:
                return db.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError:  # no tables yet
                return []

    async def connected(self) -> None:
        """Wait until the bot takes events."""
        sim = self.stage.sim
        if isinstance(sim, DiscordSim):
            await sim.wait_ready()
        elif isinstance(sim, SlackSim):
            await sim.connected()

    def location(self, place: ThreadRef) -> str:
        """Where the replies of a place stand, as in `Post.where`."""
        if self.stage.name == "discord":
            return str(place.thread)
        return f"{place.channel}/{place.thread}"

    async def signs_of_work(self) -> list[Any]:
        """Statuses, open streams and signs of typing that nothing has ended.

        Discord takes typing away by itself, ten seconds later; what must not be is one that began
        after the last change of a reply.
        """
        sim = self.stage.sim
        left = await self.stage.signs_of_work()
        if isinstance(sim, SlackSim):
            sessions = (await sim.state())["sessions"]
            return left + [one for one in sessions if one.get("status") == "processing"]
        assert isinstance(sim, DiscordSim)
        return [
            typing
            for typing in left
            if not any(
                version["at"] >= typing["at"]
                for message in await sim.messages(typing["channel"], author=d.BOT)
                for version in message["versions"]
            )
        ]

    async def posts(self) -> list[Post]:
        """Every message that the bot ever wrote, wherever it stands."""
        sim = self.stage.sim
        if isinstance(sim, DiscordSim):
            return await _discord_posts(sim)
        assert isinstance(sim, SlackSim)
        return await _slack_posts(sim, self.stage.channels)


@asynccontextmanager
async def new_world(
    platform: str, nursery: ProcessPool, folder: Path, **settings: str
) -> AsyncIterator[World]:
    """Fresh simulators and no database yet; the bot is not started.

    On `slack by edits` the app is no agent, so that nothing streams natively.
    """
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(served(ModelSim(), ModelServer()))
        stage: Stage
        if platform == "discord":
            discord = await stack.enter_async_context(served(DiscordSim(), DiscordServer()))
            stage = DiscordStage(discord)
        else:
            slack = await stack.enter_async_context(served(SlackSim(), SlackServer()))
            await slack.delivery(ack_seconds=2.0, retry_scale=RETRY_SCALE)
            await slack.agent(platform == "slack")
            stage = SlackStage(slack)
        environ = {
            **stage.settings(),
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "SYSTEM_PROMPT": SYSTEM_PROMPT,
            "CONTEXT_TOKENS": "1000000",
            **settings,
        }
        world = World(stage, model, RestartingBot(nursery, folder, environ))
        try:
            yield world
        finally:
            await world.bot.stop()


# ── every message of the bot ──────────────────────────────────────────────────────────────────
async def _discord_posts(sim: DiscordSim) -> list[Post]:
    state = await sim.state()
    places = [d.CHANNEL, d.CHANNEL_2, *(thread["id"] for thread in state["threads"])]
    places += state["dms"].values()
    views = [await sim.channel(place) for place in places]
    everything = [m for view in views for m in (*view["messages"], *view["deleted_messages"])]
    replies_to = {m["id"]: m["reply_to"] for m in everything if m["channel"] in places[:2]}
    return [
        Post(
            id=str(message["id"]),
            where=str(_root(message, replies_to)),
            text=message["content"],
            buttons=tuple(
                part.get("custom_id", "")
                for row in message["components"]
                for part in row.get("components", [])
            ),
            pings=tuple({str(name) for v in message["versions"] for name in v["pinged"]}),
            texts=tuple(version["content"] for version in message["versions"]),
            deleted=message["deleted"] is not None,
        )
        for message in everything
        if message["author"] == d.BOT and message["type"] in (d.DEFAULT_MESSAGE, d.REPLY)
    ]


def _root(message: Mapping[str, Any], replies_to: Mapping[Any, Any]) -> Any:
    """Where a message belongs: its thread, or the question that its reply chain began with.

    The chain takes the thread's place where none could be had in time.
    """
    above = message["id"]
    while replies_to.get(above):
        above = replies_to[above]
    return message["channel"] if above == message["id"] else above


async def _slack_posts(sim: SlackSim, channels: Sequence[str]) -> list[Post]:
    state = await sim.state()
    direct = [await sim.open_direct(user) for user in (s.ALICE, s.BOB)]
    top = [message for place in (*channels, *direct) for message in await sim.channel(place)]
    everything = [*top, *(reply for root in top for reply in root.get("replies", ()))]
    everything += state["deleted"]
    return [
        Post(
            id=message["ts"],
            where=f"{message['channel']}/{message.get('thread_ts') or message['ts']}",
            text=message["shown"],
            buttons=tuple(
                element["action_id"]
                for block in message.get("blocks") or []
                if block["type"] == "actions"
                for element in block["elements"]
            ),
            pings=tuple({name for version in message["versions"] for name in version["pings"]}),
            texts=tuple(version["shown"] for version in message["versions"]),
            deleted=bool(message["deleted"]),
        )
        for message in everything
        if message.get("bot_id") == s.BOT
    ]
