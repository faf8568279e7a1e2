"""A platform, a model and a bot that restarts whenever it dies.

The simulators run in the test's event loop; the bot is a separate process, forked by the
pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

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
from tests.support.platform_driver import DiscordDriver, PlatformDriver, SlackDriver, ThreadRef
from tests.support.transcript import Post

SYSTEM_PROMPT = "Be brief."
# Slack's second and third retry come after this fraction of 60 and 300 seconds.
RETRY_SCALE = 0.03

SimT = TypeVar("SimT", bound=SimProcess)


@asynccontextmanager
async def serve(client: SimT, server: Sim) -> AsyncIterator[SimT]:
    """Serve `server` in this loop; yields `client`, which controls it."""
    runner = await server.start()
    async with aiohttp.ClientSession() as session:
        client.port, client._session, client.server = server.port, session, server
        try:
            yield client
        finally:
            await runner.cleanup()
    server.check()


ArmKill = Callable[[int], Awaitable[None]]
"""Called with the process id of a held bot, to arm a kill."""


@dataclass(frozen=True, slots=True)
class BotRun:
    """One run of the bot's process: environment variables (`tests.kills.instrumented`) and a
    kill."""

    watch: Mapping[str, str]
    arm: ArmKill | None = None


class RestartingBot:
    """Runs the bot, and restarts it immediately after a kill.

    `check_after_death` is awaited between a kill and the restart.
    """

    def __init__(self, pool: ProcessPool, folder: Path, environ: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._pool = pool
        self._environ = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "DEBUG",
            "DATABASE_URL": f"sqlite:///{folder / 'threadline.db'}",
            **environ,
        }
        self.next_runs: list[BotRun] = []  # the next runs …
        self.later_environ: Mapping[str, str] = {}  # … and the environment of all after those
        self.deaths = 0
        self.failure = ""
        # Exit codes of a start that systemd or Kubernetes would repeat.
        self.repeated: tuple[str, ...] = ()
        self.pid = 0
        self.check_after_death: Callable[[], Awaitable[None]] = _nothing
        self._keeping: asyncio.Task[None] | None = None
        self.restarts = asyncio.Event()
        self.restarts.set()

    @property
    def database(self) -> Path:
        return self.folder / "threadline.db"

    @property
    def faults(self) -> Sequence[tuple[int, Fault]]:
        return ()

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Current rows of the database; none before the tables exist."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(self.database, timeout=5)) as db:
            try:
                return db.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError:  # no tables yet
                return []

    async def start(self, run: BotRun | None = None) -> None:
        """Start the bot; later runs come from `next_runs`, then use `later_environ`."""
        await self._fork(run or BotRun(self.later_environ))
        self._keeping = asyncio.create_task(self._keep())

    async def _fork(self, run: BotRun) -> None:
        environ = {**self._environ, **run.watch}
        self.pid = await self._pool.fork(folder=self.folder, environ=environ)
        if run.arm is not None:
            await run.arm(self.pid)
        self._pool.go(self.pid)

    async def _keep(self) -> None:
        while True:
            code = await self._pool.wait(self.pid)
            is_repeated = any(end in self.log_tail(1) for end in self.repeated)
            if code != -signal.SIGKILL and not is_repeated:
                self.failure = f"the bot ended with {code}: {self.log_tail()}"
                return
            self.deaths += 1
            await self.check_after_death()
            await self.restarts.wait()
            await self._fork(
                self.next_runs.pop(0) if self.next_runs else BotRun(self.later_environ)
            )

    async def kill(self) -> None:
        """Send SIGKILL; the bot is restarted."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """Stop the bot for good; `start` may follow."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
            self._keeping = None
            await self.kill()
            await self._pool.wait(self.pid)

    def log_tail(self, lines: int = 12) -> str:
        text = (self.folder / "bot.log").read_text(errors="replace")
        return "\n".join(line[:400] for line in text.splitlines()[-lines:])


Fault = Callable[[random.Random], Awaitable[str]]
"""Injects a fault that concerns this kind of bot; returns its name."""


