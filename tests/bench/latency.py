"""The bot's latency: from event to model request, and from first chunk to the request showing it.

Every part is real and a separate process: the platform's simulator with its limits, the model's
simulator, and `python -m bot run`. Times come from the simulators' records on one machine's clock.
The rate limit has room for a reply's first text, so the results contain only the bot's time.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sims.discord.client import DiscordSim
from tests.sims.kit import SimProcess
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver, PlatformDriver, SlackDriver, ThreadRef

CONVERSATIONS = (1, 10, 100)
TOKENS = 120
RATE = 20.0
# Long enough for the thread to exist before the first token: creating it is the platform's time.
FIRST_TOKEN = 1.5
# Slack allows one post per second in a channel, and Discord has no such limit across threads, so
# the questions of a round are this many seconds apart.
BETWEEN = 0.02


@dataclass(frozen=True, slots=True)
class Figures:
    """One round; times in milliseconds."""

    to_model: list[float]
    to_screen: list[float]
    throttled: int
    incomplete: int


async def run() -> None:
    """Print both platforms' tables."""
    print(
        f"{'event → model request, chunk → request (ms)':44}"
        f"{'p50':>8} {'p99':>8} {'p50':>8} {'p99':>8} {'429s':>6} {'incomplete':>11}"
    )
    for name in ("discord", "slack"):
        for count in CONVERSATIONS:
            figures = await measure(name, count)
            row = (*_quantiles(figures.to_model), *_quantiles(figures.to_screen))
            print(
                f"{f'{name}, {count} concurrent':44}"
                + " ".join(f"{value:8.1f}" for value in row)
                + f" {figures.throttled:6} {figures.incomplete:11}"
            )


async def measure(name: str, count: int) -> Figures:
    """Measure one round with fresh processes, so that no rate limit is used up."""
    with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder:
        async with _platform(name) as sim, ModelSim() as model:
            driver = _driver(sim)
            bot = BotProcess(
                Path(folder),
                {
                    **driver.settings(),
                    "LLM": "openai:sim",
                    "OPENAI_BASE_URL": model.base_url,
                    "LOG_LEVEL": "INFO",
                },
            )
            async with bot:
                return await _round(driver, model, count)


async def _round(driver: PlatformDriver, model: ModelSim, count: int) -> Figures:
    await model.script(
        *(
            Answer(match=f"question {n:03d}", text=_text(n), rate=RATE, first_delay=FIRST_TOKEN)
            for n in range(count)
        )
    )
    asked: list[tuple[ThreadRef, float]] = []
    for n in range(count):
        thread = await driver.mention(f"question {n:03d}")
        asked.append((thread, await driver.question_time(thread)))
        await asyncio.sleep(BETWEEN)
    incomplete = 0
    to_model, to_screen = [], []
    for n, (thread, at) in enumerate(asked):
        ended = f"end {n:03d}."
        try:
            await driver.sim.until(lambda p=thread, e=ended: _whole(driver, p, e), 120)
        except AssertionError:
            incomplete += 1
            continue
        record = await model.last(f"question {n:03d}")
        first = (await driver.seen(thread))[0]
        to_model.append((record.at - at) * 1e3)
        to_screen.append((first.times[0] - record.times[0]) * 1e3)
    return Figures(to_model, to_screen, await driver.count_throttled(), incomplete)


async def _whole(driver: PlatformDriver, thread: ThreadRef, ended: str) -> bool:
    seen = await driver.seen(thread)
    return bool(seen) and ended in seen[-1].text and not seen[-1].working


def _text(n: int) -> str:
    return "word " * TOKENS + f"end {n:03d}."


def _platform(name: str) -> SimProcess:
    return DiscordSim() if name == "discord" else SlackSim()


def _driver(sim: Any) -> PlatformDriver:
    return DiscordDriver(sim) if isinstance(sim, DiscordSim) else SlackDriver(sim)


def _quantiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return (values[0], values[0]) if values else (float("nan"), float("nan"))
    return statistics.median(values), statistics.quantiles(values, n=100)[98]
