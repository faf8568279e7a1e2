"""A proxy bot replaces a question during its answer: one answer, and nothing left over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver

BOT = f"<@{c.BOT}>"


@pytest.fixture
async def discord() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        yield sim


@pytest.mark.parametrize(("allowed", "deleted_first"), [("manage_threads", False), ("", True)])
async def test_a_replaced_question_is_answered_once_and_nothing_is_left_over(
    discord: DiscordSim, model: ModelSim, tmp_path: Path, allowed: str, deleted_first: bool
) -> None:
    """Without permission to delete the thread, the bot leaves an empty archived one."""
    await model.script(Answer(text="It is a tree. " * 40, rate=60))
    if allowed:
        await discord.set_permissions(c.CHANNEL, allow=(allowed,))
    settings = DiscordDriver(discord).settings() | {
        "LLM": "openai:sim",
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": "sk-simulated",
    }
    async with BotProcess(tmp_path, settings):
        ids = await discord.say_by_proxy(
            f"{BOT} what is this?", "Robin", tags="R:", deleted_first=deleted_first, pause=0.5
        )
        answer = ids["message"]

        async def is_answered() -> bool:
            state = await discord.call("state")
            there = [t for t in state["threads"] if t["deleted"] is None]
            open_threads = [t["id"] for t in there if not t["archived"]]
            litter = any(t["id"] == ids["original"] for t in there) and await discord.messages(
                ids["original"], author=c.BOT
            )
            return not litter and open_threads == [answer] and await whole(discord, answer)

        assert await discord.until(is_answered)


async def whole(discord: DiscordSim, thread: int) -> bool:
    said = await discord.messages(thread, author=c.BOT)
    return len(said) == 1 and said[0]["content"].count("tree") == 40
