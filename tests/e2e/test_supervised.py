"""A platform that fails, or is refused, takes no other with it, and /healthz says so."""

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
from tests.support.ports import free_port
from tests.support.scenes import DiscordStage, SlackStage, Stage, ThreadRef


@pytest.fixture
async def discord() -> AsyncIterator[DiscordStage]:
    async with DiscordSim() as sim:
        yield DiscordStage(sim)


@pytest.fixture
async def slack() -> AsyncIterator[SlackStage]:
    async with SlackSim() as sim:
        yield SlackStage(sim)


async def health(port: int) -> dict[str, Any]:
    """What /healthz says now; nothing while it does not answer."""
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


async def answered(stage: Stage, place: ThreadRef, text: str) -> None:
    async def check() -> bool:
        return any(text in seen.text and not seen.working for seen in await stage.seen(place))

    await stage.sim.until(check, 40)


async def test_a_platform_that_fails_is_started_again_while_the_other_is_answered(
    discord: DiscordStage, slack: SlackStage, model: ModelSim, tmp_path: Path
) -> None:
    """A question asked there meanwhile is answered afterwards."""
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
    async with ProcessPool() as nursery:
        bot = RestartingBot(nursery, tmp_path, settings)
        await bot.start()

        async def says(key: str, text: str) -> bool:
            part = (await health(port)).get("parts", {}).get("discord", {})
            return text in str(part.get(key, ""))

        async def well() -> bool:
            return bool((await health(port)).get("ok"))

        await discord.sim.until(well, 40)
        first = await discord.mention("before")
        await answered(discord, first, "All is well.")
        wish.touch()
        await discord.sim.until(lambda: says("down", "unforeseen way (KeyError)"), 40)
        meanwhile = await discord.mention("meanwhile")
        on_slack = await slack.mention("and here?")
        await answered(slack, on_slack, "All is well.")
        assert (await health(port))["parts"]["slack"]["ok"]
        wish.unlink()
        await answered(discord, meanwhile, "All is well.")
        await discord.sim.until(well, 40)
        assert bot.deaths == 0
        await bot.stop()


async def test_a_refused_token_of_one_platform_leaves_the_other_serving(
    slack: SlackStage, discord: DiscordStage, model: ModelSim, tmp_path: Path
) -> None:
    """The sentence is in the log and in /healthz; alone it would end the start."""
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
    place = await slack.mention("and here?")
    await answered(slack, place, "All is well.")
    parts = (await health(bot.http_port))["parts"]
    assert parts["slack"]["ok"]
    assert "DISCORD_TOKEN" in parts["discord"]["down"]
    assert await bot.terminate() == 0
