"""A platform, a model server and the bot, each a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness import BotProcess
from tests.sims.discord.client import DiscordSim
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.stage import DiscordStage, SlackStage, Stage


@pytest.fixture
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as sim:
        yield sim


@pytest.fixture(params=["discord", "slack"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Each scene is played on every platform."""
    if request.param == "discord":
        async with DiscordSim() as discord:
            yield DiscordStage(discord)
    else:
        async with SlackSim() as slack:
            yield SlackStage(slack)


@pytest.fixture
def bot(stage: Stage, model: ModelSim, tmp_path: Path) -> BotProcess:
    """Not started yet: `async with bot`."""
    return BotProcess(
        tmp_path,
        {
            **stage.settings(),
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "sk-simulated",
            "SYSTEM_PROMPT": "Be brief.",
        },
    )
