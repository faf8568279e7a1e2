"""How long the bot itself takes: event to model request, first chunk to the request that shows it.

Everything is a process of its own and real: the platform's simulator with its limits, the model's
simulator, `python -m bot run`. Times are the simulators' own records on one machine's clock. The
first text of a reply has a full budget, so that what is measured is ours and not the limit's.
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
from tests.support.scenes import DiscordStage, SlackStage, Stage, ThreadRef

CONVERSATIONS = (1, 10, 100)
TOKENS = 120
RATE = 20.0
# Long enough for a thread to be made before the first token: making it is the platform's time.
FIRST_TOKEN = 1.5
# Slack posts once a second in a channel and Discord makes no such limit between threads, so that
# the questions of a round come in one after another at this distance, in seconds.
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
                f"{f'{name}, {count} at once':44}"
                + " ".join(f"{value:8.1f}" for value in row)
                + f" {figures.throttled:6} {figures.incomplete:11}"
            )


async def measure(name: str, count: int) -> Figures:
    """One round with fresh processes: budgets are full."""
    with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder:
        async with _platform(name) as sim, ModelSim() as model:
            stage = _stage(sim)
            bot = BotProcess(
                Path(folder),
                {
                    **stage.settings(),
                    "LLM": "openai:sim",
                    "OPENAI_BASE_URL": model.base_url,
                    "LOG_LEVEL": "INFO",
                },
            )
            async with bot:
                return await _round(stage, model, count)


async def _round(stage: Stage, model: ModelSim, count: int) -> Figures:
    await model.script(
        *(
            Answer(match=f"question {n:03d}", text=_text(n), rate=RATE, first_delay=FIRST_TOKEN)
            for n in range(count)
        )
    )
    asked: list[tuple[ThreadRef, float]] = []
    for n in range(count):
        place = await stage.mention(f"question {n:03d}")
        asked.append((place, await stage.asked_at(place)))
        await asyncio.sleep(BETWEEN)
    incomplete = 0
    to_model, to_screen = [], []
    for n, (place, at) in enumerate(asked):
        ended = f"end {n:03d}."
        try:
            await stage.sim.until(lambda p=place, e=ended: _whole(stage, p, e), 120)
        except AssertionError:
            incomplete += 1
            continue
        record = await model.last(f"question {n:03d}")
        first = (await stage.seen(place))[0]
        to_model.append((record.at - at) * 1e3)
        to_screen.append((first.times[0] - record.times[0]) * 1e3)
    return Figures(to_model, to_screen, await stage.throttled(), incomplete)


async def _whole(stage: Stage, place: ThreadRef, ended: str) -> bool:
    seen = await stage.seen(place)
    return bool(seen) and ended in seen[-1].text and not seen[-1].working


def _text(n: int) -> str:
    return "word " * TOKENS + f"end {n:03d}."


def _platform(name: str) -> SimProcess:
    return DiscordSim() if name == "discord" else SlackSim()


def _stage(sim: Any) -> Stage:
    return DiscordStage(sim) if isinstance(sim, DiscordSim) else SlackStage(sim)


def _quantiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return (values[0], values[0]) if values else (float("nan"), float("nan"))
    return statistics.median(values), statistics.quantiles(values, n=100)[98]
