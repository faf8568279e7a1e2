"""One person's time to first text during a flood by another person, or by another workspace.

Every part is real and a separate process. Alice asks one bot while it is idle, and then while 200
questions by others are being answered or are waiting. The figures are the simulators' times from
the question to its first text on the screen; both medians are from one run.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.bench.table import show
from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver, PlatformDriver, SlackDriver
from tests.support.web_kit import HTTP_TOKENS, TOKENS

FLOOD = 200
QUESTIONS = 7
GOAL = 1.2
FIRST_TOKEN = 1.0  # as long as fast models take
FLOOD_RATE, FLOOD_TOKENS = 5.0, 150  # slow answers: the flood lasts and leaves the cores free
ANSWER = "word " * 20 + "end."

Ask = Callable[[str], Awaitable[float]]
"""Ask a question; returns the seconds to its first text once the answer is complete."""
Send = Callable[[str], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Case:
    """Who floods, and who asks."""

    name: str
    flood: str  # "discord", "slack" or "api"
    asks: str


CASES = (
    Case("discord, another person", "discord", "discord"),
    Case("slack, another person in the channel", "slack", "slack"),
    Case("slack's burst, asked on discord", "slack", "discord"),
    Case("discord's burst, asked on slack", "discord", "slack"),
    Case("api, another client", "api", "api"),
)


async def run(flood: int = FLOOD) -> None:
    """Print the table."""
    rows = []
    for case in CASES:
        rows.append(await _row(case, flood))
        print("  ".join(rows[-1]), flush=True)
    show(
        f"Time to first text beside a flood of {flood} questions (ms, median of {QUESTIONS})",
        ("flood", "empty", "beside it", "ratio", "429s"),
        rows,
        f"goal: {GOAL} × an empty system",
    )


async def quick() -> None:
    """The same with a small flood."""
    await run(30)


async def _row(case: Case, flood: int) -> list[str]:
    async with _system(case) as system:
        empty = [await system.ask(f"hers {number:03d}") for number in range(QUESTIONS)]
        await asyncio.gather(*(system.send(f"flood {number:03d}") for number in range(flood)))
        await system.model.until(_has_streams(system.model, flood // 2), 60)
        full = [await system.ask(f"hers {QUESTIONS + n:03d}") for n in range(QUESTIONS)]
        throttled = sum([await driver.count_throttled() for driver in system.drivers])
    before, after = statistics.median(empty), statistics.median(full)
    return [
        case.name,
        f"{before * 1e3:.0f}",
        f"{after * 1e3:.0f}",
        f"{after / before:.2f}",
        f"{throttled}",
    ]


def _has_streams(model: ModelSim, count: int) -> Callable[[], Awaitable[bool]]:
    async def has() -> bool:
        return len(await model.streams()) >= count

    return has


@dataclass(frozen=True, slots=True)
class System:
    """A running bot with its model and platforms."""

    model: ModelSim
    drivers: tuple[PlatformDriver, ...]
    ask: Ask
    send: Send


@asynccontextmanager
async def _system(case: Case) -> AsyncIterator[System]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="threadline-bench-"))
        model = await stack.enter_async_context(ModelSim())
        await model.script(
            Answer(
                match="flood",
                text="flood " * FLOOD_TOKENS,
                rate=FLOOD_RATE,
                first_delay=FIRST_TOKEN,
            ),
            Answer(match="hers", text=ANSWER, rate=40.0, first_delay=FIRST_TOKEN),
        )
        drivers: dict[str, PlatformDriver] = {}
        for name in sorted({case.flood, case.asks} - {"api"}):
            drivers[name] = await _driver(stack, name)
        settings = {
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "LOG_LEVEL": "INFO",
            "HTTP_TOKENS": HTTP_TOKENS,
        }
        for driver in drivers.values():
            settings |= driver.settings()
        bot = await stack.enter_async_context(BotProcess(Path(folder), settings))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        api = _Api(session, f"http://127.0.0.1:{bot.http_port}")
        ask = api.ask if case.asks == "api" else _asking(drivers[case.asks])
        send = api.send if case.flood == "api" else _sending(drivers[case.flood])
        yield System(model, tuple(drivers.values()), ask, send)
        await api.close()


async def _driver(stack: AsyncExitStack, name: str) -> PlatformDriver:
    if name == "discord":
        return DiscordDriver(await stack.enter_async_context(DiscordSim()))
    return SlackDriver(await stack.enter_async_context(SlackSim()))


def _asking(driver: PlatformDriver) -> Ask:
    async def ask(text: str) -> float:
        thread = await driver.mention(text)
        at = await driver.question_time(thread)

        async def whole() -> float | None:
            seen = await driver.seen(thread)
            if not seen or "end." not in seen[-1].text or seen[-1].working:
                return None
            versions = [
                (at, text) for one in seen for at, text in zip(one.times, one.past, strict=True)
            ]
            return min(at for at, text in versions if "word" in text)

        return float(await driver.sim.until(whole, 120)) - at

    return ask


def _sending(driver: PlatformDriver) -> Send:
    async def send(text: str) -> object:
        return await driver.mention(text, user="bob")

    return send


class _Api:
    """Two programs that use the HTTP API: Alice asks, and Bob floods."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, text: str, user: str = "alice") -> float:
        headers = {"Authorization": f"Bearer {TOKENS[user]}"}
        async with self._session.post(f"{self._url}/conversation", headers=headers) as response:
            conversation = (await response.json())["id"]
        began, first = time.monotonic(), 0.0
        async with self._session.post(
            f"{self._url}/conversation/completion/{conversation}",
            json={"message": text, "stream": True},
            headers=headers,
        ) as response:
            assert response.status == 200, await response.text()
            async for line in response.content:
                if not first and b'"content"' in line:
                    first = time.monotonic() - began
        return first

    async def send(self, text: str) -> object:
        async def flood() -> None:
            async with aiohttp.ClientSession() as session:
                with contextlib.suppress(aiohttp.ClientError):  # the server refuses some
                    await _Api(session, self._url).ask(text, "bob")

        self._tasks.append(asyncio.create_task(flood()))
        return None

    async def abandon(self) -> None:
        await self.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
