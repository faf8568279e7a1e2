"""The bot on PostgreSQL: a conversation, a reset, and a kill in the middle of a reply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_database import STORY, shows, until
from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver, PlatformDriver, SlackDriver
from tests.support.postgres_server import SharedServer
from tests.support.store_kit import PostgresPlace, check, look


@pytest.mark.parametrize("platform", ["discord", "slack"])
async def test_a_conversation_survives_a_kill(
    platform: str, postgres: SharedServer, tmp_path: Path
) -> None:
    sim: Any = DiscordSim() if platform == "discord" else SlackSim()
    with postgres.database() as url:
        async with sim, ModelSim() as model:
            driver = DiscordDriver(sim) if platform == "discord" else SlackDriver(sim)
            await _converse(driver, model, tmp_path, PostgresPlace(url))
        check(PostgresPlace(url))


async def _converse(
    driver: PlatformDriver, model: ModelSim, folder: Path, place: PostgresPlace
) -> None:
    await model.script(
        Answer(match="story", text=STORY, rate=0, wait_at=3), Answer(match="", text="Here I am.")
    )
    settings = {
        **driver.settings(),
        "LLM": "openai:sim",
        "OPENAI_BASE_URL": model.base_url,
        "DATABASE_URL": place.url,
    }
    async with BotProcess(folder, settings) as bot:
        thread = await driver.mention("are you there?")
        await shows(driver, thread, "Here I am.")
        await driver.say(thread, "tell me a story")
        await shows(driver, thread, "Once", ended=False)
        await bot.kill()
        await bot.start()
        await model.release("story")
        await shows(driver, thread, STORY)
        assert [each.text for each in await driver.seen(thread)].count(STORY) == 1
        await driver.mention_in(thread, "reset")

        async def is_reset() -> bool:
            return look(place, "SELECT epoch FROM conversations") == [(2,)]

        await until(is_reset, driver, "the reset")
        await driver.say(thread, "and now?")

        async def is_answered() -> bool:
            return look(place, "SELECT count(*) FROM turns WHERE state = 'done'") == [(3,)]

        await until(is_answered, driver, "three answers")
    assert not list(folder.rglob("*.db"))  # noqa: ASYNC240 - nothing else runs
