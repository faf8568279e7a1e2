"""`threadline status` and `threadline conversations`, with a running bot and after one has died."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.test_conversation import STORY, whole
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess, command
from tests.support.platform_driver import PlatformDriver
from tests.support.store_kit import look


@pytest.mark.parametrize("driver", ["discord"], indirect=True)
async def test_an_operator_sees_what_the_bot_does_and_what_a_dead_one_left(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    environ = {"DATABASE_URL": f"sqlite:///{bot.folder / 'threadline.db'}"}

    async def run(*words: str) -> tuple[int, str]:
        code, out, errors = await command(*words, folder=bot.folder, environ=environ)
        return code, out + errors

    async def status() -> dict[str, Any]:
        code, out = await run("status", "--json")
        assert code == 0, out
        found: dict[str, Any] = json.loads(out)
        return found

    await model.script(Answer(match="story", text=STORY, wait_at=20), Answer(text="Short."))
    async with bot:
        first = await driver.mention("a short one")
        await whole(driver, first, "Short.")
        await bot.wait_for_log("turn ended")
        await driver.mention("tell me a story")
        await model.until(lambda: model.streams(match="story"))

        now = await status()
        assert now["pid"] == bot.pid and not now["draining"]
        (discord,) = (each for each in now["platforms"] if each["name"] == "discord")
        assert discord["ok"] and discord["last_event_at"] >= now["started_at"]
        assert discord["last_reply_at"] is not None
        assert [(turn["turn"], turn["state"]) for turn in now["turns"]] == [(2, "running")]
        assert now["unfinished"] == {"discord": {"running": 1}}
        assert now["slots"]["used"] == 1
        channel = next(each for each in now["scopes"] if each["scope"] == "channel")
        assert 0 <= channel["left"] <= channel["limit"] == 5
        assert now["breakers"] == {"openai:sim": "closed"}
        assert now["database"]["ok"] and now["database"]["size"] > 0
        told = json.dumps(now)
        for word in ("tell me", "alice", *(str(each) for each in driver.channels)):
            assert word not in told.lower()

        code, out = await run("status", "--once")
        assert code == 0
        assert f"process {bot.pid}" in out and "connected" in out and "1 of 200 slots" in out

        _, listed = await run("conversations", "--json", "--name", "STORY me")
        (conversation,) = (json.loads(line) for line in listed.splitlines())
        assert conversation["name"] == "tell me a story" and conversation["state"] == "running"
        _, shown = await run("conversations", "show", conversation["id"][:8])
        assert "# tell me a story" in shown
        await bot.kill()

    code, out = await run("status", "--once")
    assert code == 1
    assert "No bot runs" in out and "discord: 1 running" in out
    actions = [row[0] for row in look(bot.folder / "threadline.db", "SELECT action FROM audit")]
    assert actions == ["conversations.listed", "conversation.read"]
