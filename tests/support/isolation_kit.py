"""Faults in single requests, and a bot in this process that encounters them.

While a fault lasts, time runs normally and other conversations must be answered. Afterwards time
runs fast, so that even a limit of 300 s passes immediately.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from structlog.processors import format_exc_info
from structlog.testing import capture_logs

from adapters.discord.adapter import DiscordAdapter
from adapters.discord.rest import Timeouts
from bot.catchup.backfill_queue import ReadPauses
from bot.common.retry import Backoff
from bot.config.settings import Settings
from bot.core import build_core
from bot.domain.replies import Limit, Pace
from bot.replies.ratelimit.limiter import AccountRateLimiter
from bot.resources import open_resources
from tests.sims.discord import constants as c
from tests.sims.discord.limits import Throttle
from tests.sims.discord.local import LocalDiscord
from tests.sims.kit import Fault
from tests.support.catalog import offering

LONG = 300.0  # seconds that a limit lasts
SECONDS = 250.0  # real time limit for other conversations, and for all of them after the fault
WHOLE = "of this conversation."  # the end of an echoed answer
API = "/api/v10"
UNLIMITED = 1_000_000

# Short, so that requests without a response cost a test little time, but long enough for a busy
# machine to answer in time.
WAITS = Timeouts(
    login=1.0,
    answer=2.0,
    read=2.0,
    thread=1.0,
    interaction=1.5,
    removal=2.0,
    again=0.3,
    background=0.3,
    reads=ReadPauses(Backoff(0.1, 0.6), later=1.0),
    longest=0.6,
    download=1.0,
    lookup=2.0,
)

HTML = {"Content-Type": "text/html"}
PAGE = "<html><body>502 Bad Gateway</body></html>"


CDN = "/attachments/"


def full_path(path: str) -> str:
    """A route's path with the API's prefix, which only the CDN's routes lack."""
    return path if path.startswith(CDN) else f"{API}{path}"


def _answer(status: int, code: int = 0, **more: Any) -> dict[str, Any]:
    return {"status": status, "body": {"message": f"{status}", "code": code}, **more}


FAULTS: Mapping[str, dict[str, Any]] = {
    "429 user": {"scope": "user"},
    "429 shared": {"scope": "shared"},
    "429 page": {
        "status": 429,
        "body": "error code: 1015",
        "headers": HTML | {"Retry-After": f"{LONG:.0f}"},
    },
    "429 bare": _answer(429, headers={"Retry-After": f"{LONG:.0f}"}),
    "500": _answer(500),
    "502 HTML": {"status": 502, "body": PAGE, "headers": HTML},
    "503": _answer(503),
    "no answer": {"delay": 3_600.0},
    "dropped": {"drop": True},
    "dropped after": {"drop": True, "after": True},
    "401": _answer(401),
    "403": _answer(403),
    "404": _answer(404),
    "403 edge": _answer(403, 40333),
    "403 proxy": {"status": 403, "body": {"error": "forbidden"}},
    "200 HTML": {"status": 200, "body": PAGE, "headers": HTML, "after": True},
    "fields missing": {"status": 200, "body": {}, "after": True},
    "another type": {"status": 200, "body": ["odd"], "after": True},
    "id missing": {"remove": ["id", "*.id"]},
    "id null": {"put": {"id": None, "*.id": None}},
    "id of another type": {"put": {"id": {"a": 1}, "*.id": ["a"]}},
    "author missing": {"remove": ["author", "*.author"]},
    "type of another type": {"put": {"type": "odd", "*.type": {}}},
}


OF_THE_EDGE = ("429 page", "429 bare")
"""A 429 that names no limit: two routes that get it at the same time mean a ban of the address."""


class WarpClock:
    """Real time that a test can advance, waking the sleepers that are due."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._jumped = asyncio.Event()

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        until = self.monotonic() + seconds
        while (left := until - self.monotonic()) > 0:
            jumped = self._jumped
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await jumped.wait()

    def jump(self, seconds: float) -> None:
        """Advance time."""
        self._ahead += seconds
        self._jumped.set()
        self._jumped = asyncio.Event()


def limits(scope: str) -> Limit | None:
    """Limits that no test here reaches: Discord's have separate tests."""
    return Limit(10_000, 1.0, pace=Pace.NONE) if scope == "global" else None


