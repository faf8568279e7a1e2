"""Questions asked while the bot was offline are answered once after the start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import PlatformDriver, ThreadRef, at_rest
from tests.support.store_kit import look


async def until(
    check: Callable[[], Awaitable[Any]], driver: PlatformDriver, seconds: float = 60
) -> Any:
    return await driver.sim.until(check, seconds)


async def wait_answered(
    driver: PlatformDriver, thread: ThreadRef, text: str, count: int = 1
) -> None:
    """Wait until a thread has `count` messages of the bot, the newest complete and containing
    `text`. A process killed before that asks the model again."""

    async def check() -> bool:
        seen = await driver.seen(thread)
        return bool(seen) and text in seen[-1].text and not seen[-1].working

    await until(check, driver)
    assert len(await driver.seen(thread)) == count


async def leave(driver: PlatformDriver) -> None:
    """Stop Slack's deliveries; Discord needs no preparation."""
    if isinstance(driver.sim, SlackSim):
        await driver.sim.delivery(retry_scale=0.0)
        await driver.sim.offline()


async def come_back(driver: PlatformDriver) -> None:
    """Wait until Slack has given up its deliveries; Discord sends none to a new session."""
    sim = driver.sim
    if isinstance(sim, SlackSim):
        await sim.until(lambda: _wait_given_up(sim))
        await sim.online()


async def _wait_given_up(sim: SlackSim) -> bool:
    return not (await sim.state())["pending"]


async def reads(driver: PlatformDriver, since: int) -> int:
    """The number of requests that read messages or list channels."""
    if isinstance(driver.sim, DiscordSim):
        found = await driver.sim.requests("GET", since)
        return sum("/messages" in x["path"] or "/threads/" in x["path"] for x in found)
    found = await driver.sim.requests("conversations.", since)
    return sum(not x["path"].endswith("conversations.info") for x in found)


async def wait_settled(bot: BotProcess, driver: PlatformDriver) -> None:
    """Wait until the stored watermarks stop moving."""

    async def still() -> bool:
        marks = look(bot.folder / "threadline.db", "SELECT * FROM watermarks")
        await driver.sim.call("wait_idle") if driver.name == "discord" else None
        await asyncio.sleep(1.2)  # watermarks are stored once a second
        return bool(marks) and marks == look(
            bot.folder / "threadline.db", "SELECT * FROM watermarks"
        )

    await until(still, driver)


async def test_questions_asked_while_the_bot_was_killed_are_answered_once(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """Questions are asked in an existing thread, in a new one and in a direct message."""
    await model.say("Before.", times=2)
    await bot.start()
    await bot.ready()
    thread = await driver.mention("the first question")
    await wait_answered(driver, thread, "Before.")
    private = await driver.direct("a secret")
    await wait_answered(driver, private, "Before.")
    await wait_settled(bot, driver)
    await bot.kill()

    await leave(driver)
    await driver.say(thread, "one more")
    await driver.say(thread, "and another", user="bob")
    fresh = await driver.mention("a new question", user="bob")
    await driver.say(private, "still secret")
    await come_back(driver)
    await model.script(
        Answer(match="another", text="Of the thread."),
        Answer(match="new question", text="Of the new one."),
        Answer(match="still secret", text="In private."),
    )
    asked, before = len(await model.streams()), len(await driver.sim.requests())
    async with bot:
        await wait_answered(driver, thread, "Of the thread.", 2)
        await wait_answered(driver, fresh, "Of the new one.")
        await wait_answered(driver, private, "In private.", 2)
        await bot.wait_for_log("caught up", 2 if driver.name == "discord" else 1)
        assert len(await model.streams()) == asked + 3
        assert await reads(driver, before) <= 1.2 * fewest(driver)
        assert await driver.count_throttled() == 0
        await at_rest(driver)
        body = (await model.last("another")).body
        users = [m["content"] for m in body["messages"] if m["role"] == "user"]
        said = [text.partition(": ")[2] or text for m in users for text in m.split("\n\n")]
        assert said == ["the first question", "one more", "and another"]


def fewest(driver: PlatformDriver) -> int:
    """The minimum number of requests for a catch-up.

    Discord: the thread, the channel and the direct message. Slack: the list of channels, two
    channels, the direct message, and the two known threads with new messages.
    """
    return 3 if driver.name == "discord" else 1 + 3 + 2


async def test_questions_that_are_too_old_get_one_apology_per_conversation_and_stay_in_the_history(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Before.", times=1)
    async with bot:
        thread = await driver.mention("the first question")
        await wait_answered(driver, thread, "Before.")
        await wait_settled(bot, driver)
        await bot.terminate()
    await leave(driver)
    for text in ("one", "two", "three"):
        await driver.say(thread, text)
    fresh = await driver.mention("never mind")
    await come_back(driver)
    bot.set(MISSED_QUESTION_HOURS="0")
    asked = len(await model.streams())
    async with bot:
        await wait_answered(driver, thread, "Sorry, I was offline when you wrote", 2)
        await wait_answered(driver, fresh, "Sorry, I was offline when you wrote")
        assert len(await model.streams()) == asked
        await model.say("Now.")
        await driver.say(thread, "four")
        await wait_answered(driver, thread, "Now.", 3)
        body = (await model.last("four")).body
        users = [m["content"] for m in body["messages"] if m["role"] == "user"]
        said = [text.partition(": ")[2] for m in users for text in m.split("\n\n")]
        assert said == ["the first question", "one", "two", "three", "four"]


async def test_a_second_restart_repeats_no_answer(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """The bot is killed right after it answered the missed question."""
    await model.say("Before.", times=1)
    async with bot:
        thread = await driver.mention("the first question")
        await wait_answered(driver, thread, "Before.")
    await leave(driver)
    await driver.say(thread, "missed")
    await come_back(driver)
    await model.say("Found.")
    await bot.start()
    await wait_answered(driver, thread, "Found.", 2)
    await bot.kill()  # possibly before the catch-up is complete
    asked, caught_up = len(await model.streams()), len(bot.events("caught up"))
    async with bot:
        await bot.wait_for_log("caught up", caught_up + 1)
        await wait_answered(driver, await driver.mention("live"), "Found.")
        assert len(await driver.seen(thread)) == 2
        assert len(await model.streams()) == asked + 1


async def test_a_question_edited_while_the_bot_was_offline_gets_its_reply_replaced(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(match="cats", text="Cats."), Answer(match="dogs", text="Dogs."))
    async with bot:
        thread = await driver.mention("about cats")
        await wait_answered(driver, thread, "Cats.")
        await wait_settled(bot, driver)
        await bot.terminate()
    await leave(driver)
    await driver.edit(thread, thread.question, "about dogs", mention=True)
    await come_back(driver)
    async with bot:
        await wait_answered(driver, thread, "Dogs.")
        assert await driver.count_throttled() == 0
