"""A question during another person's flood, on each platform, with a bot of few slots."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver, PlatformDriver, SlackDriver, ThreadRef

FLOOD = 200
LONG = "flood " * 60


async def is_answered(driver: PlatformDriver, thread: ThreadRef) -> bool:
    seen = await driver.seen(thread)
    return bool(seen) and "Hers." in seen[-1].text and not seen[-1].working


async def ask_beside(
    model: ModelSim, flooded: PlatformDriver, asked: PlatformDriver, *people: str
) -> None:
    """Ask 200 questions as `people` and one as Alice: the model gets hers next, and it is answered
    while the flood still waits."""
    await model.script(
        Answer(match="hers", text="Hers."),
        Answer(match="flood", text=LONG, rate=0.5),  # for minutes
    )
    questions = (
        flooded.mention(f"flood {number:03d}", user=people[number % len(people)])
        for number in range(FLOOD)
    )
    await asyncio.gather(*questions)

    async def is_full() -> bool:
        return len(await model.streams()) >= 8

    await flooded.sim.until(is_full, 60)
    thread = await asked.mention("hers", user="alice")
    await asked.sim.until(lambda: is_answered(asked, thread), 60)
    # Her turn's slot goes to the flood as soon as it ends: only what was asked before her counts.
    asked_for = [str(record.body["messages"][-1]["content"]) for record in await model.streams()]
    before = next(place for place, text in enumerate(asked_for) if "hers" in text)
    assert before <= 9


async def test_one_persons_flood_does_not_delay_another(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """Both ask in the same channel, under the platform's limits."""
    bot.set(MAX_CONCURRENT_TURNS="10")
    async with bot:
        await ask_beside(model, driver, driver, "bob")


async def test_one_workspaces_burst_does_not_delay_another(model: ModelSim, tmp_path: Path) -> None:
    """One bot on Discord and Slack: several people cause a burst on one, and someone asks on the
    other."""
    async with DiscordSim() as discord, SlackSim() as slack:
        drivers = (SlackDriver(slack), DiscordDriver(discord))
        environ = {"LLM": "openai:sim", "OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "k"}
        for driver in drivers:
            environ |= driver.settings()
        bot = BotProcess(tmp_path, environ | {"MAX_CONCURRENT_TURNS": "10"})
        async with bot:
            await ask_beside(model, *drivers, "bob", "alice")