@dataclass
class Rig:
    """A running bot and its simulator."""

    sim: LocalDiscord
    adapter: DiscordAdapter
    clock: WarpClock
    rate_limiter: AccountRateLimiter
    logs: list[Any]
    unhandled: list[dict[str, Any]] = field(default_factory=list)
    few: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(3))

    # ── faults ────────────────────────────────────────────────────────────────────────────────
    def arm(self, pattern: str, fields: Mapping[str, Any]) -> Callable[[], None]:
        """Make requests that match "METHOD /path" (without the prefix) fail; returns a disarm
        function."""
        scope = fields.get("scope")
        method, _, path = pattern.partition(" ")
        if scope is not None and path.startswith(CDN):  # outside the API's limits
            fields = {"status": 429, "headers": {"Retry-After": f"{LONG:.0f}"}}
        elif scope is not None:
            throttles = self.sim.server.limits.throttles
            throttle = Throttle(pattern, time.monotonic() + LONG, scope)
            throttles.append(throttle)
            return lambda: throttles.remove(throttle)
        faults = self.sim.server.faults
        fault = Fault(pattern=f"{method} {full_path(path)}", times=UNLIMITED, **fields)
        faults.append(fault)
        return lambda: faults.remove(fault)

    async def pass_time(self, ended: asyncio.Future[Any]) -> None:
        """Advance time fast until `ended` is done, but not while a request is in flight."""
        deadline = time.monotonic() + SECONDS
        self.clock.jump(LONG + 1)
        while not ended.done() and time.monotonic() < deadline:
            made = len(self.sim.server.record)
            await asyncio.wait({ended}, timeout=0.05)
            if made == len(self.sim.server.record) and not self.sim.server.busy:
                self.clock.jump(4.0)

    # ── visible messages ──────────────────────────────────────────────────────────────────────
    async def visible_texts(self, *places: int) -> str:
        """The texts of all the bot's messages in these channels."""
        texts = []
        for place in places:
            if place in self.sim.server.state.channels:
                texts += [m["content"] for m in await self.sim.messages(place, author=c.BOT)]
        return "\n".join(texts)

    async def whole(self, question: int, *places: int) -> None:
        """Wait for the whole answer in the question's thread or in one of `places`."""

        async def there() -> bool:
            return WHOLE in await self.visible_texts(question, *places)

        await self.sim.until(there, SECONDS)

    async def bystander(self) -> None:
        """Ask in another channel and wait for the whole answer."""
        channel = await self.sim.add_channel("quiet")
        await self.whole(await self.sim.mention("hello", channel=channel), channel)

    # ── afterwards ────────────────────────────────────────────────────────────────────────────
    def used(self) -> set[str]:
        """The routes of the requests that the bot has sent."""
        routes = {route: _pattern(route) for route in self.sim.server.routes}
        made = {f"{entry.method} {entry.path}" for entry in self.sim.server.record}
        found = made & routes.keys()  # `/users/@me` is no `/users/{user}`
        for what in made - found:
            found |= {route for route, pattern in routes.items() if pattern.fullmatch(what)}
        return {route.replace(API, "") for route in found if API in route or CDN in route}

    def assert_clean(self) -> None:
        """Assert that no exception was left unhandled."""
        odd = [x for x in self.logs if "exception" in x or "could not be handled" in x["event"]]
        assert not odd, odd[0].get("exception", odd[0])
        assert self.unhandled == []


def _pattern(route: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route)))


@asynccontextmanager
async def bot_on(sim: LocalDiscord, folder: Path, **options: Any) -> AsyncIterator[Rig]:
    """Yields the connected adapter with the real core, an echoing model and a database."""
    settings = Settings(
        llm="echo",
        database_url=f"sqlite:///{folder}/threadline.db",
        delete_reply_with_question=True,
    )
    clock = WarpClock()
    rate_limiter = AccountRateLimiter(limits, clock)
    adapter = DiscordAdapter(
        token=c.SIM_TOKEN,
        api_url=sim.api_url,
        gateway_url=sim.gateway_url,
        clock=clock,
        models=offering(),
        rate_limiter=rate_limiter,
        timeouts=WAITS,
        **options,
    )
    with capture_logs(processors=[format_exc_info]) as logs:
        rig = Rig(sim, adapter, clock, rate_limiter, logs)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: rig.unhandled.append(context))
        async with open_resources(settings, clock) as resources:
            core = build_core(settings, resources, {"discord": adapter}, clock)
            task = asyncio.create_task(adapter.run(core.inbox))
            try:
                await sim.wait_ready()
                yield rig
                await core.scheduler.drain(0.0)
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                await core.inbox.aclose()


Check = Callable[[], Awaitable[None]]