class Bot(Protocol):
    """The bot under test in a world: one process on SQLite, or several on PostgreSQL."""

    folder: Path
    next_runs: list[BotRun]
    later_environ: Mapping[str, str]
    check_after_death: Callable[[], Awaitable[None]]

    @property
    def deaths(self) -> int: ...
    @property
    def failure(self) -> str: ...
    @property
    def database(self) -> Path: ...
    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]: ...
    async def start(self, run: BotRun | None = None) -> None: ...
    @property
    def faults(self) -> Sequence[tuple[int, Fault]]: ...
    async def kill(self) -> None: ...
    async def stop(self) -> None: ...
    def log_tail(self, lines: int = 12) -> str: ...


BotMaker = Callable[[Mapping[str, str]], Bot]
"""Makes a world's bot from the environment of its processes."""


async def _nothing() -> None:
    """Check nothing."""


@dataclass(slots=True)
class World:
    """The parts of one run."""

    driver: PlatformDriver
    model: ModelSim
    bot: Bot

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Current rows of the database; none before the tables exist."""
        return self.bot.query(sql, *parameters)

    async def connected(self) -> None:
        """Wait until the bot receives events."""
        sim = self.driver.sim
        if isinstance(sim, DiscordSim):
            await sim.wait_ready()
        elif isinstance(sim, SlackSim):
            await sim.connected()

    def location(self, thread: ThreadRef) -> str:
        """The location of a thread's replies, as in `Post.where`."""
        if self.driver.name == "discord":
            return str(thread.id)
        return f"{thread.channel}/{thread.id}"

    async def signs_of_work(self) -> list[Any]:
        """Statuses, open streams and typing indicators that were never cleared.

        Discord removes a typing indicator after ten seconds; only one that began after the last
        change of a reply counts.
        """
        sim = self.driver.sim
        left = await self.driver.signs_of_work()
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
        """Every message that the bot ever wrote, in any channel."""
        sim = self.driver.sim
        if isinstance(sim, DiscordSim):
            return await _discord_posts(sim)
        assert isinstance(sim, SlackSim)
        return await _slack_posts(sim, self.driver.channels)


@asynccontextmanager
async def new_world(
    platform: str,
    pool: ProcessPool,
    folder: Path,
    make_bot: BotMaker | None = None,
    **settings: str,
) -> AsyncIterator[World]:
    """Fresh simulators and an empty folder; the bot is not started.

    `make_bot` makes a bot other than a single process on SQLite.

    With the target `slack by edits`, the app is not an agent, so nothing streams natively.
    """
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(serve(ModelSim(), ModelServer()))
        driver: PlatformDriver
        if platform == "discord":
            discord = await stack.enter_async_context(serve(DiscordSim(), DiscordServer()))
            driver = DiscordDriver(discord)
        else:
            slack = await stack.enter_async_context(serve(SlackSim(), SlackServer()))
            await slack.delivery(ack_seconds=2.0, retry_scale=RETRY_SCALE)
            await slack.agent(platform == "slack")
            driver = SlackDriver(slack)
        environ = {
            **driver.settings(),
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "SYSTEM_PROMPT": SYSTEM_PROMPT,
            "CONTEXT_TOKENS": "1000000",
            **settings,
        }
        bot = make_bot(environ) if make_bot else RestartingBot(pool, folder, environ)
        world = World(driver, model, bot)
        try:
            yield world
        finally:
            await world.bot.stop()


# ── every message of the bot ──────────────────────────────────────────────────────────────────
async def _discord_posts(sim: DiscordSim) -> list[Post]:
    state = await sim.state()
    threads = [d.CHANNEL, d.CHANNEL_2, *(thread["id"] for thread in state["threads"])]
    threads += state["dms"].values()
    views = [await sim.channel(thread) for thread in threads]
    everything = [m for view in views for m in (*view["messages"], *view["deleted_messages"])]
    replies_to = {m["id"]: m["reply_to"] for m in everything if m["channel"] in threads[:2]}
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
    """A message's thread, or the first question of its reply chain.

    A reply chain replaces the thread if none could be created in time.
    """
    above = message["id"]
    while replies_to.get(above):
        above = replies_to[above]
    return message["channel"] if above == message["id"] else above


async def _slack_posts(sim: SlackSim, channels: Sequence[str]) -> list[Post]:
    state = await sim.state()
    direct = [await sim.open_direct(user) for user in (s.ALICE, s.BOB)]
    top = [message for thread in (*channels, *direct) for message in await sim.channel(thread)]
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
