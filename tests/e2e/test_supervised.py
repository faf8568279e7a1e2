"""A platform that fails or is refused does not affect the other one, and /healthz reports it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.kills.process_pool import ProcessPool
from tests.kills.world import RestartingBot
from tests.sims.discord.client import DiscordSim
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver, PlatformDriver, SlackDriver, ThreadRef
from tests.support.ports import free_port


@pytest.fixture
async def discord() -> AsyncIterator[DiscordDriver]:
    async with DiscordSim() as sim:
        yield DiscordDriver(sim)


@pytest.fixture
async def slack() -> AsyncIterator[SlackDriver]:
    async with SlackSim() as sim:
        yield SlackDriver(sim)


async def health(port: int) -> dict[str, Any]:
    """The report of /healthz; None if there is no response."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/healthz") as response,
        ):
            body = await response.json()
            assert (response.status == 200) == body["ok"]
            return dict(body)
    except aiohttp.ClientConnectionError:
        return {}


async def wait_answered(driver: PlatformDriver, thread: ThreadRef, text: str) -> None:
    async def check() -> bool:
        return any(text in seen.text and not seen.working for seen in await driver.seen(thread))

    await driver.sim.until(check)


async def test_a_failed_platform_restarts_while_the_other_keeps_answering(
    discord: DiscordDriver, slack: SlackDriver, model: ModelSim, tmp_path: Path
) -> None:
    """Questions asked on the failed platform during the outage are answered afterwards."""
    await model.say("All is well.")
    port, wish = free_port(), tmp_path / "break"
    settings = {
        **discord.settings(),
        **slack.settings(),
        "LLM": "openai:sim",
        "OPENAI_BASE_URL": model.base_url,
        "HTTP_PORT": str(port),
        "PLANTED": "discord_breaks",
    }
    async with ProcessPool() as pool:
        bot = RestartingBot(pool, tmp_path, settings)
        await bot.start()

        async def says(key: str, text: str) -> bool:
            part = (await health(port)).get("parts", {}).get("discord", {})
            return text in str(part.get(key, ""))

        async def well() -> bool:
            return bool((await health(port)).get("ok"))

        await discord.sim.until(well)
        first = await discord.mention("before")
        await wait_answered(discord, first, "All is well.")
        wish.touch()
        await discord.sim.until(lambda: says("down", "unexpectedly (KeyError)"))
        during_outage = await discord.mention("during the outage")
        on_slack = await slack.mention("and here?")
        await wait_answered(slack, on_slack, "All is well.")
        assert (await health(port))["parts"]["slack"]["ok"]
        wish.unlink()
        await wait_answered(discord, during_outage, "All is well.")
        await discord.sim.until(well)
        assert bot.deaths == 0
        await bot.stop()


async def test_a_refused_token_of_one_platform_leaves_the_other_serving(
    slack: SlackDriver, discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    """The log and /healthz contain the sentence; if it were the only platform, the start would fail
    with it."""
    await model.say("All is well.")
    settings = {
        **discord.settings(),
        **slack.settings(),
        "DISCORD_TOKEN": "not-a-token",
        "LLM": "openai:sim",
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": "sk-simulated",
    }
    bot = BotProcess(tmp_path, settings)
    await bot.start()
    await slack.sim.connected()
    await bot.wait_for_log("refused: retrying later")
    thread = await slack.mention("and here?")
    await wait_answered(slack, thread, "All is well.")
    parts = (await health(bot.http_port))["parts"]
    assert parts["slack"]["ok"]
    assert "DISCORD_TOKEN" in parts["discord"]["down"]
    assert await bot.terminate() == 0
