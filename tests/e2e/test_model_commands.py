"""/model, /effort and /context on every platform, against real processes."""

from __future__ import annotations

import re
from typing import Any

from bot.domain import command_texts
from tests.e2e.test_control import wait_command_reply, whole
from tests.sims.discord import constants as d
from tests.sims.model.client import ModelSim
from tests.sims.slack import ids
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver, PlatformDriver, SlackDriver

OTHER = "openai:other"


async def test_words_choose_a_models_and_an_effort_for_one_thread(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """The next answer comes from that model; another thread keeps the default."""
    await model.say("One.")
    bot.set(MODELS=OTHER)
    async with bot:
        thread = await driver.mention("first")
        await whole(driver, thread, "One.")
        await driver.mention_in(thread, f"model {OTHER}")
        await wait_command_reply(driver, thread, command_texts.model_chosen(OTHER))
        await driver.mention_in(thread, "effort low")
        await wait_command_reply(driver, thread, "for low effort")
        await driver.mention_in(thread, "second")
        await driver.sim.until(lambda: _requests(model, "second"), 60)
        elsewhere = await driver.mention("third")
        await whole(driver, elsewhere, "One.")
        used = {match: (await model.last(match)).body["model"] for match in ("second", "third")}
        assert used == {"second": "other", "third": "sim"}


async def _requests(model: ModelSim, match: str) -> Any:
    return await model.streams(match=match)


async def test_a_slash_command_chooses_a_model_by_completion_or_menu(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """Discord completes the name in the thread; Slack shows a menu, and then a list of the person's
    threads."""
    await model.say("One.")
    bot.set(MODELS=OTHER)
    async with bot:
        thread = await driver.mention("first")
        await whole(driver, thread, "One.")
        if isinstance(driver, DiscordDriver):
            await _choose_on_discord(driver, thread.id)
        else:
            assert isinstance(driver, SlackDriver)
            await _choose_on_slack(driver)
        await wait_command_reply(driver, thread, command_texts.model_chosen(OTHER))
        await driver.mention_in(thread, "second")
        await driver.sim.until(lambda: _requests(model, "second"), 60)
        assert (await model.last("second")).body["model"] == "other"


async def test_the_context_counts_the_conversation(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """A question and its answer are two messages, and the shares of all parts add up."""
    await model.say("One.")
    bot.set(MODELS=OTHER)
    async with bot:
        thread = await driver.mention("first")
        await whole(driver, thread, "One.")
        await driver.mention_in(thread, "context")
        await wait_command_reply(driver, thread, "- 2 messages:")
        here = [message.text for message in await driver.seen(thread)]
        said = next(text for text in (*here, *await driver.whispers()) if "- 2 messages:" in text)
        assert "`openai:sim`" in said
        assert sum(map(int, re.findall(r"\((\d+) %\)", said))) == 100


async def _choose_on_discord(driver: DiscordDriver, thread: int) -> None:
    sim = driver.sim

    async def has_commands() -> Any:
        return (await sim.state())["commands"]

    await sim.until(has_commands)
    typing = await sim.autocomplete(d.ALICE, thread, "model", "name", "oth")

    async def answers() -> Any:
        return (await sim.interaction(typing))["answers"]

    [found] = await sim.until(answers)
    [choice] = found["data"]["choices"]
    await sim.slash(d.ALICE, thread, "model", {"name": choice["value"]})


async def _choose_on_slack(driver: SlackDriver) -> None:
    sim = driver.sim

    async def find(text: str) -> Any:
        """The private message with this text, once it has arrived."""
        messages = await sim.ephemeral(ids.ALICE)
        return next((each for each in messages if text in each["shown"]), None)

    await sim.slash(ids.ALICE, ids.GENERAL, "/model")
    offer = await sim.until(lambda: find("You can choose"))
    await sim.click(ids.ALICE, ids.GENERAL, offer["ts"], "threadline_model", OTHER)
    asked = await sim.until(lambda: find("Which conversation"))
    value = asked["blocks"][1]["accessory"]["value"]
    await sim.click(ids.ALICE, ids.GENERAL, asked["ts"], "threadline_model", value)
