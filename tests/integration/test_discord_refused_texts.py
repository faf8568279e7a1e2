"""A text that Discord never accepts, for example because of a link in it, costs only itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.domain import texts
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.sims.kit import Fault
from tests.support.isolation_kit import API, UNLIMITED, bot_on

LINK = "blocked.example"


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    async with LocalDiscord() as sim:
        await sim.set_limits(on=False)
        yield sim


# 240000: the filter of harmful links; 20009: explicit content; 200000: AutoMod.
@pytest.mark.parametrize("code", [240000, 20009, 200000])
async def test_a_sentence_replaces_a_text_that_is_never_accepted(
    sim: LocalDiscord, tmp_path: Path, code: int
) -> None:
    """Even without its Markdown; the conversation continues within seconds."""
    body = {"message": "Message blocked", "code": code}
    pattern = rf"(POST|PATCH) {API}/channels/\d+/messages(/\d+)?"
    fault = Fault(pattern=pattern, times=UNLIMITED, having=LINK, status=400, body=body)
    sim.server.faults.append(fault)
    async with bot_on(sim, tmp_path) as rig:
        question = await sim.mention(f"repeat this: {LINK}")

        async def is_told() -> bool:
            return texts.NOT_ACCEPTED in await rig.visible_texts(question)

        await sim.until(is_told)
        said = [m["content"] for m in await sim.messages(question, author=c.BOT)]
        assert said == [f"*{texts.NOT_ACCEPTED}*"]
        await sim.call("clear")
        await sim.say(channel=question, content="and now?")
        await rig.whole(question)
